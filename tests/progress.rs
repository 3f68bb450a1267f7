//! The progress of the scripts in hack/: plain lines in a pipe, a line that lives on a terminal.

use std::process::{Command, Stdio};

/// A script with two stages, the second of which is silent for a while.
const SCRIPT: &str = r#"
    . hack/lib.sh
    steps 2
    stage first
    stage second
    tick second
    sleep "$SILENT"
    tock
    stages_end
    paint 2 31 red >&2
"#;

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).env_remove("NO_COLOR");
    // Longer than a busy machine takes to start the process that counts.
    command.env("SILENT", "3");
    command
}

/// What the script prints on a terminal.
fn screen(term: &str, variable: (&str, &str)) -> String {
    let mut script = command("script");
    script.args(["-qec", "bash -c \"$SCRIPT\" name", "/dev/null"]).env("SCRIPT", SCRIPT);
    let output = script.env("SHELL", "/bin/sh").env("TERM", term).env(variable.0, variable.1);
    String::from_utf8(output.output().unwrap().stdout).unwrap()
}

#[test]
fn a_pipe_gets_plain_lines() {
    let output = command("bash").args(["-c", SCRIPT, "name"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let wanted = ["[1/2] first", "[1/2] first: took ", "[2/2] second", "[2/2] second: took "];
    assert_eq!(lines.len(), 5, "{text}");
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.strip_prefix("name: ").is_some_and(|line| line.starts_with(wanted)), "{text}");
    }
    assert_eq!(lines[4], "red");
    assert!(!text.contains(['\r', '\u{1b}']), "{text:?}");
}

#[test]
fn a_terminal_shows_that_a_silent_stage_is_alive() {
    let seen = screen("xterm", ("NOTHING", "1"));
    // The second in which the line begins depends on the clock.
    let counts = |seen: &str| seen.contains("second (0 s)") || seen.contains("second (1 s)");
    assert!(seen.contains("\r\u{1b}[Kname: second (") && counts(&seen), "{seen:?}");
    assert!(seen.ends_with("\u{1b}[31mred\u{1b}[0m"), "{seen:?}");
    // Without colours, but with the line.
    let seen = screen("xterm", ("NO_COLOR", "1"));
    assert!(counts(&seen) && seen.ends_with("red"), "{seen:?}");
    assert!(!seen.contains("\u{1b}[3"), "{seen:?}");
    let seen = screen("dumb", ("NOTHING", "1"));
    assert!(!seen.contains('\u{1b}') && !seen.contains(" s)"), "{seen:?}");
}
