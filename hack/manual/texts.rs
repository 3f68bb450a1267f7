//! The texts of the man pages that the definition of the command line does not have.

/// The commands that something is for; all of it is for the page of the program.
enum Of {
    All,
    /// Those that use containers, and so the state directory.
    Containers,
    These(&'static [&'static str]),
}

impl Of {
    fn includes(&self, command: &str) -> bool {
        match self {
            Of::All => true,
            Of::Containers => !["features", "info", "spec"].contains(&command),
            Of::These(commands) => command == "bulkhead" || commands.contains(&command),
        }
    }
}

/// Environment variables: names, meaning, and the commands that read them.
const VARIABLES: &[(&str, &str, Of)] = &[
    (
        "XDG_RUNTIME_DIR",
        "An absolute path. Without root privileges, and for root in a user namespace, the state \
         directory is the directory bulkhead below it. With --systemd-cgroup, the service manager \
         of the user is found there too.",
        Of::Containers,
    ),
    (
        "DBUS_SYSTEM_BUS_ADDRESS, DBUS_SESSION_BUS_ADDRESS",
        "With --systemd-cgroup: the bus on which the service manager of the system or of the user \
         is found.",
        Of::These(&["create", "run", "record", "restore"]),
    ),
    (
        "PATH",
        "The directories in which the helper programs ps(1), criu(8), newuidmap(1) and \
         newgidmap(1) are found.",
        Of::These(&["create", "run", "record", "ps", "checkpoint", "restore", "info"]),
    ),
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "The descriptors of socket activation, which are passed on to the process.",
        Of::These(&["create", "run", "record", "exec"]),
    ),
    (
        "NOTIFY_SOCKET",
        "The socket of the service manager to which the messages of the container about its \
         readiness are passed on.",
        Of::These(&["create", "start", "run", "record"]),
    ),
    (
        "NO_COLOR, TERM",
        "Output on a terminal has no colours if NO_COLOR is set and not empty, or if TERM is dumb.",
        Of::All,
    ),
];

/// Files: path, and meaning.
const FILES: &[(&str, &str)] = &[
    (
        "/run/bulkhead",
        "State directory: a directory for each container. --root names another directory.",
    ),
    ("$XDG_RUNTIME_DIR/bulkhead", "State directory without root privileges."),
];

/// Files of the page of the program alone.
const INSTALLED: &[(&str, &str)] = &[
    (
        "/usr/share/bulkhead/seccomp-profiles",
        "Seccomp profiles of the package; make install has them in \
         /usr/local/share/bulkhead/seccomp-profiles.",
    ),
    (
        "/usr/share/doc/bulkhead",
        "Documentation of the package, with examples for engines; make install has it in \
         /usr/local/share/doc/bulkhead.",
    ),
];

/// What the page of a command refers to besides bulkhead(8).
const RELATED: &[(&str, &[&str])] = &[
    ("audit", &["bulkhead-info(8)", "bulkhead-record(8)", "capabilities(7)", "seccomp(2)"]),
    ("bulkhead", &["capabilities(7)", "cgroups(7)", "criu(8)", "namespaces(7)", "seccomp(2)"]),
    ("checkpoint", &["bulkhead-restore(8)", "criu(8)"]),
    ("create", &["bulkhead-start(8)", "bulkhead-run(8)", "bulkhead-delete(8)"]),
    ("delete", &["bulkhead-kill(8)"]),
    ("events", &["bulkhead-update(8)", "cgroups(7)"]),
    ("exec", &["bulkhead-run(8)", "capabilities(7)"]),
    ("features", &["bulkhead-info(8)"]),
    ("info", &["bulkhead-features(8)"]),
    ("kill", &["bulkhead-delete(8)", "signal(7)"]),
    ("list", &["bulkhead-state(8)"]),
    ("pause", &["bulkhead-resume(8)"]),
    ("ps", &["bulkhead-list(8)", "ps(1)"]),
    ("record", &["bulkhead-run(8)", "seccomp(2)"]),
    ("restore", &["bulkhead-checkpoint(8)", "criu(8)"]),
    ("resume", &["bulkhead-pause(8)"]),
    ("run", &["bulkhead-create(8)", "bulkhead-exec(8)", "bulkhead-spec(8)"]),
    ("spec", &["bulkhead-run(8)"]),
    ("start", &["bulkhead-create(8)"]),
    ("state", &["bulkhead-list(8)"]),
    ("update", &["bulkhead-events(8)", "cgroups(7)"]),
];

/// Returns the environment variables that a command reads, with their meaning.
pub fn variables(command: &str) -> Vec<(&'static str, &'static str)> {
    let rows = VARIABLES.iter().filter(|(.., of)| of.includes(command));
    rows.map(|(names, meaning, _)| (*names, *meaning)).collect()
}

/// Returns the files of a command, with their meaning.
pub fn files(command: &str) -> Vec<(&'static str, &'static str)> {
    let own = if Of::Containers.includes(command) { FILES } else { &[] };
    let installed = if command == "bulkhead" { INSTALLED } else { &[] };
    own.iter().chain(installed).copied().collect()
}

/// Returns the pages that the page of a command refers to.
pub fn related(command: &str) -> Vec<&'static str> {
    let main = (command != "bulkhead").then_some("bulkhead(8)");
    let others = RELATED.iter().filter(|(name, _)| *name == command);
    main.into_iter().chain(others.flat_map(|(_, pages)| pages.iter().copied())).collect()
}
