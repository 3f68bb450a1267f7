//! The completions for bash, zsh and fish: each shell is asked what it offers for the end of a line.

use std::fs;
use std::path::Path;
use std::process::Command;

use bulkhead::cli::Cli;
use clap::CommandFactory;

use crate::manual::{installed, manual};
use crate::support::*;

/// Fills COMP_WORDS as bash does, which splits words at equals signs too, and calls the function.
const BASH: &str = r#"
    source "$1" || exit
    line=${2//=/ = } COMP_WORDS=()
    read -ra COMP_WORDS <<<"$line"
    [[ $2 != *' ' ]] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    set -- $(complete -p bulkhead)
    while [ "$1" != -F ]; do shift; done
    "$2" bulkhead "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf '%s\n' "${COMPREPLY[@]}"
"#;

const FISH: &str = "source $argv[1]; complete -C $argv[2]";

/// What a shell offers for the end of a line: the last parts of paths, sorted. A program named bulkhead is
/// found in `programs`.
fn offers(shell: &str, programs: &Path, line: &str) -> Vec<String> {
    let completions = manual().join("completions");
    let mut command = Command::new(shell);
    match shell {
        "bash" => {
            command.args(["--norc", "-c", BASH, "bash"]).arg(completions.join("bulkhead.bash"))
        }
        "fish" => command.args(["-N", "-c", FISH]).arg(completions.join("bulkhead.fish")),
        _ => {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/completions/zsh.zsh");
            command.arg("-f").arg(script).arg(completions.join("_bulkhead"))
        }
    };
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = command.arg(line).env("PATH", path).env("HOME", programs).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{shell}: {line}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let offers = text.lines().map(|line| line.split('\t').next().unwrap());
    // fish repeats the option before a value, and the others do not.
    let offers = offers.map(|offer| match offer.split_once('=') {
        Some((option, value)) if option.starts_with("--") => value,
        _ => offer,
    });
    let offers = offers.map(|offer| offer.trim_end_matches('/').rsplit('/').next().unwrap());
    let mut offers: Vec<String> =
        offers.filter(|offer| !offer.is_empty()).map(str::to_owned).collect();
    offers.sort();
    offers.dedup();
    offers
}

/// The lines, with the words that each shell has to offer, and no others. `R` is the state directory, the
/// containers C, D, P and S are created, running, paused and stopped.
const LINES: &[(&str, &str)] = &[
    // Commands, without options between them.
    ("bulkhead ex", "exec"),
    ("bulkhead --root R re", "record restore resume"),
    ("bulkhead --root=R --debug re", "record restore resume"),
    ("bulkhead help st", "start state"),
    ("bulkhead frob", ""),
    // Options.
    ("bulkhead --log-", "--log-format --log-level"),
    ("bulkhead exec --tt", "--tty"),
    ("bulkhead exec --proc", "--process --process-label"),
    ("bulkhead delete S --fo", "--force"),
    ("bulkhead exec D --tt", ""),
    ("bulkhead ps D --fo", ""),
    // Containers in the states that the command accepts.
    ("bulkhead --root R start ", "C"),
    ("bulkhead --root=R start ", "C"),
    ("bulkhead start --root R ", "C"),
    ("bulkhead start --root=R ", "C"),
    ("bulkhead --log-level debug --root R start ", "C"),
    ("bulkhead --root R resume ", "P"),
    ("bulkhead --root R exec ", "C D"),
    ("bulkhead --root R exec --env A=b -t ", "C D"),
    ("bulkhead --root R exec --ignore-paused ", "C D P"),
    ("bulkhead --root R pause ", "C D"),
    ("bulkhead --root R kill ", "C D P"),
    ("bulkhead --root R kill --all ", "C D P"),
    ("bulkhead --root R ps --format json ", "C D P"),
    ("bulkhead --root R update --memory 1G ", "C D P"),
    ("bulkhead --root R events ", "C D P"),
    ("bulkhead --root R checkpoint ", "D P"),
    ("bulkhead --root R delete ", "S"),
    ("bulkhead --root R delete --force ", "C D P S"),
    ("bulkhead --root R delete -f ", "C D P S"),
    ("bulkhead --root R state ", "C D P S"),
    ("bulkhead --root R state no", ""),
    ("bulkhead --root R audit bulkhead-test-", "D P"),
    // None: another state directory, a new ID, a place that is taken.
    ("bulkhead --root /nonexistent state ", ""),
    ("bulkhead --root R create b", ""),
    ("bulkhead --root R restore b", ""),
    ("bulkhead --root R state C b", ""),
    // Values.
    ("bulkhead kill C TE", "TERM"),
    ("bulkhead kill C SIGKI", "SIGKILL"),
    ("bulkhead --root R kill --all C QU", "QUIT"),
    ("bulkhead list --format ", "json table"),
    ("bulkhead list --format=", "json table"),
    ("bulkhead list -f t", "table"),
    ("bulkhead audit --format ", "json sarif text"),
    ("bulkhead audit --fail-on m", "medium"),
    ("bulkhead info --format ", "json text"),
    ("bulkhead --log-format j", "json"),
    ("bulkhead list --log-level d", "debug"),
    ("bulkhead --cgroup-manager s", "systemd"),
    ("bulkhead exec --cap CAP_NET_R", "CAP_NET_RAW"),
    ("bulkhead exec --user ", ""),
    // Files and directories.
    ("bulkhead run --config W/a", "a-directory a-file"),
    ("bulkhead run --config=W/a", "a-directory a-file"),
    ("bulkhead run --bundle W/a", "a-directory"),
    ("bulkhead create -b W/a", "a-directory"),
    ("bulkhead --root W/a", "a-directory"),
    ("bulkhead --log W/a-f", "a-file"),
    ("bulkhead exec --pid-file W/a-f", "a-file"),
    ("bulkhead audit W/a", "a-directory a-file"),
];

/// Four containers, and what the letters of the lines mean.
struct Fixture {
    containers: [(&'static str, Container); 4],
}

impl Fixture {
    fn new() -> Fixture {
        let first = Container::new();
        let others =
            [Container::beside(&first), Container::beside(&first), Container::beside(&first)];
        let [running, paused, stopped] = others;
        // The first is dropped last: the state of all is below its bundle.
        let mut containers = [("D", running), ("P", paused), ("S", stopped), ("C", first)];
        for (name, c) in &mut containers {
            if *name == "S" {
                c.args(&["/bin/true"]);
                c.create().ok();
                c.start().ok();
                c.wait_status("stopped");
                continue;
            }
            c.args(&["/bin/sleep", "600"]);
            c.create().ok();
            if *name != "C" {
                c.start().ok();
            }
            if *name == "P" {
                c.rt.call(&["pause", &c.id]).ok();
            }
        }
        let first = &containers[3].1;
        let programs = first.path().join("programs");
        fs::create_dir_all(programs.join("a-directory")).unwrap();
        fs::write(programs.join("a-file"), "").unwrap();
        std::os::unix::fs::symlink(&first.rt.binary, programs.join("bulkhead")).unwrap();
        Fixture { containers }
    }

    fn check(&self, shell: &str) {
        let first = &self.containers[3].1;
        let programs = first.path().join("programs");
        for (line, wanted) in LINES {
            let filled = line.split(' ').map(|word| {
                let id = self.containers.iter().find(|(name, _)| *name == word);
                let word = id.map_or(word, |(_, c)| &c.id);
                // A root is the value of the option, with either spelling.
                match word {
                    "R" => first.rt.root.display().to_string(),
                    "--root=R" => format!("--root={}", first.rt.root.display()),
                    word => word.replace("W/", &format!("{}/", programs.display())),
                }
            });
            let filled = filled.collect::<Vec<_>>().join(" ");
            let mut wanted: Vec<String> = wanted.split_whitespace().map(str::to_owned).collect();
            for word in &mut wanted {
                if let Some((_, c)) = self.containers.iter().find(|(name, _)| word == name) {
                    word.clone_from(&c.id);
                }
            }
            wanted.sort();
            assert_eq!(offers(shell, &programs, &filled), wanted, "{shell}: {line:?}: {filled}");
        }
        // For the command itself: all commands, and nothing else.
        let mut root = Cli::command();
        root.build();
        let mut all: Vec<&str> = root.get_subcommands().map(clap::Command::get_name).collect();
        all.sort_unstable();
        assert_eq!(offers(shell, &programs, "bulkhead "), all, "{shell}");
        // By ~/ as well, which the shell leaves to the completion.
        let line = format!("~/bulkhead --root {} start ", first.rt.root.display());
        if shell != "bash" {
            let named = offers(shell, &programs, &line);
            assert_eq!(named, [first.id.as_str()], "{shell}: {line}");
        }
        // Every option of every command.
        for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
            let name = command.get_name();
            let found = offers(shell, &programs, &format!("bulkhead {name} --"));
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = arg.get_long() else { continue };
                assert!(
                    found.contains(&format!("--{long}")),
                    "{shell}: {name} --{long}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn bash_offers_what_the_command_accepts() {
    Fixture::new().check("bash");
}

#[test]
fn zsh_offers_what_the_command_accepts() {
    if installed("zsh").is_none() {
        skip!("zsh is not installed");
    }
    Fixture::new().check("zsh");
}

#[test]
fn fish_offers_what_the_command_accepts() {
    if installed("fish").is_none() {
        skip!("fish is not installed");
    }
    Fixture::new().check("fish");
}
