//! Handles of the host that a container could find: the runtime's executable, descriptors, the
//! working directory, environments, keys, sockets. CVE-2016-9962, CVE-2019-5736, CVE-2020-15257,
//! CVE-2024-21626, CVE-2025-23266.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::hostile_support::{Canary, SECRET, one_line, plant};
use crate::support::{Container, PATIENCE, Ran, json, said, wait_for, wait_until};

/// Capabilities that make an attacker as strong as the engine allows.
const STRONG: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

/// Words for `through`: a caller that has directory `dir` open as every descriptor from 3 to 64.
fn leaking(dir: &Path) -> Vec<std::ffi::OsString> {
    let script =
        format!("for n in $(seq 3 64); do eval \"exec $n<'{}'\"; done; exec \"$@\"", dir.display());
    ["bash", "-c", &script, "bash"].map(Into::into).to_vec()
}

/// A container in the pid namespace of another one.
fn companion(other: &Container, script: &str) -> Container {
    let mut container = Container::with_script(script);
    let path = format!("/proc/{}/ns/pid", other.process().pid);
    container
        .namespace(json!({"type": "pid", "path": path}))
        .set("/process/noNewPrivileges", json!(false));
    container
}

/// What an attacker with a process of the runtime as pid 1 in sight tries.
const OVERWRITE: &str = "
    exec 3</proc/1/exe
    echo opened=yes
    try() { if \"$@\" 2>/tmp/why; then echo \"hit=$*\"; else cat /tmp/why; fi; }
    try dd if=/bin/busybox of=/proc/1/exe conv=notrunc bs=64 count=1
    try sh -c ': > /proc/1/exe'
    try sh -c ': >> /proc/1/exe'
    try chmod 777 /proc/1/exe
    try truncate -s 0 /proc/1/exe
    touch /tmp/file
    try mount --bind /proc/1/exe /tmp/file
    try mount -o remount,bind,rw /tmp/file
    touch /mnt/tried
    while [ ! -e /mnt/gone ]; do sleep 0.05; done
    try dd if=/bin/busybox of=/proc/self/fd/3 conv=notrunc bs=64 count=1
    try sh -c ': > /proc/self/fd/3'
    try chmod 777 /proc/self/fd/3
    echo done=yes";

#[track_caller]
fn attack_executable(victim: &Container) {
    let binary = victim.rt.binary.clone();
    let before = (fs::read(&binary).unwrap(), fs::metadata(&binary).unwrap().permissions());
    let mut attacker = companion(victim, OVERWRITE);
    attacker.capabilities(STRONG).set("/linux/resources", json!({}));
    let ran = attacker.run_detached();
    let tried = attacker.rootfs().join("mnt/tried");
    wait_for("the first attempts", || {
        (tried.exists() || !attacker.process().alive()).then_some(())
    });
    // The process goes, and with it the protection that running gives (ETXTBSY).
    victim.delete_force().ok();
    fs::write(attacker.rootfs().join("mnt/gone"), "").unwrap();
    // It dies with its pid namespace, if pid 1 was the victim: then it is at its end too.
    wait_for("its end", || {
        let output = ran.later();
        (output.contains("done=yes") || attacker.status() == "stopped").then_some(())
    });
    let output = ran.later();
    assert_eq!(said(&output, "opened"), "yes", "the attack did not take place: {output}");
    assert!(!output.contains("hit="), "{output}\n{:?}", fs::read_to_string(&ran.output));
    let after = (fs::read(&binary).unwrap(), fs::metadata(&binary).unwrap().permissions());
    assert!(before.0 == after.0, "the runtime's executable was overwritten");
    assert_eq!(before.1, after.1);
}

// Evidence: CVE-2019-5736 (create); fails without the read-only mount of the runtime's executable
#[test]
fn the_executable_of_a_waiting_init_cannot_be_written() {
    let victim = Container::new();
    victim.create().ok();
    attack_executable(&victim);
}

#[test]
fn the_runtime_run_inside_cannot_be_written() {
    // It hangs in the open of its log: a FIFO that nobody reads.
    let mut victim = Container::new();
    nix::unistd::mkfifo(&victim.rootfs().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    with_libraries(&mut victim);
    victim.args(&["/proc/self/exe", "--log", "/fifo", "list"]);
    victim.run_detached();
    let exe = fs::metadata(format!("/proc/{}/exe", victim.process().pid)).unwrap();
    assert_eq!(exe.ino(), fs::metadata(&victim.rt.binary).unwrap().ino());
    attack_executable(&victim);
}

/// Brings the libraries of the host, for a runtime that is not linked statically.
fn with_libraries(container: &mut Container) {
    for dir in ["/lib", "/lib64", "/usr/lib"].into_iter().filter(|dir| Path::new(dir).is_dir()) {
        container.mount(dir, "bind", dir, &["rbind", "ro"]);
    }
}

/// An ELF file of one page for this machine, whose interpreter is /proc/self/exe.
fn elf_with_interpreter(path: &Path) {
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let interpreter = b"/proc/self/exe\0";
    let (header, entry) = (64_u64, 56_u64);
    let at = header + 2 * entry;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for word in [0x40_0000 + at, header, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [header as u16, entry as u16, 2, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let length = interpreter.len() as u64;
    let program = |kind: u32, offset: u64, size: u64, align: u64| {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(5_u32.to_le_bytes());
        for word in [offset, 0x40_0000 + offset, 0x40_0000 + offset, size, size, align] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    };
    file.extend(program(3, at, length, 1));
    file.extend(program(1, 0, at + length, 0x1000));
    file.extend(interpreter);
    fs::write(path, file).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

// Evidence: CVE-2019-5736 (run)
#[test]
fn images_that_run_the_runtime_leave_it_alone() {
    let binary = crate::support::Runtime::new(Canary::new().path()).binary;
    let before = fs::read(&binary).unwrap();
    let args: &[&[&str]] = &[
        &["/proc/self/exe"],
        &["/proc/self/exe", "--version"],
        &["/proc/self/exe", "run", "x"],
        &["/bin/script"],
        &["/bin/elf"],
        &["/bin/link", "list"],
        &["/proc/1/exe", "list"],
    ];
    for args in args {
        let mut container = Container::new();
        let bin = container.rootfs().join("bin");
        fs::write(bin.join("script"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(bin.join("script"), PermissionsExt::from_mode(0o755)).unwrap();
        elf_with_interpreter(&bin.join("elf"));
        symlink("/proc/self/exe", bin.join("link")).unwrap();
        with_libraries(&mut container);
        container.args(args).capabilities(STRONG);
        let ran = container.run();
        assert!(!ran.stderr.contains("exec: "), "the attack did not take place: {ran:#?}");
        assert!(before == fs::read(&binary).unwrap(), "{args:?}");
    }
}

// Evidence: CVE-2024-21626 (run); fails without the closing of descriptors and the check of the working
// directory
#[test]
fn open_directories_of_the_caller_are_no_working_directory() {
    let canary = Canary::new();
    let mut container = Container::with_script("pwd; ls; cat secret ../../../etc/hostname");
    container.rt.through = leaking(canary.path());
    let refused = |container: &Container, cwd: &str| {
        let ran = container.run();
        assert_eq!(ran.stdout, "", "{cwd}: {ran:#?}");
        one_line(&ran, &["process.cwd", cwd]);
    };
    for number in 3..=64 {
        let cwd = format!("/proc/self/fd/{number}");
        container.set("/process/cwd", json!(cwd));
        refused(&container, &cwd);
    }
    for cwd in ["/proc/self/fd/7/dir", "/proc/self/fd/7/../..", "/proc/1/fd/9", "/proc/self/cwd"] {
        container.set("/process/cwd", json!(cwd));
        refused(&container, cwd);
    }
    for (number, target) in [(7, "/proc/self/fd/7"), (8, "/proc/self/fd/8/..")] {
        plant(&container, "w", target);
        container.set("/process/cwd", json!("/w"));
        refused(&container, &format!("/w{}", if number == 0 { "/" } else { "" }));
    }
    canary.assert_unchanged();
}

/// Whether the process or a descendant is in that system call.
fn is_held(pid: u32, call: i64) -> bool {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    read("syscall").starts_with(&format!("{call} "))
        || read(&format!("task/{pid}/children"))
            .split_whitespace()
            .any(|child| is_held(child.parse().unwrap(), call))
}

// Evidence: CVE-2024-21626, cwd-link (run); fails without the check of the working directory
#[test]
fn a_working_directory_swapped_for_a_descriptor_is_refused() {
    // What the caller hands on is open to the end. The directory is there when it is looked for,
    // and a link to the descriptor when it is entered: the kernel says that it lies outside.
    if !Path::new("/usr/bin/strace").exists() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing");
        crate::support::skip!("needs strace");
    }
    for user in [0, 1000] {
        let canary = Canary::new();
        // The user may not read the way to it, which must be no excuse.
        fs::set_permissions(canary.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let mut container = Container::with_script("pwd; cat file; echo started");
        let dir = canary.text("dir");
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        let script = format!(
            "exec 3<'{dir}'; exec strace -f -o /dev/null -e trace=pivot_root \
             -e inject=pivot_root:delay_enter={} \"$@\"",
            (*PATIENCE / 20).as_micros()
        );
        container.rt.through = ["bash", "-c", &script, "bash"].map(Into::into).to_vec();
        container
            .set("/process/cwd", json!("/w"))
            .set("/process/user", json!({"uid": user, "gid": user}));
        fs::create_dir(container.rootfs().join("w")).unwrap();
        symlink("/proc/self/fd/3", container.rootfs().join("v")).unwrap();
        container.write();
        let words = ["run", "--preserve-fds", "1", "-b"];
        let bundle = container.path().to_str().unwrap().to_owned();
        let words: Vec<&str> = words.into_iter().chain([bundle.as_str(), &container.id]).collect();
        let running = container.rt.spawn(container.rt.command(&words));
        wait_until("init is held", || is_held(running.child.id(), nix::libc::SYS_pivot_root));
        let (w, v) = (container.rootfs().join("w"), container.rootfs().join("v"));
        let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
        let here = nix::fcntl::AT_FDCWD;
        nix::fcntl::renameat2(here, &w, here, &v, flags).unwrap();
        let ran = running.wait();
        container.rt.through.clear();
        assert_eq!(ran.stdout, "", "{ran:#?}");
        one_line(&ran, &["process.cwd", "/w", "not inside the root file system"]);
    }
}

#[test]
fn the_images_files_are_not_found_through_open_descriptors() {
    // HOME comes from /etc/passwd of the image, args[0] is looked for in it: by then there must be
    // no descriptor of a host directory that a link could name.
    let canary = Canary::new();
    let outside = canary.text("passwd");
    for number in 3..=40 {
        for dots in ["..", "../../../../../.."] {
            let mut container = Container::with_script("echo HOME=$HOME");
            plant(&container, "etc/passwd", &format!("/proc/self/fd/{number}/{dots}{outside}"));
            container.set("/process/env", json!(["PATH=/bin"]));
            assert_eq!(container.output(), "HOME=/\n", "descriptor {number}, {dots}");
        }
        // A directory of the host would be told as one.
        let mut container = Container::new();
        container.args(&[&format!("/proc/self/fd/{number}/..{}", canary.text("dir"))]);
        let ran = container.run();
        assert!(!ran.stderr.contains("is a directory"), "{ran:#?}");
    }
}

/// The numbers and targets that `ls -l /proc/self/fd` shows.
fn shown(listing: &str) -> Vec<(u32, String)> {
    let lines = listing.lines().filter_map(|line| line.split_once(" -> "));
    let mut all: Vec<(u32, String)> = lines
        .map(|(left, to)| (left.rsplit(' ').next().unwrap().parse().unwrap(), to.to_owned()))
        .collect();
    all.sort();
    all
}

// Evidence: CVE-2016-9962, CVE-2024-21626 (run); fails without the closing of descriptors
#[test]
fn no_descriptor_of_the_caller_is_in_the_container() {
    let canary = Canary::new();
    for hooked in [false, true] {
        let mut container = Container::with_script("ls -l /proc/self/fd");
        if hooked {
            container.set("/hooks", json!({"startContainer": [{"path": "/bin/true"}]}));
        }
        container.rt.through = leaking(canary.path());
        let seen = shown(&container.output());
        container.rt.through.clear();
        // And the one that ls reads, while it does.
        let others = seen.iter().filter(|(number, to)| *number > 2 && !to.starts_with("/proc/"));
        assert_eq!((others.count(), seen.len().min(3)), (0, 3), "{seen:?}");
    }
}

// Evidence: CVE-2020-15257, CVE-2016-9962 (create); fails without the closing of descriptors
#[test]
fn a_waiting_init_holds_nothing_of_the_host() {
    let canary = Canary::new();
    let mut container = Container::new();
    container.rt.through = leaking(canary.path());
    container.create().ok();
    container.rt.through.clear();
    let pid = container.process().pid;
    let mut sockets = Vec::new();
    let (mut fifos, mut others) = (0, Vec::new());
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(Result::unwrap) {
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let target = fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned();
        if let Some(inode) = target.strip_prefix("socket:[") {
            sockets.push(inode.trim_end_matches(']').to_owned());
        } else if target.contains("/state/") {
            use std::os::unix::fs::FileTypeExt;
            assert!(fs::metadata(entry.path()).unwrap().file_type().is_fifo(), "{target}");
            fifos += 1;
        } else if number > 2 {
            others.push(target);
        }
    }
    assert!(others.is_empty() && fifos <= 2 && sockets.len() <= 1, "{others:?} {sockets:?}");
    // No name in the abstract space, which is the network namespace's and not the file system's.
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    for line in table.lines().filter(|line| sockets.iter().any(|inode| line.contains(inode))) {
        assert_eq!(line.split_whitespace().count(), 7, "a socket with a name: {line}");
    }
    for link in ["cwd", "root"] {
        let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
        let seen = inode(format!("/proc/{pid}/{link}").into());
        assert_eq!(seen, inode(container.rootfs()), "{link}");
    }
}

// Evidence: create-seen (create)
#[test]
fn a_joined_pid_namespace_does_not_see_into_init() {
    // The host of the namespace has every right over its own processes, and more capabilities than
    // the one that joins: without the mark on init it would read its memory and descriptors.
    let script = "
        while [ ! -e /mnt/go ]; do sleep 0.05; done
        for pid in $(ls /proc | grep -E '^[0-9]+$'); do
            grep -q bulkhead /proc/$pid/stat || grep -q '^Name:.bulkhead' /proc/$pid/status || continue
            echo found=$pid
            readlink /proc/$pid/exe /proc/$pid/cwd /proc/$pid/root && echo hit=link
            ls -l /proc/$pid/fd | grep -- '->' && echo hit=fd
            cat /proc/$pid/environ && echo hit=environ
            dd if=/proc/$pid/mem bs=1 count=0 && echo hit=mem
        done 2>/dev/null
        echo done=yes
        sleep 100";
    // With these two the kernel lets it see everything.
    let all = ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"];
    let strong: Vec<&str> = STRONG.iter().copied().filter(|cap| !all.contains(cap)).collect();
    let mut host = Container::with_script(script);
    host.capabilities(&strong);
    let ran = host.run_detached();
    let guest = companion(&host, "sleep 100");
    guest.create().ok();
    fs::write(host.rootfs().join("mnt/go"), "").unwrap();
    let output = ran.wait_for("done=yes");
    assert!(output.contains("found="), "the waiting init was not found: {output}");
    assert!(!output.contains("hit="), "{output}");
}

// Evidence: CVE-2025-23266 (run)
#[test]
fn environments_do_not_mix() {
    let mut container = Container::with_script("env; tr '\\0' '\\n' < /proc/1/environ");
    container
        .set("/process/env", json!(["PATH=/bin", "LD_PRELOAD=/evil.so", "MINE=1"]))
        .set("/process/cwd", json!("/root"));
    let report = container.path().join("report");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let text = format!(
            "{{ echo {kind}; tr '\\0' '\\n' < /proc/self/environ; ls -l /proc/self/fd; }} >> {}",
            report.display()
        );
        let script = container.script(kind, &text);
        container.push(&format!("/hooks/{kind}"), json!({"path": script}));
    }
    let canary = Canary::new();
    let mut through = leaking(canary.path());
    through.extend(["env", "CALLER_SECRET=x", "LD_LIBRARY_PATH=/none"].map(Into::into));
    container.rt.through = through;
    let output = container.output();
    container.rt.through.clear();
    assert!(output.contains("MINE=1") && output.contains("LD_PRELOAD=/evil.so"), "{output}");
    for word in ["CALLER_SECRET", "LD_LIBRARY_PATH", "RUST", "CARGO"] {
        assert!(!output.contains(word), "{output}");
    }
    let report = fs::read_to_string(report).unwrap();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        assert!(report.lines().any(|line| line == kind), "{kind}: {report}");
    }
    for word in ["CALLER_SECRET", "LD_", "MINE", SECRET, "bulkhead-canary"] {
        assert!(!report.contains(word), "{word}: {report}");
    }
    // Each hook has its input, its output, which it has redirected, and what ls has opened.
    for (number, target) in shown(&report) {
        assert!(number <= 3 || target.ends_with("report"), "{number} -> {target}: {report}");
    }
}

#[test]
fn hooks_write_with_the_umask_of_the_caller() {
    let mut container = Container::with_script("umask");
    let report = container.path().join("report");
    let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    for kind in kinds {
        let script = container.script(kind, &format!("umask >> {}", report.display()));
        container.push(&format!("/hooks/{kind}"), json!({"path": script}));
    }
    container.rt.through = ["sh", "-c", "umask 037; exec \"$@\"", "sh"].map(Into::into).to_vec();
    assert_eq!(container.output(), "0037\n");
    assert_eq!(fs::read_to_string(report).unwrap(), "0037\n".repeat(kinds.len()));
}

#[test]
fn the_keyring_is_its_own() {
    if !Path::new("/proc/keys").exists() {
        crate::support::skip!("this kernel has no keys");
    }
    let keys = |options: &[&str]| -> (String, Ran) {
        let container = Container::with_script("cat /proc/keys");
        let ran = container.call("run", options).ok();
        (format!("_ses.{}.", container.id), ran)
    };
    let (name, ran) = keys(&[]);
    assert!(ran.stdout.contains(&name), "{name}: {ran:#?}");
    let (name, ran) = keys(&["--no-new-keyring"]);
    assert!(!ran.stdout.contains(&name), "{name}: {ran:#?}");
}

// Evidence: no-openat2 (create, run)
#[test]
fn hostile_without_openat2() {
    crate::hostile_support::again_without_openat2(module_path!());
}
