//! Colours: on a terminal alone, for a user who wants them; never in pipes, logs and JSON.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::*;

/// What a line of the shell prints on a terminal of a type, with a variable of the environment.
fn screen(line: &str, term: &str, variable: (&str, &str)) -> String {
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).env_remove("NO_COLOR").env("TERM", term);
    let output = script.env(variable.0, variable.1).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

const NONE: (&str, &str) = ("NOTHING", "1");
const RED: &str = "\u{1b}[1;31mbulkhead:\u{1b}[0m ";

#[test]
fn errors_are_coloured_on_a_terminal_alone() {
    let c = Container::new();
    fs::create_dir(&c.rt.root).unwrap();
    let log = c.path().join("log");
    let program = format!("{} --root {}", c.rt.binary.display(), c.rt.root.display());
    let to_log = format!("{program} --log {}", log.display());
    for line in [format!("{program} state none"), format!("{to_log} state none")] {
        let seen = screen(&line, "xterm", NONE);
        assert!(seen.starts_with(RED) && seen.lines().count() == 1, "{seen:?}");
        assert!(seen.ends_with("container does not exist: \"none\"\r\n"), "{seen:?}");
    }
    assert!(!fs::read_to_string(&log).unwrap().contains('\u{1b}'));
    // A usage error, before the log is set up.
    assert!(screen(&format!("{program} nonsense"), "xterm", NONE).starts_with(RED));

    let plain = "bulkhead: container does not exist: \"none\"\r\n";
    let line = format!("{program} state none");
    assert_eq!(screen(&line, "xterm", ("NO_COLOR", "1")), plain);
    assert_eq!(screen(&line, "dumb", NONE), plain);
    assert_eq!(screen(&line, "", NONE), plain);
    // An empty NO_COLOR is none.
    assert!(screen(&line, "xterm", ("NO_COLOR", "")).starts_with(RED));
    // Standard error is a pipe, while standard output is the terminal.
    assert_eq!(screen(&format!("{line} 2>&1 | cat"), "xterm", NONE), plain);
    let json = screen(&format!("{program} --log-format json state none"), "xterm", NONE);
    assert!(serde_json::from_str::<Value>(&json).is_ok() && !json.contains('\u{1b}'), "{json:?}");
}

#[test]
fn warnings_are_coloured_on_a_terminal_alone() {
    let mut c = Container::with_script("true");
    c.push("/process/capabilities/bounding", json!("CAP_NO_SUCH"));
    c.write();
    let line = format!(
        "{} --root {} run --bundle {} {}",
        c.rt.binary.display(),
        c.rt.root.display(),
        c.path().display(),
        c.id
    );
    let seen = screen(&line, "xterm", NONE);
    assert!(seen.starts_with("\u{1b}[33mbulkhead: warning:\u{1b}[0m "), "{seen:?}");
    assert_eq!(screen(&line, "dumb", NONE).matches('\u{1b}').count(), 0);
}

#[test]
fn severities_are_coloured_on_a_terminal_alone() {
    let c = Container::new();
    c.write();
    let config = c.path().join("config.json");
    let line = format!("{} audit {}", c.rt.binary.display(), config.display());
    let seen = screen(&line, "xterm", NONE);
    assert!(seen.contains("\u{1b}[33mmedium") || seen.contains("\u{1b}[36mlow"), "{seen}");
    for (line, term, variable) in [
        (line.clone(), "xterm", ("NO_COLOR", "1")),
        (line.clone(), "dumb", NONE),
        (format!("{line} | cat"), "xterm", NONE),
        (format!("{line} --format json"), "xterm", NONE),
        (format!("{line} --format sarif"), "xterm", NONE),
    ] {
        let seen = screen(&line, term, variable);
        assert!(!seen.contains('\u{1b}') && seen.lines().count() > 1, "{line}: {seen}");
    }
}
