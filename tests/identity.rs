//! Who the process is and what it may do: ids, groups, umask, capabilities, no_new_privs, the
//! out-of-memory score. Each is read from the kernel, not from the program.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::*;

const SETS: [&str; 5] = ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"];
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const AUDIT_WRITE: u64 = 1 << 29;

fn sets(process: Proc) -> [u64; 5] {
    SETS.map(|set| process.mask(set))
}

fn waiting() -> Container {
    Container::with_script("exec sleep 600")
}

/// The program has been executed: before that, the kernel's word is about the runtime's init.
fn executed(c: &Container) -> Proc {
    let process = c.process();
    wait_until("execve", || process.runs("sleep"));
    process
}

// Proves: process.user.{uid, gid, additionalGids}
#[test]
fn uid_gid_and_groups_are_exact() {
    let mut c = waiting();
    c.set("/process/user", json!({"uid": 1234, "gid": 4321, "additionalGids": [7, 100, 99999]}));
    c.run_detached();
    let process = executed(&c);
    assert_eq!(process.status("Uid"), "1234\t1234\t1234\t1234");
    assert_eq!(process.status("Gid"), "4321\t4321\t4321\t4321");
    assert_eq!(process.status("Groups"), "7 100 99999");
}

#[test]
fn the_callers_groups_do_not_stay() {
    let mut c = waiting();
    c.rt.through = ["setpriv", "--groups", "10,20,30"].iter().map(Into::into).collect();
    c.run_detached();
    assert_eq!(executed(&c).status("Groups"), "");
    c.rt.through.clear();
}

// Proves: process.user.{umask, umask:unset}
#[test]
fn umask_as_asked_or_the_callers() {
    for (asked, caller, expected) in
        [(Some(0o027), "0", "0027"), (None, "0035", "0035"), (Some(0), "0077", "0000")]
    {
        let mut c = waiting();
        if let Some(mask) = asked {
            c.set("/process/user/umask", json!(mask));
        }
        c.rt.through =
            ["sh", "-c", "umask \"$0\"; exec \"$@\"", caller].iter().map(Into::into).collect();
        c.run_detached();
        c.rt.through.clear();
        assert_eq!(executed(&c).status("Umask"), expected, "asked {asked:?}, caller {caller}");
    }
}

#[test]
fn capabilities_of_root_are_exact() {
    let mut c = waiting();
    c.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
            "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
            "effective": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
            "inheritable": [], "ambient": []
        }),
    );
    c.run_detached();
    let all = KILL | NET_BIND_SERVICE | AUDIT_WRITE;
    assert_eq!(sets(executed(&c)), [all, all, all, 0, 0]);
}

// Proves: process.capabilities.{effective, bounding, inheritable, permitted, ambient}
#[test]
fn the_five_sets_are_told_apart() {
    let mut c = waiting();
    c.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    c.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"],
            "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "effective": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "ambient": ["CAP_KILL"]
        }),
    );
    c.run_detached();
    // One who is not root keeps over execve what is ambient; the others show in their sets.
    let bounding = KILL | NET_BIND_SERVICE | AUDIT_WRITE;
    assert_eq!(sets(executed(&c)), [bounding, KILL, KILL, KILL | NET_BIND_SERVICE, KILL]);
}

#[test]
fn another_user_without_ambient_has_none() {
    let mut c = waiting();
    c.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    c.run_detached();
    let [bounding, effective, permitted, inheritable, ambient] = sets(executed(&c));
    assert_ne!(bounding, 0);
    assert_eq!([effective, permitted, inheritable, ambient], [0; 4]);
}

#[test]
fn no_capabilities_means_none() {
    let mut c = waiting();
    c.capabilities(&[]);
    c.run_detached();
    assert_eq!(sets(executed(&c)), [0; 5]);

    let mut c = waiting();
    c.remove("/process/capabilities");
    c.run_detached();
    assert_eq!(sets(executed(&c)), [0; 5], "capabilities left out");
}

// Proves: process.capabilities.{effective, bounding, inheritable, permitted, ambient}
#[test]
fn every_capability_of_the_caller_can_be_asked_for() {
    let own = Proc::new(std::process::id().try_into().unwrap()).mask("CapBnd");
    let mut c = waiting();
    let names: Vec<String> = caps::all()
        .into_iter()
        .filter(|cap| own & cap.bitmask() != 0)
        .map(|cap| cap.to_string())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    c.capabilities(&names);
    c.run_detached();
    let known = caps::all().into_iter().fold(0, |mask, cap| mask | cap.bitmask());
    assert_eq!(sets(executed(&c)), [own & known; 5]);
}

#[test]
fn an_unknown_capability_is_a_warning() {
    let mut c = waiting();
    for set in ["bounding", "permitted", "effective"] {
        c.set(&format!("/process/capabilities/{set}"), json!(["CAP_KILL", "CAP_TO_FLY"]));
    }
    c.run_detached();
    assert_eq!(sets(executed(&c)), [KILL, KILL, KILL, 0, 0]);
}

#[test]
fn a_dropped_capability_is_refused_by_the_kernel() {
    let mut c = Container::with_script("chown 5 /tmp/f; echo without=$?");
    fs::write(c.rootfs().join("tmp/f"), "").unwrap();
    c.capabilities(&["CAP_KILL"]);
    assert_ne!(said(&c.output(), "without"), "0");
    let mut c = Container::with_script("chown 5 /tmp/f; echo with=$?");
    fs::write(c.rootfs().join("tmp/f"), "").unwrap();
    c.capabilities(&["CAP_CHOWN"]);
    assert_eq!(said(&c.output(), "with"), "0");
}

// Proves: process.noNewPrivileges
#[test]
fn no_new_privs_on_and_off() {
    for (asked, expected) in [(Some(true), "1"), (Some(false), "0"), (None, "0")] {
        let mut c = waiting();
        match asked {
            Some(value) => c.set("/process/noNewPrivileges", json!(value)),
            None => c.remove("/process/noNewPrivileges"),
        };
        c.run_detached();
        assert_eq!(executed(&c).status("NoNewPrivs"), expected, "{asked:?}");
    }
}

// Proves: process.noNewPrivileges
#[test]
fn no_new_privs_stops_a_setuid_program() {
    for on in [true, false] {
        let mut c = Container::new();
        // busybox's su says so if it is not set-uid root.
        let program = c.rootfs().join("bin/busybox-suid");
        crate::support::copy_program(c.rootfs().join("bin/busybox"), &program);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        c.args(&["/bin/busybox-suid", "su", "-c", "true"]);
        c.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        c.set("/process/noNewPrivileges", json!(on));
        let ran = c.run();
        assert_eq!(ran.stderr.contains("must be suid"), on, "{ran:#?}");
    }
}

// Proves: process.oomScoreAdj
#[test]
fn oom_score_adj_is_raised() {
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    if own == 1000 {
        skip!("the caller's own value is the highest there is");
    }
    let mut c = waiting();
    c.set("/process/oomScoreAdj", json!(own + 1));
    c.run_detached();
    assert_eq!(executed(&c).read("oom_score_adj").trim(), (own + 1).to_string());
}

// Proves: process.oomScoreAdj:unset
#[test]
fn oom_score_adj_is_left_alone_unless_asked_for() {
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let c = waiting();
    c.run_detached();
    assert_eq!(executed(&c).read("oom_score_adj"), own);
}

#[test]
fn ids_hold_before_the_program_can_look() {
    let mut c = Container::with_script("id -u; id -g; id -G");
    c.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5]}));
    assert_eq!(c.output(), "1000\n1000\n1000 5\n");
}

#[test]
fn no_signal_is_blocked_or_ignored_because_it_is_so_in_the_caller() {
    for verb in ["run", "create"] {
        let mut c = Container::new();
        c.args(&["/bin/sleep", "600"]);
        c.rt.through = ["env", "--ignore-signal=HUP,INT,QUIT,PIPE", "--block-signal=USR1,TERM"]
            .iter()
            .map(Into::into)
            .collect();
        match verb {
            "run" => drop(c.run_detached()),
            _ => drop((c.create().ok(), c.start().ok())),
        }
        c.rt.through.clear();
        let process = executed(&c);
        assert_eq!((process.mask("SigBlk"), process.mask("SigIgn")), (0, 0), "{verb}");
    }
}
