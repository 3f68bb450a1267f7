//! System call filters: what is blocked is blocked, with the action that was asked for.

use crate::support::*;

fn filtered(script: &str, rules: Value) -> Container {
    let mut c = Container::with_script(script);
    c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    c
}

// Proves: linux.seccomp.syscalls[].{names, errnoRet},
// linux.seccomp.syscalls[].action=SCMP_ACT_ERRNO
#[test]
fn a_blocked_call_gives_the_errno_asked_for() {
    for (errno, text) in
        [(1, "Operation not permitted"), (95, "not supported"), (28, "No space left")]
    {
        let c = filtered(
            "mkdir /tmp/d 2>&1; touch /tmp/f && echo others work",
            json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]),
        );
        let output = c.output();
        assert!(output.contains(text), "{errno}: {output}");
        assert!(output.contains("others work"), "{output}");
        assert!(!c.rootfs().join("tmp/d").exists());
    }
}

// Proves: linux.seccomp.syscalls[].errnoRet
#[test]
fn the_default_errno_is_eperm() {
    let c = filtered(
        "mkdir /tmp/d 2>&1",
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]),
    );
    assert!(c.run().stdout.contains("Operation not permitted"));
}

#[test]
fn an_errno_of_zero_skips_the_call() {
    let c = filtered(
        "mkdir /tmp/d; echo status=$?; ls -d /tmp/d 2>/dev/null; true",
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}]),
    );
    assert_eq!(c.output(), "status=0\n");
}

#[test]
fn the_kernel_says_that_a_filter_is_there() {
    for no_new_privs in [true, false] {
        let mut c =
            filtered("exec sleep 600", json!([{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]));
        c.set("/process/noNewPrivileges", json!(no_new_privs));
        c.run_detached();
        let process = c.process();
        wait_until("execve", || process.runs("sleep"));
        assert_eq!(process.status("Seccomp"), "2");
        assert_eq!(process.status("Seccomp_filters"), "1");
        assert_eq!(process.status("NoNewPrivs"), if no_new_privs { "1" } else { "0" });
    }
    let c = Container::with_script("exec sleep 600");
    c.run_detached();
    let own = Proc::new(std::process::id().try_into().unwrap());
    assert_eq!(c.process().status("Seccomp"), own.status("Seccomp"));
}

// Proves: linux.seccomp.syscalls[].action={SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS,
// SCMP_ACT_KILL_THREAD}
#[test]
fn a_killing_action_kills() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"] {
        let c = filtered(
            "(exec mkdir /tmp/d); echo status=$?",
            json!([{"names": ["mkdir", "mkdirat"], "action": action}]),
        );
        // 128 and SIGSYS.
        assert_eq!(c.output(), "status=159\n", "{action}");
    }
}

// Proves: linux.seccomp.syscalls[].action=SCMP_ACT_TRAP
#[test]
fn a_trap_is_a_signal() {
    let c = filtered(
        "(exec mkdir /tmp/d); echo status=$?",
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRAP"}]),
    );
    assert_eq!(c.output(), "status=159\n");
}

/// The kernel answers ENOSYS where nobody traces the process (seccomp(2)).
// Proves: linux.seccomp.syscalls[].action=SCMP_ACT_TRACE
#[test]
fn a_call_for_a_tracer_fails_without_one() {
    let c = filtered(
        "mkdir /tmp/d 2>&1; true",
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRACE", "errnoRet": 5}]),
    );
    let output = c.output();
    assert!(output.contains("Function not implemented"), "{output}");
    assert!(!c.rootfs().join("tmp/d").exists());
}

// Proves: linux.seccomp.syscalls[].action=SCMP_ACT_LOG
#[test]
fn logging_lets_the_call_through() {
    let c = filtered(
        "mkdir /tmp/d && echo made",
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_LOG"}]),
    );
    assert_eq!(c.output(), "made\n");
}

// Proves: linux.seccomp.{defaultAction, defaultErrnoRet},
// linux.seccomp.syscalls[].action=SCMP_ACT_ALLOW
#[test]
fn an_allow_list() {
    let mut c = Container::with_script("echo fine; mkdir /tmp/d 2>&1; true");
    let names = [
        "access",
        "arch_prctl",
        "brk",
        "capget",
        "capset",
        "chdir",
        "clone",
        "clone3",
        "close",
        "close_range",
        "dup",
        "dup2",
        "dup3",
        "epoll_create1",
        "epoll_ctl",
        "epoll_pwait",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "faccessat",
        "faccessat2",
        "fchdir",
        "fchown",
        "fcntl",
        "fork",
        "fstat",
        "fstatfs",
        "futex",
        "getcwd",
        "getdents64",
        "getegid",
        "geteuid",
        "getgid",
        "getpgrp",
        "getpid",
        "getppid",
        "getrandom",
        "gettid",
        "getuid",
        "ioctl",
        "lseek",
        "lstat",
        "madvise",
        "mmap",
        "mprotect",
        "munmap",
        "nanosleep",
        "newfstatat",
        "open",
        "openat",
        "openat2",
        "pipe2",
        "pipe",
        "poll",
        "ppoll",
        "prctl",
        "pread64",
        "prlimit64",
        "read",
        "readlink",
        "readlinkat",
        "rseq",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sched_getaffinity",
        "sched_yield",
        "seccomp",
        "sendmsg",
        "recvmsg",
        "sendto",
        "recvfrom",
        "set_robust_list",
        "set_tid_address",
        "setgid",
        "setgroups",
        "setuid",
        "setresuid",
        "setresgid",
        "setsid",
        "sigaltstack",
        "stat",
        "statx",
        "tgkill",
        "tkill",
        "umask",
        "uname",
        "vfork",
        "wait4",
        "waitid",
        "write",
        "writev",
        "kill",
        "pidfd_send_signal",
        "eventfd2",
        "shutdown",
        "fstatat64",
    ];
    c.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 95,
            "syscalls": [{"names": &names[..], "action": "SCMP_ACT_ALLOW"}]
        }),
    );
    let output = c.output();
    assert!(output.starts_with("fine\n"), "{output}");
    assert!(output.contains("not supported"), "{output}");
}

// Proves: linux.seccomp.syscalls[].args[].{index, value, valueTwo},
// linux.seccomp.syscalls[].args[].op={SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ,
// SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ}
#[test]
fn arguments_are_compared() {
    // chmod of a file with a mode: the mode is argument 1 of chmod and 2 of fchmodat.
    let cases = [
        ("SCMP_CMP_EQ", json!(0o600), None, "600", "601"),
        ("SCMP_CMP_NE", json!(0o600), None, "601", "600"),
        ("SCMP_CMP_GT", json!(0o600), None, "601", "600"),
        ("SCMP_CMP_GE", json!(0o600), None, "600", "577"),
        ("SCMP_CMP_LT", json!(0o600), None, "577", "600"),
        ("SCMP_CMP_LE", json!(0o600), None, "600", "601"),
        ("SCMP_CMP_MASKED_EQ", json!(0o4000), Some(0o4000), "4755", "755"),
    ];
    for (operator, value, two, blocked, allowed) in cases {
        let argument = |index: u32| match two {
            // The mask is `value`, what must remain is `valueTwo`.
            Some(two) => json!({"index": index, "op": operator, "value": value, "valueTwo": two}),
            None => json!({"index": index, "op": operator, "value": value}),
        };
        let c = filtered(
            &format!(
                "chmod {blocked} /tmp/f; echo blocked=$?; chmod {allowed} /tmp/f; echo allowed=$?"
            ),
            json!([
                {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [argument(1)]},
                {"names": ["fchmodat"], "action": "SCMP_ACT_ERRNO", "args": [argument(2)]}
            ]),
        );
        std::fs::write(c.rootfs().join("tmp/f"), "").unwrap();
        assert_eq!(c.output(), "blocked=1\nallowed=0\n", "{operator}");
    }
}

#[test]
fn every_argument_of_a_rule_must_match() {
    let c = filtered(
        "mknod /tmp/a p; echo fifo=$?; mknod /tmp/b c 1 3; echo null=$?; mknod /tmp/c c 1 5; echo zero=$?",
        json!([
            {"names": ["mknod"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": 0o170000, "valueTwo": 0o020000},
                {"index": 2, "op": "SCMP_CMP_EQ", "value": 0x103}]},
            {"names": ["mknodat"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 2, "op": "SCMP_CMP_MASKED_EQ", "value": 0o170000, "valueTwo": 0o020000},
                {"index": 3, "op": "SCMP_CMP_EQ", "value": 0x103}]}
        ]),
    );
    assert_eq!(c.output(), "fifo=0\nnull=1\nzero=0\n");
}

#[test]
fn an_unknown_call_is_passed_over() {
    let c = filtered(
        "echo fine",
        json!([{"names": ["no_such_call_at_all", "mkdir"], "action": "SCMP_ACT_ERRNO"}]),
    );
    assert_eq!(c.run().ok().stdout, "fine\n");
}

/// Where [`thirty_two_bits`] has its code: behind the headers of the ELF file.
const ORIGIN: u32 = 0x0804_8000 + 52 + 32;

/// Returns a 32-bit program that calls mkdir("/d", 0755) and exits with its negated result, with the
/// names of this machine's architecture and of the program's. An ELF file of one segment, made by hand
/// so that no 32-bit compiler is needed.
fn thirty_two_bits() -> Option<(Vec<u8>, [&'static str; 2])> {
    // The path is behind the 28 bytes of code.
    const I386: [u8; 32] = [
        0xb8, 0x27, 0, 0, 0, // mov eax, 39 (mkdir)
        0xbb, 0x70, 0x80, 0x04, 0x08, // mov ebx, ORIGIN + 28
        0xb9, 0xed, 0x01, 0, 0, // mov ecx, 0755
        0xcd, 0x80, // int 0x80
        0x89, 0xc3, // mov ebx, eax
        0xf7, 0xdb, // neg ebx
        0xb8, 0x01, 0, 0, 0, // mov eax, 1 (exit)
        0xcd, 0x80, // int 0x80
        b'/', b'd', 0, 0,
    ];
    const ARM: [u8; 32] = [
        0x14, 0x00, 0x8f, 0xe2, // add r0, pc, #20 (pc is two instructions ahead)
        0xed, 0x11, 0x00, 0xe3, // movw r1, #0755
        0x27, 0x70, 0xa0, 0xe3, // mov r7, #39 (mkdir)
        0x00, 0x00, 0x00, 0xef, // svc #0
        0x00, 0x00, 0x60, 0xe2, // rsb r0, r0, #0
        0x01, 0x70, 0xa0, 0xe3, // mov r7, #1 (exit)
        0x00, 0x00, 0x00, 0xef, // svc #0
        b'/', b'd', 0, 0,
    ];
    // The ELF machine and its flags; those of ARM are the version of the ABI.
    let (code, machine, flags, archs) = match std::env::consts::ARCH {
        "x86_64" => (I386, 3, 0, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
        "aarch64" => (ARM, 40, 0x0500_0000, ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        _ => return None,
    };
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2u16, machine] {
        elf.extend(half.to_le_bytes());
    }
    for word in [1u32, ORIGIN, 52, 0, flags] {
        elf.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let base = ORIGIN - 52 - 32;
    let size = 52 + 32 + code.len() as u32;
    for word in [1u32, 0, base, base, size, size, 5, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    Some((elf, archs))
}

// Proves: linux.seccomp.architectures
#[test]
fn foreign_architecture() {
    let Some((elf, archs)) = thirty_two_bits() else {
        skip!("written for x86_64 and arm64");
    };
    let program = |c: &Container| {
        let file = c.rootfs().join("bin/thirty-two");
        std::fs::write(&file, &elf).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    };
    let mut plain = Container::new();
    program(&plain);
    plain.args(&["/bin/thirty-two"]);
    let ran = plain.run();
    if ran.code() != Some(0) {
        skip!("32-bit programs do not run here: {}", ran.stderr.trim());
    }
    assert!(plain.rootfs().join("d").is_dir());

    // The rule covers both architectures.
    let rules = json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]);
    let mut both = filtered("", rules.clone());
    program(&both);
    both.args(&["/bin/thirty-two"]);
    both.set("/linux/seccomp/architectures", json!(archs));
    assert_eq!(both.run().code(), Some(77));

    // An architecture that is not listed is killed, not let through.
    let mut one = filtered("", rules);
    program(&one);
    one.args(&["/bin/thirty-two"]);
    one.set("/linux/seccomp/architectures", json!([archs[0]]));
    assert_eq!(one.run().code(), Some(159));
    assert!(!one.rootfs().join("d").exists());
}

// Proves: linux.seccomp.flags=SECCOMP_FILTER_FLAG_TSYNC
#[test]
fn flags_are_taken() {
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_LOG"]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC"]),
        json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
    ] {
        let mut c = filtered(
            "mkdir /tmp/d; echo status=$?",
            json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]),
        );
        c.set("/linux/seccomp/flags", flags.clone());
        assert_eq!(c.output(), "status=1\n", "{flags}");
    }
}

/// As strace(1) sees them. The flag for all threads is left out, since init has one
/// thread.
// Proves: linux.seccomp.flags={SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW}
#[test]
fn flags_reach_the_kernel() {
    if std::process::Command::new("strace").arg("--version").output().is_err() {
        skip!("no strace here");
    }
    for (flag, seen) in [
        ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_LOG"),
        ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
        ("SECCOMP_FILTER_FLAG_TSYNC", "0"),
    ] {
        let mut c = filtered("true", json!([{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]));
        c.set("/linux/seccomp/flags", json!([flag]));
        let trace = c.path().join("trace");
        let strace = ["strace", "-f", "-e", "trace=seccomp", "-o"];
        c.rt.through = strace.iter().map(Into::into).chain([trace.clone().into()]).collect();
        c.run().ok();
        c.rt.through.clear();
        let text = std::fs::read_to_string(&trace).unwrap();
        let call = format!("seccomp(SECCOMP_SET_MODE_FILTER, {seen}, {{");
        assert!(text.lines().any(|l| l.contains(&call) && l.ends_with("= 0")), "{flag}: {text}");
    }
}

/// The flag is about system calls that an agent decides upon, and takes effect with a listener.
// Proves: linux.seccomp.flags=SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#[test]
fn a_flag_of_agents_is_taken() {
    let mut c = filtered(
        "grep Seccomp_filters /proc/self/status; mkdir /tmp/d; echo mkdir=$?",
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]),
    );
    let socket = c.path().join("agent");
    // A read without room for descriptors closes the listener.
    let agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let accepted = std::thread::spawn(move || {
        std::io::copy(&mut agent.accept().unwrap().0, &mut std::io::sink()).unwrap()
    });
    c.set("/linux/seccomp/listenerPath", json!(socket));
    c.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
    let ran = c.run();
    if kernel_at_least(5, 19) {
        let output = ran.ok().stdout;
        assert!(output.starts_with("Seccomp_filters:\t1\n"), "{output}");
        assert_ne!(said(&output, "mkdir"), "0", "{output}");
        accepted.join().unwrap();
    } else {
        ran.refused(&["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    }
}

#[test]
fn what_the_runtime_itself_needs_may_be_refused() {
    // getcwd(2) is the runtime's check of the working directory, setuid and chdir come before it.
    for (uid, private) in [(0, false), (1000, false), (0, true), (1000, true)] {
        let mut c = Container::new();
        c.set("/process/noNewPrivileges", json!(private));
        c.set("/process/user", json!({"uid": uid, "gid": uid}));
        c.set("/process/cwd", json!("/tmp"));
        c.set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{
                    "names": ["getcwd", "chdir", "setresuid", "setresgid", "setgroups"],
                    "action": "SCMP_ACT_KILL_PROCESS"
                }]
            }),
        );
        c.args(&["/bin/cat", "/proc/self/status"]);
        assert!(c.output().contains("Seccomp:\t2\n"), "uid {uid}, noNewPrivileges {private}");
    }
}
