//! What a container sees of the runtime's processes: exec, create into a shared pid namespace, init
//! that waits for start. No process in its pid namespace may hold anything of the host, also for a
//! container that has CAP_SYS_PTRACE.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::support::*;

/// Is in the environment of the runtime.
const SECRET: &str = "of-the-caller-alone";

/// Is on the command line of the runtime.
const WORD: &str = "on-the-command-line";

/// Every right over other processes and files that does not make it root of the host by itself.
const STRONG: &[&str] =
    &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL", "CAP_SETUID"];

/// As the kernel shows the directory after pivot_root(2).
fn root_of(c: &Container) -> String {
    let meta = fs::metadata(c.rootfs()).unwrap();
    format!("{}:{}", meta.dev(), meta.ino())
}

fn filtered(c: &mut Container) {
    c.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
        }),
    );
}

/// A container whose process watches.
fn watching(roots: &str, waiting: &str) -> (Container, Ran) {
    let mut c = Container::new();
    put_c_program(&c, "watch");
    c.capabilities(STRONG).set("/linux/resources", json!({}));
    filtered(&mut c);
    let roots = if roots.is_empty() { root_of(&c) } else { roots.to_owned() };
    let secret: String = SECRET.chars().rev().collect();
    c.args(&["/bin/watch", &secret, WORD, &roots, waiting]);
    let ran = c.run_detached();
    ran.wait_for("ready");
    (c, ran)
}

fn with_secret(c: &mut Container) {
    let variable = format!("CALLER={SECRET}");
    c.rt.through = ["env", &variable].map(Into::into).to_vec();
    let log = c.path().join(format!("{WORD}.log"));
    c.rt.global = ["--log".into(), log.into()].to_vec();
}

/// Turns of a test: `count`, and on a machine that is too busy to watch, more of them, until `least` processes
/// were seen before they executed their program.
fn turns(c: &Container, count: u32, least: u32) -> impl Iterator<Item = u32> {
    let early = c.rootfs().join("mnt/early");
    (0..count * 10).take_while(move |turn| *turn < count || number_in(&early) < least)
}

/// What the watch has counted until now.
fn number_in(file: &Path) -> u32 {
    fs::read_to_string(file).unwrap_or_default().parse().unwrap_or(0)
}

/// The end of the watch: it saw `least` processes before they executed their program, and nothing
/// of the host.
#[track_caller]
fn found_nothing(c: &Container, ran: &Ran, least: u32) {
    fs::write(c.rootfs().join("mnt/stop"), "").unwrap();
    let output = ran.wait_for("end\n");
    let counts = said(&output, "seen");
    let early: u32 = counts.rsplit('=').next().unwrap().parse().unwrap();
    assert!(!output.contains("hit="), "{output}");
    assert!(early >= least, "too few were seen in time: {output}");
    assert_eq!(number_in(&c.rootfs().join("mnt/early")), early);
}

// Evidence: exec-seen, CVE-2016-9962 (exec)
#[test]
fn a_thousand_execs_show_nothing_of_the_host() {
    let (mut c, ran) = watching("", "0");
    with_secret(&mut c);
    for _ in turns(&c, 1000, 20) {
        c.exec(&[], &["/bin/true"]).ok();
    }
    found_nothing(&c, &ran, 20);
}

// Evidence: exec-seen (exec)
#[test]
fn an_exec_as_a_user_shows_nothing_of_the_host() {
    let (mut c, ran) = watching("", "0");
    with_secret(&mut c);
    let gone = format!("/no-such-{SECRET}");
    for turn in turns(&c, 50, 3) {
        c.exec(&["--user", "1000:1000", "--additional-gids", "7"], &["/bin/true"]).ok();
        c.exec(&["--cwd", "/"], &["/bin/sh", "-c", "exit 7"]);
        if turn % 10 == 0 {
            c.exec(&[], &[&gone]).not_started(&["no such file"]);
        }
    }
    found_nothing(&c, &ran, 3);
}

// Evidence: create-seen (create)
#[test]
fn two_hundred_creates_show_nothing_of_the_host() {
    let mut neighbour = Container::new();
    let (c, ran) = watching(&root_of(&neighbour), "1");
    let path = format!("/proc/{}/ns/pid", c.process().pid);
    neighbour.namespace(json!({"type": "pid", "path": path})).capabilities(STRONG);
    filtered(&mut neighbour);
    // It must be the joined namespace that its own /proc shows.
    neighbour.sh("[ -e /proc/1/exe ] && read -r name </proc/1/comm && [ $name = watch ]");
    with_secret(&mut neighbour);
    for turn in turns(&c, 200, 3) {
        if turn % 2 == 0 {
            neighbour.run().ok();
        } else {
            neighbour.create().ok();
            neighbour.start().ok();
            neighbour.wait_status("stopped");
            neighbour.delete().ok();
        }
    }
    found_nothing(&c, &ran, 3);
}

// Evidence: created-init (create)
/// Without the process of the image there is init alone, and what exec brings.
#[test]
fn an_init_that_waits_for_start_has_its_filter_and_no_environment() {
    let mut c = Container::new();
    put_c_program(&c, "watch");
    c.capabilities(STRONG).args(&["/bin/sleep", "600"]);
    filtered(&mut c);
    with_secret(&mut c);
    c.create().ok();
    let init = c.process();
    assert_eq!(init.status("Seccomp"), "2");
    assert_eq!(init.status("NoNewPrivs"), "1");
    let bytes = |name: &str| fs::read(format!("/proc/{}/{name}", init.pid)).unwrap();
    for name in ["environ", "cmdline"] {
        let text = String::from_utf8_lossy(&bytes(name)).into_owned();
        assert!(!text.contains(SECRET) && !text.contains(WORD), "{name}: {text:?}");
    }
    assert_eq!(bytes("cmdline"), b"bulkhead init\0");
    assert!(bytes("environ").iter().all(|byte| *byte == 0));
    // It belongs to root while it is not dumpable.
    c.start().ok();
}

// Evidence: created-init (create)
/// Ptrace of a process with init's own capabilities, which are not CAP_SYS_PTRACE.
#[test]
fn an_init_that_waits_for_start_cannot_be_traced() {
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]).capabilities(&["CAP_KILL"]);
    c.create().ok();
    let tried = "for f in environ root cwd exe fd/0 mem; do \
                 cat /proc/1/$f >/dev/null 2>&1 && echo hit=$f; \
                 readlink /proc/1/$f && echo hit=$f; done; echo end";
    assert_eq!(c.exec_sh(tried), "end\n");
    c.start().ok();
    wait_until("the program runs", || {
        fs::read(format!("/proc/{}/cmdline", c.process().pid)).unwrap().starts_with(b"/bin/sleep")
    });
    let seen = c.exec_sh("cat /proc/1/environ >/dev/null && echo seen");
    assert_eq!(seen, "seen\n", "the program itself is no secret");
}

/// The filter that forbids waiting is loaded after the wait; nobody comes near init until then.
#[test]
fn no_exec_beside_an_init_that_cannot_wait_under_its_filter() {
    let mut c = Container::new();
    c.args(&["/bin/true"]).capabilities(&["CAP_SYS_PTRACE"]);
    c.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}],
        }),
    );
    c.create().ok();
    assert_eq!(c.process().status("Seccomp"), "0");
    c.exec(&[], &["/bin/true"]).not_started(&["before start", "seccomp"]);
    c.start().ok();
}

/// A profile under which no process can be made: that of an exec is born all the same, and filtered.
#[test]
fn exec_under_a_filter_that_forbids_new_processes() {
    for no_new_privileges in [true, false] {
        let mut c = Container::new();
        c.args(&["/bin/sleep", "600"]);
        c.set("/process/noNewPrivileges", json!(no_new_privileges));
        let forbidden = ["clone", "clone3", "fork", "vfork", "setsid", "close"];
        c.set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": forbidden, "action": "SCMP_ACT_ERRNO"}],
            }),
        );
        c.run_detached();
        let seen = c.exec(&[], &["grep", "^Seccomp:", "/proc/self/status"]).ok().stdout;
        assert_eq!(seen, "Seccomp:\t2\n");
        let caps = c.exec(&[], &["grep", "^CapEff:", "/proc/self/status"]).ok().stdout;
        assert_eq!(caps.trim_end(), format!("CapEff:\t{}", c.process().status("CapEff")));
    }
}

// Evidence: created-init (run)
/// The image's own program, which a startContainer hook is.
#[test]
fn a_start_container_hook_sees_no_environment_of_the_runtime() {
    let mut c = Container::new();
    c.args(&["/bin/true"]).capabilities(STRONG);
    let hook = c.rootfs().join("bin/look");
    fs::write(&hook, "#!/bin/sh\ncat /proc/1/environ /proc/1/cmdline >/mnt/seen\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    c.set("/hooks/startContainer", json!([{"path": "/bin/look"}]));
    with_secret(&mut c);
    c.run().ok();
    let seen = fs::read(c.rootfs().join("mnt/seen")).unwrap();
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(text.contains("bulkhead init"), "{text:?}");
    assert!(!text.contains(SECRET) && !text.contains(WORD), "{text:?}");
}

// Evidence: exec-followed (exec)
/// An init without capabilities makes namespaces, with a program of its own in place of the image's.
#[test]
fn exec_does_not_follow_init_into_another_user_namespace() {
    if !unprivileged_user_namespaces() {
        skip!("unprivileged user namespaces are switched off");
    }
    let mut c = Container::new();
    let unshare = ["/usr/bin/unshare", "/bin/unshare"].into_iter().find(|p| Path::new(p).exists());
    for dir in ["/lib", "/lib64", "/usr/lib"].into_iter().filter(|dir| Path::new(dir).is_dir()) {
        c.mount(dir, "bind", dir, &["rbind", "ro"]);
    }
    copy_program(unshare.expect("unshare is missing"), c.rootfs().join("bin/unshare"));
    c.capabilities(&[]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let program = |name: &str, text: &str| {
        let path = c.rootfs().join("bin").join(name);
        fs::remove_file(&path).ok();
        fs::write(&path, format!("#!/bin/sh\necho {text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("id", "true");
    program("other", "false");
    let inner = "mount --bind /bin/other /bin/id && echo bound; exec sleep 600";
    c.args(&["/bin/unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inner]);
    let ran = c.run_detached();
    ran.wait_for("bound");
    c.exec(&["--user", "0"], &["/bin/id"]).not_started(&["user namespace"]);
}

// Evidence: keyring-made-first (run)
/// A neighbour cannot make the session keyring beforehand: its name is not known.
#[test]
fn the_session_keyring_is_a_new_one() {
    let names = |c: &Container| {
        let keys = c.exec_sh("cat /proc/keys");
        let own = keys.lines().find_map(|line| line.split_once(&format!("_ses.{}", c.id)));
        own.map(|(_, rest)| format!("{}{}", c.id, rest.split(':').next().unwrap()))
    };
    let mut found = Vec::new();
    for _ in 0..2 {
        let mut c = Container::new();
        c.args(&["/bin/sleep", "600"]);
        c.run_detached();
        let name = names(&c).unwrap_or_default();
        let (id, random) = name.rsplit_once('.').unwrap_or((&name, ""));
        assert_eq!((id, random.len()), (c.id.as_str(), 16), "{name:?}");
        found.push(random.to_owned());
    }
    assert_ne!(found[0], found[1]);
}

/// Before Linux 6.18 a procfs cannot be told its pid namespace, and a process inside makes it.
#[test]
fn proc_of_a_joined_pid_namespace_on_older_kernels() {
    use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
    const FSCONFIG_SET_FD: u64 = 5;
    let mut first = Container::new();
    first.args(&["/bin/sleep", "600"]);
    first.run_detached();
    let pid = first.process().pid;
    let joined = move || {
        let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
        let fsconfig = ScmpSyscall::from_name("fsconfig").unwrap();
        let set_fd = ScmpArgCompare::new(1, ScmpCompareOp::Equal, FSCONFIG_SET_FD);
        filter.add_rule_conditional(ScmpAction::Errno(libc::EINVAL), fsconfig, &[set_fd]).unwrap();
        filter.set_ctl_nnp(false).unwrap();
        filter.load().unwrap();
        let mut c = Container::with_script("cat /proc/1/comm; grep -c . /proc/self/mounts; ls /");
        c.namespace(json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")}));
        let output = c.output();
        assert!(output.starts_with("sleep\n"), "{output}");
        let mut failing = Container::new();
        failing.namespace(json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")}));
        failing.set("/mounts/0/options", json!(["hidepid=nonsense"]));
        failing.run().refused(&["mounts[0]", "hidepid=nonsense"]);
    };
    std::thread::spawn(joined).join().unwrap();
}
