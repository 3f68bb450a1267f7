//! What a container can do to an `exec` on its way in: CVE-2016-9962, CVE-2019-5736,
//! CVE-2024-21626.

use std::fs;
use std::path::Path;

use crate::support::*;

/// Tries everything on each process that comes into sight, until told to stop. A strange process
/// is one that was not there at first.
const ATTACK: &str = "
    own=' '
    for p in /proc/[0-9]*; do own=\"$own$p \"; done
    echo ready
    while [ ! -e /mnt/stop ]; do
        for p in /proc/[0-9]*; do
            case $own in *\" $p \"*) continue ;; esac
            grep -q 'bulkhead.init' $p/cmdline 2>/dev/null || continue
            [ -e $p/fd/0 ] && echo hit=fd
            for f in $p/fd/*; do readlink $f >/dev/null && echo hit=$f; done
            readlink $p/exe >/dev/null && echo hit=exe
            readlink $p/root >/dev/null && echo hit=root
            cat $p/environ 2>/dev/null | grep -q . && echo hit=environ
            (: >>$p/exe) 2>/dev/null && echo hit=write
            (: >>$p/mem) 2>/dev/null && echo hit=mem
            echo seen
        done 2>/dev/null
    done
    echo end";

/// exec, held for a while at the call that it makes once it is inside.
fn held(c: &mut Container) {
    c.rt.through = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=setsid",
        "-e",
        "inject=setsid:delay_enter=1500000",
    ]
    .map(Into::into)
    .to_vec();
}

fn attacked(mut c: Container) -> String {
    c.sh(ATTACK);
    let ran = c.run_detached();
    ran.wait_for("ready");
    held(&mut c);
    // It never becomes a program of the container, which that may look at: the kernel does not find
    // the interpreter.
    let script = c.rootfs().join("no-sleeper");
    fs::write(&script, "#!/no-interpreter\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    c.exec(&[], &["/no-sleeper"]).not_started(&["no such file"]);
    c.rt.through.clear();
    fs::write(c.rootfs().join("mnt/stop"), "").unwrap();
    ran.wait_for("end")
}

#[test]
fn what_exec_holds_is_out_of_reach() {
    if !Path::new("/usr/bin/strace").exists() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing");
        skip!("needs strace");
    }
    let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_SETUID"];
    // Root of a user namespace has every right over what is in it, but for what is hidden.
    let mut c = Container::new();
    c.map_users(100_000, 1000).capabilities(&all);
    let said = attacked(c);
    assert!(said.contains("seen") && !said.contains("hit="), "{said}");
    // Without one it has the right only over what has no more capabilities than itself.
    let mut c = Container::new();
    c.capabilities(&["CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID"]);
    let said = attacked(c);
    assert!(said.contains("seen") && !said.contains("hit="), "{said}");
}

#[test]
fn programs_that_are_the_runtime_itself_leave_it_alone() {
    let mut c = Container::new();
    c.args(&["sleep", "600"]).capabilities(&["CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_FOWNER"]);
    c.run_detached();
    let before = fs::read(&c.rt.binary).unwrap();
    let script = c.rootfs().join("bin/hash-bang");
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for program in ["/proc/self/exe", "/bin/hash-bang"] {
        // Whatever it comes to, it must end, and write nothing.
        c.exec(&[], &[program]);
        c.exec(&[], &["sh", "-c", &format!("{program} & sleep 0.1; : >>/proc/$!/exe; true")]);
    }
    assert!(fs::read(&c.rt.binary).unwrap() == before);
}

#[test]
fn open_directories_of_the_caller_are_no_working_directory() {
    let mut c = Container::new();
    c.args(&["sleep", "600"]);
    c.run_detached();
    let dir = c.path().join("private");
    fs::create_dir(&dir).unwrap();
    let open =
        format!("for n in $(seq 3 40); do eval \"exec $n<'{}'\"; done; exec \"$@\"", dir.display());
    c.rt.through = ["bash", "-c", &open, "bash"].map(Into::into).to_vec();
    for number in 3..40 {
        let cwd = format!("/proc/self/fd/{number}");
        c.exec(&["--cwd", &cwd], &["pwd"]).not_started(&["process.cwd"]);
        // Handed on as asked, it is still no way out for the working directory.
        c.exec(&["--preserve-fds", "38", "--cwd", &cwd], &["pwd"]).not_started(&["process.cwd"]);
    }
    c.rt.through.clear();
}

#[test]
fn a_runtime_in_a_chroot_keeps_its_containers_in() {
    let mut c = Container::new();
    c.args(&["sleep", "600"]);
    fs::write(c.rootfs().join("marker"), "inside").unwrap();
    let place = c.path().join("chroot");
    fs::create_dir(&place).unwrap();
    let words = format!("mount --rbind / {0}; exec chroot {0} \"$@\"", place.display());
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .map(Into::into)
        .to_vec();
    c.run_detached();
    assert_eq!(c.exec(&[], &["cat", "/marker"]).ok().stdout, "inside");
    assert_eq!(c.exec(&[], &["ls", "-d", "/../marker"]).ok().stdout, "/../marker\n");
}
