//! The man pages and completions that hack/manual.sh makes: that they are complete, and that what
//! reads them takes them.

#[path = "../hack/manual.rs"]
mod generator;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::*;
use bulkhead::cli::Cli;
use clap::CommandFactory;

/// A directory with what the generator writes.
fn manual() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        // Test programs may run each test in a process of its own.
        let name = format!("manual-{}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&directory);
        generator::write(&directory).unwrap();
        directory
    })
}

/// Where a program is, if it is installed.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

fn command_names() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[test]
fn every_command_has_a_page_with_each_of_its_options() {
    let pages = manual().join("man");
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut wanted = vec!["bulkhead.8".to_owned()];
    let main = fs::read_to_string(pages.join("bulkhead.8")).unwrap();
    for command in std::iter::once(&root).chain(root.get_subcommands()) {
        let name = match command.get_name() {
            "bulkhead" => "bulkhead.8".to_owned(),
            name => format!("bulkhead-{name}.8"),
        };
        let text = fs::read_to_string(pages.join(&name)).expect(&name);
        let plain = text.replace("\\-", "-");
        for option in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(long) = option.get_long() else { continue };
            assert!(plain.contains(&format!("\\fB--{long}\\fR")), "{name}: --{long}");
        }
        if name != "bulkhead.8" {
            assert!(main.contains(&name.replace(".8", "(8)").replace('-', "\\-")), "{name}");
            wanted.push(name);
        }
    }
    let found = fs::read_dir(&pages).unwrap();
    let mut found: Vec<String> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn pages_are_rendered_without_a_warning() {
    if installed("groff").is_none() {
        skip!("groff is not installed");
    }
    for entry in fs::read_dir(manual().join("man")).unwrap() {
        let page = entry.unwrap().path();
        let mut groff = Command::new("groff");
        let output = groff.args(["-man", "-Tascii", "-ww", "-P-cbou"]).arg(&page).output().unwrap();
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{page:?}: {warnings}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("SYNOPSIS") && text.contains("OPTIONS"), "{page:?}: {text}");
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{page:?}");
    }
}

/// What bash offers for the last of these words, if `directory` is where it finds programs first.
fn bash_offers(directory: &Path, words: &[&str]) -> Vec<String> {
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let script = r#"
        source "$1" || exit; shift
        COMP_WORDS=(bulkhead "$@"); COMP_CWORD=$#; set -- $(complete -p bulkhead)
        while [ "$1" != -F ]; do shift; done
        "$2" bulkhead "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).arg(manual().join("completions/bulkhead.bash"));
    let output = bash.args(words).env("PATH", path).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{words:?}: {errors}");
    let offers = String::from_utf8(output.stdout).unwrap();
    offers.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes() {
    if installed("bash").is_none() {
        skip!("bash is not installed");
    }
    let offers = |words: &[&str]| bash_offers(Path::new("/nonexistent"), words);
    assert_eq!(offers(&["ex"]), ["exec"]);
    assert_eq!(offers(&["exec", "--tt"]), ["--tty"]);
    assert_eq!(offers(&["exec", "--proc"]), ["--process", "--process-label"]);
    assert_eq!(offers(&["--log-format", "j"]), ["json"]);
    assert_eq!(offers(&["frob"]), [""; 0]);
    let all = offers(&[""]);
    for name in command_names() {
        assert!(all.contains(&name), "{name} is not in {all:?}");
    }
}

#[test]
fn bash_completes_the_id_of_a_container() {
    if installed("bash").is_none() {
        skip!("bash is not installed");
    }
    let c = Container::new();
    c.create().ok();
    // The completion asks the program on the path, with no options of ours.
    let programs = c.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let program = programs.join("bulkhead");
    let (binary, root) = (c.rt.binary.display(), c.rt.root.display());
    fs::write(&program, format!("#!/bin/sh\nexec {binary} --root {root} \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let start = &c.id[..c.id.len() - 1];
    for (words, wanted) in [
        (&["start", ""][..], &[c.id.as_str()][..]),
        (&["exec", start], &[&c.id]),
        (&["ps", start], &[&c.id]),
        (&["kill", "no"], &[]),
        (&["create", start], &[]),
        (&["delete", "--fo"], &["--force"]),
    ] {
        assert_eq!(bash_offers(&programs, words), wanted, "{words:?}");
    }
}

#[test]
fn other_shells_take_their_completions() {
    let (zsh, fish) = (installed("zsh"), installed("fish"));
    for (shell, file) in [(&zsh, "_bulkhead"), (&fish, "bulkhead.fish")] {
        let Some(shell) = shell else { continue };
        let mut check = Command::new(shell);
        let output = check.arg("-n").arg(manual().join("completions").join(file)).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{shell:?}: {errors}");
    }
    if let Some(fish) = &fish {
        let mut ask = Command::new(fish);
        let script = "source $argv[1]; complete -C 'bulkhead ex'";
        let file = manual().join("completions/bulkhead.fish");
        let output = ask.args(["-N", "-c", script]).arg(file).output().unwrap();
        let offers = String::from_utf8_lossy(&output.stdout);
        assert!(offers.starts_with("exec\t"), "{offers}: {output:?}");
    }
    if zsh.is_none() || fish.is_none() {
        skip!("zsh or fish is not installed");
    }
}
