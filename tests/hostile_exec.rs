//! What a container can do to an `exec` on its way in: CVE-2016-9962, CVE-2019-5736,
//! CVE-2024-21626.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::hostile_support::*;
use crate::support::*;

/// Tries everything on each process that comes into sight after the first ones and calls itself
/// `bulkhead init`, until told to stop. The memory of a process that is just ending can be opened on
/// kernels before 6.16, and is empty; that of any other process has no page at address 0, so that
/// reading it fails.
const ATTACK: &str = "
    own=' '
    for p in /proc/[0-9]*; do own=\"$own$p \"; done
    echo ready
    while [ ! -e /mnt/stop ]; do
        for p in /proc/[0-9]*; do
            case $own in *\" $p \"*) continue ;; esac
            grep -q 'bulkhead.init' $p/cmdline 2>/dev/null || continue
            [ -e $p/fd/0 ] && echo hit=fd
            for f in $p/fd/*; do readlink $f >/dev/null && echo hit=fd/${f##*/}; done
            readlink $p/exe >/dev/null && echo hit=exe
            readlink $p/root >/dev/null && echo hit=root
            cat $p/environ 2>/dev/null | grep -q . && echo hit=environ
            (exec 4<>$p/mem && ! cat <&4) >/dev/null 2>&1 && echo hit=mem
            echo seen
        done 2>/dev/null
    done
    echo end";

/// Delays exec at a system call that it makes in the container.
fn delay(c: &mut Container) {
    let delay = format!("inject=setsid:delay_enter={}", (*PATIENCE / 20).as_micros());
    c.rt.through = ["strace", "-f", "-o", "/dev/null", "-e", "trace=setsid", "-e", &delay]
        .map(Into::into)
        .to_vec();
}

/// Fails the test if the attack finds anything in an exec, or does not find everything in a process
/// of the same name, user and capabilities that nothing protects.
#[track_caller]
fn assert_out_of_reach(mut c: Container) {
    c.sh(ATTACK);
    let ran = c.run_detached();
    ran.wait_for("ready");
    delay(&mut c);
    // The interpreter is missing, so that the process never becomes a program of the container,
    // which the attack may look at.
    let script = c.rootfs().join("script");
    fs::write(&script, "#!/no-interpreter\n").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    c.exec(&[], &["/script"]).not_started(&["no such file"]);
    c.rt.through.clear();
    let found = ran.later();
    assert!(found.contains("seen") && !found.contains("hit="), "{found}");

    let unprotected = "exec 3</etc; while [ ! -e /mnt/stop ]; do sleep 0.05; done";
    c.exec(&["--detach"], &["/bin/sh", "-c", unprotected, "bulkhead init"]).ok();
    for hit in ["fd", "fd/3", "exe", "root", "environ", "mem"] {
        ran.wait_for(&format!("hit={hit}\n"));
    }
    fs::write(c.rootfs().join("mnt/stop"), "").unwrap();
    ran.wait_for("end");
}

// Evidence: CVE-2016-9962 (exec)
#[test]
fn what_exec_holds_is_out_of_reach() {
    if !Path::new("/usr/bin/strace").exists() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing");
        skip!("needs strace");
    }
    let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_SETUID"];
    // Root of a user namespace has every right over the processes in it that are dumpable.
    let mut c = Container::new();
    c.map_users(100_000, 1000).capabilities(&all);
    assert_out_of_reach(c);
    // Without CAP_SYS_PTRACE it has rights only over processes with no more capabilities than its
    // own.
    let mut c = Container::new();
    c.capabilities(&["CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID"]);
    assert_out_of_reach(c);
}

// Evidence: CVE-2019-5736 (exec); fails without the read-only mount of the runtime's executable
#[test]
fn programs_that_are_the_runtime_itself_leave_it_alone() {
    let mut c = Container::with_script(PROGRAM_WRITER);
    c.capabilities(WRITER_CAPABILITIES);
    let (runtime, programs) = programs_of_the_runtime(&mut c);
    let writer = c.run_detached();
    writer.wait_for("ready");
    let before = fs::read(&runtime).unwrap();
    for (program, expected) in programs {
        let command = c.rt.command(&["exec", &c.id, program, "features"]);
        assert_eq!(can_write_to_program(&writer, command), expected, "{program}");
        assert!(fs::read(&runtime).unwrap() == before, "{program} changed the runtime's binary");
    }
}

// Evidence: CVE-2024-21626 (exec)
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
