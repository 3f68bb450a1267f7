use clap::CommandFactory;

use super::*;

/// What engines call for every container.
const CALLS: &[&str] = &[
    "--root /r --log /l/log.json --log-format json --systemd-cgroup create --bundle B \
     --pid-file B/init.pid --console-socket P --no-pivot --no-new-keyring ID",
    "--root /r --log /l --log-format json start ID",
    "--root=/r --log=/l --log-format=json --debug state ID",
    "state ID",
    "kill --all ID 9",
    "kill ID KILL",
    "kill -a ID 15",
    "kill ID",
    "delete --force ID",
    "delete -f ID",
    "run --bundle B --no-pivot --keep ID",
    "run -d -b B --preserve-fds 3 --no-subreaper --pidfd-socket S ID",
    "--root /r --log /l --log-format json exec --process F --console-socket P --detach \
     --pid-file P ID",
    "exec --pid-file P --process F --detach --console-socket=S ID",
    "exec -e A=1 --env B=--x=2 -u 5:5 --cwd / -t --preserve-fds 1 ID ls -e --root x",
    "list -f json",
    "list -q",
    "list --root /r",
    "pause ID",
    "resume ID",
];

fn words(line: &[&str]) -> Vec<OsString> {
    std::iter::once(&"bulkhead").chain(line).map(OsString::from).collect()
}

/// Parses a line with both parsers, and asserts that they agree if this one answers. Returns whether
/// it does.
fn agree(line: &[&str]) -> bool {
    let Some(cli) = parse(&words(line)) else { return false };
    let by_clap = crate::cli::parse(words(line));
    let by_clap = by_clap.unwrap_or_else(|(_, error)| panic!("{line:?}: {error}"));
    assert_eq!(format!("{cli:?}"), format!("{by_clap:?}"), "{line:?}");
    true
}

#[test]
fn what_engines_call_needs_no_clap() {
    for line in CALLS {
        assert!(agree(&line.split_ascii_whitespace().collect::<Vec<_>>()), "{line}");
    }
}

#[test]
fn what_is_wrong_or_rare_is_left_to_clap() {
    for line in [
        "",
        "state",
        "state a b",
        "nonsense ID",
        "state --help",
        "help state",
        "--debug=true state ID",
        "--debug --debug state ID",
        "--root /a state --root /b ID",
        "--root",
        "--root -x state ID",
        "--log-format xml state ID",
        "run -db B ID",
        "run --preserve-fds -1 ID",
        "exec ID --process F",
        "exec ID -- ls",
        "kill --signal 9 ID",
        "list --format yaml",
        "ps ID",
        "- state ID",
    ] {
        assert!(!agree(&line.split_ascii_whitespace().collect::<Vec<_>>()), "{line}");
    }
    assert!(!agree(&["--root", "", "state", "ID"]));
    assert!(!agree(&["state", ""]));
}

/// Returns the options of a command, each in the ways to write it.
fn options(command: &clap::Command) -> Vec<String> {
    let mut all = Vec::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
        if let Some(long) = arg.get_long() {
            all.extend([format!("--{long}"), format!("--{long}=1"), format!("--{long}=json")]);
        }
        all.extend(arg.get_short().map(|short| format!("-{short}")));
    }
    all
}

/// Every option of every command that this parser knows, in any order and with any value.
#[test]
fn generated_lines_mean_what_clap_takes_them_for() {
    let mut root = Cli::command();
    root.build();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        // Knuth's constants; the upper bits are the better ones.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let commands =
        ["create", "run", "exec", "kill", "delete", "list", "start", "state", "pause", "resume"];
    for name in commands {
        let options = options(root.find_subcommand(name).unwrap());
        let mut answered = 0;
        for _ in 0..600 {
            let mut line = vec![name];
            for _ in 0..random(7) {
                let values = ["c1", "c1", "9", "/p", "A=b", "json", "", "--", "-x"];
                line.push(match random(2) {
                    0 => options[random(options.len())].as_str(),
                    _ => values[random(values.len())],
                });
            }
            // Options can stand before the command.
            if random(4) == 0 {
                let last = line.len() - 1;
                line.swap(0, last);
            }
            answered += u32::from(agree(&line));
        }
        assert!(answered > 10, "{name}: {answered}");
    }
}
