//! Who the container's process is: capabilities, groups, ids, and nothing more than was asked for.
//! CVE-2022-2989, CVE-2022-2990, CVE-2022-24769, CVE-2022-29162, CVE-2022-36109, CVE-2025-27612.

use std::process::{Command, Stdio};

use crate::hostile_support::{Killed, one_line};
use crate::support::{Container, Value, json, wait_for};

/// The bit of a capability.
const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;

/// The values of the fields of /proc/self/status that the tests are about.
fn status(container: &Container) -> impl Fn(&str) -> String + use<> {
    let text = container.output();
    move |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
    }
}

fn bits(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

fn shows_status() -> Container {
    let mut container = Container::new();
    container.args(&["/bin/cat", "/proc/self/status"]);
    container
}

/// Words for `through`: a caller with capabilities in every set, and with groups.
fn rich_caller() -> Vec<std::ffi::OsString> {
    [
        "setpriv",
        "--groups=4,20,24",
        "--inh-caps=+chown,+kill,+setuid",
        "--ambient-caps=+chown,+kill",
        "--",
    ]
    .map(Into::into)
    .to_vec()
}

// Evidence: CVE-2022-24769 (run); fails without the empty inheritable set
#[test]
fn inheritable_and_ambient_are_empty_unless_asked_for() {
    for (uid, rich) in [(0, false), (0, true), (1000, false), (1000, true)] {
        let mut container = shows_status();
        let sets = json!(["CAP_CHOWN", "CAP_KILL"]);
        container.set("/process/user", json!({"uid": uid, "gid": uid})).set(
            "/process/capabilities",
            json!({"bounding": sets, "effective": sets, "permitted": sets}),
        );
        if rich {
            container.rt.through = rich_caller();
        }
        let field = status(&container);
        container.rt.through.clear();
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(bits(&field(set)), 0, "{set} of uid {uid}");
        }
        let expected = if uid == 0 { CHOWN | KILL } else { 0 };
        for set in ["CapPrm", "CapEff"] {
            assert_eq!(bits(&field(set)), expected, "{set} of uid {uid}");
        }
        assert_eq!(bits(&field("CapBnd")), CHOWN | KILL);
    }
}

// Evidence: CVE-2022-24769 (run)
#[test]
fn every_set_is_exactly_what_was_asked_for() {
    let all = json!(["CAP_CHOWN", "CAP_KILL"]);
    let one = json!(["CAP_KILL"]);
    let mut container = shows_status();
    container.rt.through = rich_caller();
    container.set("/process/user", json!({"uid": 1000, "gid": 1000})).set(
        "/process/capabilities",
        json!({"bounding": all, "permitted": all, "effective": all, "inheritable": all,
               "ambient": one}),
    );
    let field = status(&container);
    container.rt.through.clear();
    assert_eq!(bits(&field("CapBnd")), CHOWN | KILL);
    assert_eq!(bits(&field("CapInh")), CHOWN | KILL);
    // execve(2) by a user leaves what is ambient.
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(bits(&field(set)), KILL, "{set}");
    }
}

#[test]
fn no_capabilities_means_none() {
    for capabilities in [None, Some(json!({})), Some(json!({"bounding": []}))] {
        for rich in [false, true] {
            let mut container = shows_status();
            match &capabilities {
                None => container.remove("/process/capabilities"),
                Some(object) => container.set("/process/capabilities", object.clone()),
            };
            if rich {
                container.rt.through = rich_caller();
            }
            let field = status(&container);
            container.rt.through.clear();
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(bits(&field(set)), 0, "{set} with {capabilities:?}");
            }
        }
    }
}

// Proves: process.capabilities:missing
#[test]
fn capabilities_that_cannot_be_had_are_left_out_with_a_warning() {
    // config.md, "Linux Process": a warning, and no failure.
    for (sets, word) in [
        (
            json!({"bounding": ["CAP_KILL", "CAP_NO_SUCH"], "permitted": ["CAP_KILL"]}),
            "CAP_NO_SUCH",
        ),
        (json!({"bounding": ["CAP_KILL"], "ambient": ["CAP_KILL"]}), "CAP_KILL"),
        (json!({"effective": ["CAP_CHOWN"]}), "CAP_CHOWN"),
    ] {
        let mut container = shows_status();
        container.set("/process/capabilities", sets);
        let ran = container.run().ok();
        assert!(ran.stderr.contains("warning") && ran.stderr.contains(word), "{ran:#?}");
        assert!(ran.stdout.contains("CapAmb:\t0000000000000000\n"), "{ran:#?}");
    }
}

// Evidence: CVE-2022-2989, CVE-2022-2990, CVE-2022-36109, caller-groups (run); fails without the dropping
// of the caller's groups
#[test]
fn the_groups_are_exactly_those_asked_for() {
    for (user, groups) in [
        (json!({"uid": 0, "gid": 0}), ""),
        (json!({"uid": 1000, "gid": 1000}), ""),
        (json!({"uid": 1000, "gid": 1000, "additionalGids": []}), ""),
        (json!({"uid": 1000, "gid": 1000, "additionalGids": [1000]}), "1000"),
        (json!({"uid": 1000, "gid": 1000, "additionalGids": [5, 6]}), "5 6"),
        (json!({"uid": 0, "gid": 7, "additionalGids": [4294967294_u32]}), "4294967294"),
    ] {
        for userns in [false, true] {
            let mut container = shows_status();
            container.rt.through = rich_caller();
            container.set("/process/user", user.clone());
            if userns {
                if groups.len() > 5 {
                    continue;
                }
                container.map_users(100_000, 65_536);
                std::os::unix::fs::chown(container.rootfs(), Some(100_000), Some(100_000)).unwrap();
            }
            let field = status(&container);
            container.rt.through.clear();
            assert_eq!(field("Groups"), groups, "{user} {userns}");
            let id = |name: &str| user[name].to_string();
            assert_eq!(field("Uid"), [id("uid"), id("uid"), id("uid"), id("uid")].join("\t"));
            assert_eq!(field("Gid"), [id("gid"), id("gid"), id("gid"), id("gid")].join("\t"));
        }
    }
}

// Evidence: caller-groups (run); fails without the dropping of the caller's groups
#[test]
fn a_joined_user_namespace_without_setgroups_keeps_no_group_of_the_host() {
    // unshare -r: it maps one id, and denies setgroups(2) for good.
    let sleeper = Command::new("unshare")
        .args(["--user", "--map-root-user", "sleep", "100"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let sleeper = Killed(sleeper);
    let pid = sleeper.0.id();
    wait_for("the mapping", || {
        let denied = std::fs::read_to_string(format!("/proc/{pid}/setgroups")).ok()?;
        let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?;
        (denied.trim() == "deny" && !map.is_empty()).then_some(())
    });
    let mut container = shows_status();
    container.rt.through = rich_caller();
    container.namespace(json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
    let field = status(&container);
    container.rt.through.clear();
    assert_eq!(field("Groups"), "");
    assert_eq!(field("Uid"), "0\t0\t0\t0");
}

#[test]
fn no_other_way_to_privileges() {
    let mut container = Container::with_script("grep NoNewPrivs /proc/self/status; id -u");
    container.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let output = container.output();
    assert!(output.starts_with("NoNewPrivs:\t1\n1000\n"), "{output}");
    // The bits that keep capabilities over a change of user do not stay.
    let mut container = shows_status();
    container.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    container.set("/process/noNewPrivileges", json!(false));
    assert_eq!(bits(&status(&container)("CapPrm")), 0);
}

#[test]
fn ids_that_are_none_are_refused() {
    let bad = ["4294967295", "4294967296", "-1", "1.5", "\"0\"", "1e3", "18446744073709551616"];
    for field in ["uid", "gid", "additionalGids"] {
        for value in bad {
            let container = Container::new();
            let list = field == "additionalGids";
            let text = if list { format!("[1,{value}]") } else { value.to_owned() };
            refused_text(&container, &format!("/process/user/{field}"), &text, field);
        }
    }
    // The last one there is.
    let mut container = shows_status();
    container.set("/process/user", json!({"uid": 4294967294_u32, "gid": 4294967294_u32}));
    assert!(status(&container)("Uid").starts_with("4294967294\t"));
}

#[test]
fn ids_that_are_not_mapped_are_refused() {
    for (field, value) in
        [("uid", json!(65_536)), ("gid", json!(65_536)), ("additionalGids", json!([0, 70_000]))]
    {
        let mut container = Container::new();
        container.map_users(100_000, 65_536).set(&format!("/process/user/{field}"), value);
        one_line(&container.run(), &["process.user", field, "not mapped"]);
    }
}

/// Has the configuration with the raw `text` as the value at a pointer refused, by name.
#[track_caller]
fn refused_text(container: &Container, pointer: &str, text: &str, field: &str) {
    const PLACE: &str = "@place@";
    let mut config = container.config.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[key] = Value::from(PLACE);
    let json = serde_json::to_string(&config).unwrap().replace(&format!("\"{PLACE}\""), text);
    container.file("config.json", &json);
    let words = ["run", "--bundle", container.path().to_str().unwrap(), &container.id];
    one_line(&container.rt.call(&words), &["process.user", field]);
    container.assert_gone();
}

// Evidence: CVE-2022-27650, CVE-2022-29162, CVE-2025-27612, caller-groups (exec)
#[test]
fn an_exec_has_no_inheritable_capability_and_no_group_of_the_caller() {
    let mut container = Container::new();
    let sets = json!(["CAP_CHOWN"]);
    container.args(&["/bin/sleep", "600"]).set(
        "/process/capabilities",
        json!({"bounding": sets, "effective": sets, "permitted": sets}),
    );
    container.run_detached();
    for (options, effective) in [
        (&[][..], CHOWN),
        (&["--cap", "CAP_KILL"], CHOWN | KILL),
        (&["--user", "1000"], 0),
        (&["--cap", "CAP_KILL", "--user", "1000:1000"], 0),
    ] {
        container.rt.through = rich_caller();
        let text = container.exec(options, &["/bin/cat", "/proc/self/status"]).ok().stdout;
        container.rt.through.clear();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().trim().to_owned()
        };
        for (set, expected) in [("CapInh", 0), ("CapAmb", 0), ("CapEff", effective)] {
            assert_eq!(bits(&field(set)), expected, "{set} with {options:?}");
        }
        assert_eq!(field("Groups"), "", "{options:?}");
    }
}

// Evidence: CVE-2026-30892, user-forms (exec)
#[test]
fn users_of_an_exec_that_are_none_are_refused() {
    let mut container = Container::new();
    container.args(&["/bin/sleep", "600"]);
    container.run_detached();
    for user in ["-1", "4294967295", "4294967296", "1x", ":1", "1:", "1:-1", "root", " 1", ""] {
        let ran = container.exec(&[&format!("--user={user}")], &["/bin/id", "-u"]);
        if user.is_empty() {
            // As without the option.
            assert_eq!(ran.ok().stdout, "0\n");
        } else {
            ran.not_started(&[user]);
        }
    }
    for (user, ids) in [("1", "1:0"), ("1:2", "1:2")] {
        let words = ["/bin/sh", "-c", "echo $(id -u):$(id -g)"];
        let ran = container.exec(&[&format!("--user={user}")], &words).ok();
        assert_eq!(ran.stdout, format!("{ids}\n"));
    }
}
