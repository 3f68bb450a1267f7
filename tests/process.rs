//! The process: its arguments, environment, directory, limits, descriptors and terminal, and what
//! is said when it cannot be executed.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::hostile_support::*;
use crate::support::*;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

// Proves: process.args
#[test]
fn arguments_arrive_as_they_are() {
    let mut c = Container::new();
    let words = ["two words", "", "*", "$HOME", "a\nb", "ä", "--", "-x", "'\"\\"];
    let mut args = vec!["/bin/sh", "-c", "for a; do echo \"<$a>\"; done", "sh"];
    args.extend(words);
    c.args(&args);
    let expected: String = words.iter().map(|word| format!("<{word}>\n")).collect();
    assert_eq!(c.output(), expected);
}

#[test]
fn argument_zero_is_kept() {
    let mut c = Container::new();
    c.args(&["sh", "-c", "cat /proc/$$/cmdline | tr '\\0' ' '; true"]);
    assert!(c.output().starts_with("sh -c "));
}

// Proves: process.env
#[test]
fn the_environment_is_the_configurations_alone() {
    let mut c = Container::new();
    c.args(&["/bin/env"])
        .set("/process/env", json!(["PATH=/bin", "A=1", "EMPTY=", "B=x=y", "HOME=/h"]));
    c.rt.through =
        ["env", "LEAK=yes", "BULKHEAD_LEAK=yes", "_X=1"].iter().map(Into::into).collect();
    let output = c.output();
    c.rt.through.clear();
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", "B=x=y", "EMPTY=", "HOME=/h", "PATH=/bin"]);
}

#[test]
fn of_two_variables_the_last_holds() {
    let mut c = Container::with_script("echo $A");
    c.set("/process/env", json!(["PATH=/bin", "A=first", "A=second"]));
    assert_eq!(c.output(), "second\n");
}

#[test]
fn home_comes_from_the_containers_passwd() {
    for (uid, home) in [(0, "/root"), (1000, "/var"), (4242, "/")] {
        let mut c = Container::with_script("echo $HOME");
        c.set("/process/user", json!({"uid": uid, "gid": 0}));
        assert_eq!(c.output(), format!("{home}\n"), "uid {uid}");
    }
    let mut c = Container::with_script("echo $HOME");
    c.push("/process/env", json!("HOME=/told"));
    assert_eq!(c.output(), "/told\n");
}

// Proves: process.cwd
#[test]
fn the_directory_is_entered_and_made() {
    let mut c = Container::with_script("pwd; stat -c %a .");
    c.set("/process/cwd", json!("/made/for/it"));
    assert_eq!(c.output(), "/made/for/it\n755\n");
    assert!(c.rootfs().join("made/for/it").is_dir());
}

#[test]
fn a_directory_of_another_user_can_be_entered() {
    let mut c = Container::with_script("pwd");
    let dir = c.rootfs().join("private");
    fs::create_dir(&dir).unwrap();
    nix::unistd::chown(&dir, Some(1000.into()), Some(1000.into())).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    c.capabilities(&[]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    c.set("/process/cwd", json!("/private"));
    assert_eq!(c.output(), "/private\n");
}

// Proves: process.args
#[test]
fn the_path_of_the_container_is_searched() {
    let mut c = Container::new();
    fs::create_dir_all(c.rootfs().join("opt/first")).unwrap();
    fs::create_dir_all(c.rootfs().join("opt/second/tool")).unwrap();
    let tool = c.rootfs().join("opt/first/tool");
    fs::write(&tool, "#!/bin/sh\necho the right one\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    c.args(&["tool"]).set("/process/env", json!(["PATH=/nowhere:/opt/second:/opt/first:/bin"]));
    assert_eq!(c.output(), "the right one\n");
}

#[test]
fn what_cannot_be_executed_is_told() {
    let cases = [
        ("no-such-program", "executable file not found in $PATH"),
        ("/bin/no-such-program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "is a directory: permission denied"),
        ("/etc/passwd/x", "not a directory"),
    ];
    for (program, words) in cases {
        let mut c = Container::new();
        c.args(&[program]);
        let ran = c.run().refused(&[program]);
        assert!(ran.stderr.to_lowercase().contains(&words.to_lowercase()), "{program}: {ran:#?}");
        c.assert_gone();
    }
}

#[test]
fn a_missing_program_fails_create() {
    let mut c = Container::new();
    c.args(&["no-such-program", "x"]);
    c.create().refused(&["no-such-program", "executable file not found in $PATH"]);
    c.assert_gone();
}

/// The lookup is the user's, as execve is: what it may not run does not hide what it may.
#[test]
fn the_program_is_looked_up_as_the_user() {
    for no_new_privileges in [true, false] {
        let mut c = Container::new();
        for (dir, mode, text) in [("first", 0o700, "first"), ("second", 0o755, "second")] {
            let dir = c.rootfs().join(dir);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("prog"), format!("#!/bin/sh\necho {text}\n")).unwrap();
            fs::set_permissions(dir.join("prog"), fs::Permissions::from_mode(mode)).unwrap();
        }
        c.args(&["prog"])
            .set("/process/env", json!(["PATH=/first:/second"]))
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            // Without no_new_privs the filter is loaded in the midst of the change of user.
            .set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [], "syscalls": [
                    {"names": ["sync"], "action": "SCMP_ACT_ERRNO"}
                ]}),
            )
            .capabilities(&[]);
        assert_eq!(c.output(), "first\n");
        c.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        assert_eq!(c.output(), "second\n");
        c.args(&["/first/prog"]);
        c.create().refused(&["/first/prog", "permission denied"]);
        c.assert_gone();
        // With its capabilities too.
        c.capabilities(&["CAP_DAC_OVERRIDE"]).args(&["prog"]);
        assert_eq!(c.output(), "first\n");
    }
}

#[test]
fn limits_are_set_exactly() {
    let mut c = Container::with_script("exec sleep 600");
    c.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_CPU", "soft": 1000, "hard": 2000},
            {"type": "RLIMIT_FSIZE", "soft": 1_048_576, "hard": 2_097_152},
            {"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608},
            {"type": "RLIMIT_NPROC", "soft": 500, "hard": 600},
            {"type": "RLIMIT_MEMLOCK", "soft": 4096, "hard": 8192}
        ]),
    );
    c.run_detached();
    let process = c.process();
    wait_until("execve", || process.runs("sleep"));
    for (name, soft, hard) in [
        ("Max open files", "100", "200"),
        ("Max core file size", "0", "0"),
        ("Max cpu time", "1000", "2000"),
        ("Max file size", "1048576", "2097152"),
        ("Max stack size", "4194304", "8388608"),
        ("Max processes", "500", "600"),
        ("Max locked memory", "4096", "8192"),
    ] {
        assert_eq!(process.limit(name), (soft.to_owned(), hard.to_owned()), "{name}");
    }
}

// Proves: process.rlimits[].{type, soft, hard}
#[test]
fn every_limit_of_the_kernel_can_be_asked_for() {
    let limits = [
        ("RLIMIT_AS", "Max address space", "8589934592", "8589938688"),
        ("RLIMIT_CORE", "Max core file size", "4096", "8192"),
        ("RLIMIT_CPU", "Max cpu time", "1000", "2000"),
        ("RLIMIT_DATA", "Max data size", "4294967296", "8589934592"),
        ("RLIMIT_FSIZE", "Max file size", "1048576", "2097152"),
        ("RLIMIT_LOCKS", "Max file locks", "10", "20"),
        ("RLIMIT_MEMLOCK", "Max locked memory", "4096", "8192"),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", "4096", "8192"),
        ("RLIMIT_NICE", "Max nice priority", "0", "0"),
        ("RLIMIT_NOFILE", "Max open files", "100", "200"),
        ("RLIMIT_NPROC", "Max processes", "500", "600"),
        ("RLIMIT_RSS", "Max resident set", "1073741824", "2147483648"),
        ("RLIMIT_RTPRIO", "Max realtime priority", "0", "0"),
        ("RLIMIT_RTTIME", "Max realtime timeout", "5000000", "6000000"),
        ("RLIMIT_SIGPENDING", "Max pending signals", "50", "60"),
        ("RLIMIT_STACK", "Max stack size", "4194304", "8388608"),
    ];
    let mut c = Container::with_script("exec sleep 600");
    for (kind, _, soft, hard) in limits {
        let number = |text: &str| text.parse::<u64>().unwrap();
        let limit = json!({"type": kind, "soft": number(soft), "hard": number(hard)});
        c.push("/process/rlimits", limit);
    }
    c.run_detached();
    let process = c.process();
    wait_until("execve", || process.runs("sleep"));
    for (kind, name, soft, hard) in limits {
        assert_eq!(process.limit(name), (soft.to_owned(), hard.to_owned()), "{kind}");
    }
}

/// Root of a machine that is a container itself has no CAP_SYS_RESOURCE, and podman asks for limits
/// always: with `--user`, init is of another user when the runtime could set them.
#[test]
fn limits_are_set_for_another_user_without_the_right_to_raise_them() {
    for no_new_privileges in [true, false] {
        let mut c = Container::with_script("exec sleep 600");
        c.rt.through = vec!["setpriv".into(), "--bounding-set=-sys_resource".into()];
        c.set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            // It may refuse what it likes: the limits are there before it is.
            .set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [], "syscalls": [
                    {"names": ["prlimit64", "setrlimit"], "action": "SCMP_ACT_ERRNO"}
                ]}),
            )
            .set(
                "/process/rlimits",
                json!([
                    {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                    {"type": "RLIMIT_NPROC", "soft": 500, "hard": 600}
                ]),
            );
        c.run_detached();
        let process = c.process();
        wait_until("execve", || process.runs("sleep"));
        for (name, soft, hard) in
            [("Max open files", "100", "200"), ("Max processes", "500", "600")]
        {
            assert_eq!(process.limit(name), (soft.to_owned(), hard.to_owned()), "{name}");
        }
    }
}

#[test]
fn a_limit_above_the_callers_names_the_missing_right() {
    let mut c = Container::new();
    c.rt.through = ["setpriv", "--bounding-set=-sys_resource", "prlimit", "--nofile=1000:1000"]
        .iter()
        .map(Into::into)
        .collect();
    c.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 2000, "hard": 2000}]));
    c.run().refused(&["RLIMIT_NOFILE", "hard 2000", "CAP_SYS_RESOURCE", "operation not permitted"]);
    c.assert_gone();
}

#[test]
fn limits_of_another_user_without_the_right_to_limit_others() {
    let mut c = Container::with_script("exec sleep 600");
    c.rt.through = ["setpriv", "--bounding-set=-sys_resource"].iter().map(Into::into).collect();
    c.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    c.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]));
    c.run_detached();
    let process = c.process();
    wait_until("execve", || process.runs("sleep"));
    assert_eq!(process.limit("Max open files"), ("100".to_owned(), "200".to_owned()));
}

#[test]
fn limits_not_asked_for_are_the_callers() {
    let own = Proc::new(std::process::id().try_into().unwrap());
    let c = Container::with_script("exec sleep 600");
    c.run_detached();
    let process = c.process();
    wait_until("execve", || process.runs("sleep"));
    for name in ["Max open files", "Max processes", "Max stack size", "Max core file size"] {
        assert_eq!(process.limit(name), own.limit(name), "{name}");
    }
}

#[test]
fn the_callers_cpu_affinity_is_not_the_containers() {
    let list = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.expect("Cpus_allowed_list").trim().to_owned()
    };
    let own = list(&fs::read_to_string("/proc/self/status").unwrap());
    let Some((first, _)) = own.split_once(['-', ',']) else {
        skip!("there is one CPU here");
    };
    let mut c = Container::with_script("cat /proc/self/status");
    c.rt.through = ["taskset", "--cpu-list", first].iter().map(Into::into).collect();
    assert_eq!(list(&c.output()), own);
}

/// The descriptors of a container's process that sleeps.
fn descriptors(c: &Container) -> Vec<i32> {
    let process = c.process();
    wait_until("execve", || process.runs("sleep"));
    let entries = fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap();
    let mut fds: Vec<i32> = entries
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    fds.sort_unstable();
    fds
}

#[test]
fn no_descriptor_of_the_caller_leaks_in() {
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]);
    // Without close-on-exec, as a careless caller has them.
    let script = "exec 3</ 4</etc/passwd 7<. 9>/dev/null; exec \"$@\"";
    c.rt.through = ["bash", "-c", script, "bash"].iter().map(Into::into).collect();
    c.run_detached();
    c.rt.through.clear();
    assert_eq!(descriptors(&c), [0, 1, 2]);
}

#[test]
fn preserved_descriptors_are_passed_and_no_other() {
    let mut c = Container::with_script("cat <&3; cat <&4; exec sleep 600");
    let three = c.file("three", "of three\n");
    let four = c.file("four", "of four\n");
    let script =
        format!("exec 3<{} 4<{} 5</etc/passwd; exec \"$@\"", three.display(), four.display());
    c.rt.through = ["bash", "-c", &script, "bash"].iter().map(Into::into).collect();
    let ran = c.call("run", &["--detach", "--preserve-fds", "2"]).ok();
    c.rt.through.clear();
    ran.wait_for("of three\nof four\n");
    assert_eq!(descriptors(&c), [0, 1, 2, 3, 4]);
}

#[test]
fn the_last_preserved_descriptor_must_be_open() {
    let mut c = Container::with_script("true");
    let log = c.path().join("log");
    for (script, count) in [
        ("exec 4<&-; exec \"$@\"", "1000"),
        // 3 is what the log would be opened as.
        ("exec 3<&-; exec \"$@\"", "1"),
        ("exec 3</etc/passwd 4<&-; exec \"$@\"", "2"),
    ] {
        c.rt.through = ["bash", "-c", script, "bash"].iter().map(Into::into).collect();
        let ran = c.call("run", &["--log", log.to_str().unwrap(), "--preserve-fds", count]);
        c.rt.through.clear();
        ran.refused(&["--preserve-fds", "is not open"]);
        c.assert_gone();
    }
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("is not open").count(), 3, "{log}");
}

#[test]
fn numbers_between_preserved_descriptors_can_be_free() {
    let mut c = Container::with_script("cat <&3; cat <&6; exec sleep 600");
    let three = c.file("three", "of three\n");
    let six = c.file("six", "of six\n");
    let script = format!(
        "exec 3<{} 4<&- 5<&- 6<{} 7</etc/passwd; exec \"$@\"",
        three.display(),
        six.display()
    );
    let log = c.path().join("log");
    let log = ["--log", log.to_str().unwrap(), "--preserve-fds", "4"];
    c.rt.through = ["bash", "-c", &script, "bash"].iter().map(Into::into).collect();
    let ran = c.call("run", &[&["--detach"], &log[..]].concat()).ok();
    let list = ["sh", "-c", "for fd in /proc/self/fd/*; do readlink $fd; done"];
    let exec = c.exec(&log, &list).ok();
    c.rt.through.clear();
    ran.wait_for("of three\nof six\n");
    assert_eq!(descriptors(&c), [0, 1, 2, 3, 6]);
    let links: Vec<&str> = exec.stdout.lines().filter(|link| link.starts_with('/')).collect();
    let ours = [three, six].map(|path| path.to_str().unwrap().to_owned());
    assert!(ours.iter().all(|path| links.contains(&path.as_str())), "{exec:#?}");
    assert!(!exec.stdout.contains("pipe:"), "{exec:#?}");
}

/// The master of a new terminal, as an engine receives it.
fn receive_terminal(listener: &UnixListener) -> File {
    let (stream, _) = listener.accept().unwrap();
    let mut name = [0u8; 256];
    let mut space = nix::cmsg_space!([i32; 4]);
    let mut slices = [IoSliceMut::new(&mut name)];
    let message = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )
    .unwrap();
    let mut received = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(fds) = control {
            received.extend(fds);
        }
    }
    assert_eq!(received.len(), 1, "one descriptor is expected");
    // An owned copy of the raw number, and the number closed.
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let terminal = pidfd_getfd(own, received[0], PidfdGetfdFlags::empty()).unwrap();
    nix::unistd::close(received[0]).unwrap();
    terminal.into()
}

fn read_until(terminal: &mut File, text: &str) -> String {
    let mut seen = String::new();
    let mut buffer = [0u8; 1024];
    while !seen.contains(text) {
        match terminal.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
        }
    }
    assert!(seen.contains(text), "{text:?} is not in {seen:?}");
    seen
}

fn with_terminal(script: &str) -> (Container, UnixListener, String) {
    let mut c = Container::with_script(script);
    c.set("/process/terminal", json!(true));
    let socket = c.path().join("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    (c, listener, socket.to_str().unwrap().to_owned())
}

// Proves: process.terminal, process.consoleSize.{height, width}, default:/dev/console
#[test]
fn a_terminal_is_handed_over() {
    let (mut c, listener, socket) = with_terminal(
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all three; stty size; read x; echo got $x; exec sleep 600",
    );
    c.set("/process/consoleSize", json!({"height": 33, "width": 121}));
    c.call("create", &["--console-socket", &socket]).ok();
    let mut terminal = receive_terminal(&listener);
    c.start().ok();
    let seen = read_until(&mut terminal, "33 121");
    assert!(seen.contains("/dev/pts/0"), "{seen:?}");
    assert!(seen.contains("all three"), "{seen:?}");
    terminal.write_all(b"word\n").unwrap();
    read_until(&mut terminal, "got word");
    let process = c.process();
    assert_eq!(
        fs::metadata(process.inside("/dev/console"))
            .map(|meta| {
                let device = std::os::unix::fs::MetadataExt::rdev(&meta);
                nix::sys::stat::major(device)
            })
            .unwrap(),
        136
    );
    // It leads a session of its own and the terminal is its controlling one.
    let stat = process.read("stat");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields[3], process.pid.to_string(), "session of {stat}");
    assert_ne!(fields[4], "0", "controlling terminal of {stat}");
}

// Proves: process.consoleSize:ignored
#[test]
fn without_a_terminal_its_size_is_ignored() {
    let mut c = Container::with_script("test -t 0 || echo no terminal");
    c.set("/process/consoleSize", json!({"height": 33, "width": 121}));
    assert_eq!(c.run().ok().stdout, "no terminal\n");
}

#[test]
fn a_signal_typed_at_the_terminal_arrives() {
    let (c, listener, socket) = with_terminal(
        "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done",
    );
    c.call("run", &["--detach", "--console-socket", &socket]).ok();
    let mut terminal = receive_terminal(&listener);
    read_until(&mut terminal, "ready");
    terminal.write_all(b"\x03").unwrap();
    read_until(&mut terminal, "interrupted");
    c.wait_status("stopped");
}

#[test]
fn a_terminal_belongs_to_the_containers_user() {
    let (mut c, listener, socket) = with_terminal("stat -c %u $(tty); echo done; exec sleep 600");
    c.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    c.call("create", &["--console-socket", &socket]).ok();
    let mut terminal = receive_terminal(&listener);
    c.start().ok();
    assert!(read_until(&mut terminal, "done").starts_with("1000"));
}

#[test]
fn a_terminal_and_its_socket_go_together() {
    let mut c = Container::with_script("true");
    c.set("/process/terminal", json!(true));
    c.create().refused(&["console"]);
    c.assert_gone();
    c.call("run", &["--detach"]).refused(&["console"]);
    c.assert_gone();

    c.set("/process/terminal", json!(false));
    let socket = c.path().join("console.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    c.call("create", &["--console-socket", socket.to_str().unwrap()]).refused(&["console"]);
    c.assert_gone();
}

#[test]
fn standard_streams_are_the_containers_own_null() {
    // The host's /dev/null would be a way to the host's device file system.
    let c = Container::with_script(
        "[ $(stat -L -c %d /proc/$$/fd/0) = $(stat -c %d /dev/null) ] && echo its own || echo not",
    );
    let ran = c.run_detached();
    assert_eq!(ran.wait_for("\n"), "its own\n");
}

/// The container's program is the runtime itself, in sight of a process that wants to write to it
/// (CVE-2019-5736).
#[test]
fn the_binary_cannot_be_written_from_inside() {
    let mut first = Container::with_script(PROGRAM_WRITER);
    first.capabilities(WRITER_CAPABILITIES);
    let writer = first.run_detached();
    writer.wait_for("ready");

    let mut c = Container::new();
    let (runtime, programs) = programs_of_the_runtime(&mut c);
    let path = format!("/proc/{}/ns/pid", first.process().pid);
    c.namespace(json!({"type": "pid", "path": path}));
    let before = fs::read(&runtime).unwrap();
    for (program, expected) in programs {
        c.args(&[program, "features"]);
        c.write();
        let command = c.rt.command(&c.words("run", &[]));
        assert_eq!(can_write_to_program(&writer, command), expected, "{program}");
        assert!(fs::read(&runtime).unwrap() == before, "{program} changed the runtime's binary");
    }
    assert!(fs::read(c.rootfs().join("bin/unprotected")).unwrap() != before);
}
