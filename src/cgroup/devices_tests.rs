use super::*;

pub(in crate::cgroup) fn ruleset(json: &str) -> Result<Ruleset> {
    Ruleset::new(&serde_json::from_str::<Vec<_>>(json).unwrap(), &[])
}

fn with_devices(listed: &str, devices: &str) -> Ruleset {
    let listed: Vec<LinuxDeviceCgroup> = serde_json::from_str(listed).unwrap();
    let devices: Vec<LinuxDevice> = serde_json::from_str(devices).unwrap();
    Ruleset::new(&listed, &devices).unwrap()
}

/// The meaning of a rule list, said as plainly as possible: what the other forms are held to.
pub(in crate::cgroup) fn allows(
    rules: &Ruleset,
    kind: DeviceKind,
    major: u32,
    minor: u32,
    access: u8,
) -> bool {
    let asked = Devices { kind: Some(kind), major: Some(major), minor: Some(minor) };
    [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
        let last = rules
            .rules()
            .iter()
            .rfind(|rule| asked.within(rule.devices) && rule.access.bits() & bit != 0);
        last.is_some_and(|rule| rule.allow)
    })
}

fn access(rules: &Ruleset, kind: DeviceKind, major: u32, minor: u32) -> String {
    [(2, 'r'), (4, 'w'), (1, 'm')]
        .into_iter()
        .filter(|(bit, _)| allows(rules, kind, major, minor, *bit))
        .map(|(_, letter)| letter)
        .collect()
}

const DENY_ALL: &str = r#"[{"allow":false,"access":"rwm"}]"#;

#[test]
fn defaults_only() {
    use DeviceKind::{Block, Char};
    for json in ["[]", DENY_ALL] {
        let rules = ruleset(json).unwrap();
        for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 77)] {
            assert_eq!(access(&rules, Char, major, minor), "rwm", "{major}:{minor}");
        }
        // Nodes may be made, but not opened: kmsg, mem, console, a disk.
        for (major, minor) in [(1, 11), (1, 1), (5, 1), (10, 229)] {
            assert_eq!(access(&rules, Char, major, minor), "m", "{major}:{minor}");
        }
        assert_eq!(access(&rules, Block, 8, 0), "m");
        assert_eq!(access(&rules, Block, 1, 3), "m");
    }
    assert_eq!(ruleset(DENY_ALL).unwrap(), ruleset("[]").unwrap());
}

#[test]
fn a_listed_node_is_allowed_unless_the_list_says_otherwise() {
    let node = r#"[{"path":"/dev/fuse","type":"c","major":10,"minor":229},
        {"path":"/dev/fifo","type":"p"},{"path":"/dev/u","type":"u","major":9,"minor":9}]"#;
    let fuse = |listed| access(&with_devices(listed, node), DeviceKind::Char, 10, 229);
    assert_eq!(fuse("[]"), "rwm");
    assert_eq!(access(&with_devices("[]", node), DeviceKind::Char, 9, 9), "rwm");
    assert_eq!(fuse(DENY_ALL), "m");
    let read_only = r#"[{"allow":true,"type":"c","major":10,"minor":229,"access":"r"}]"#;
    assert_eq!(fuse(read_only), "rm");
    let bad: Vec<LinuxDevice> =
        serde_json::from_str(r#"[{"path":"/a","type":"c","major":-1,"minor":0}]"#).unwrap();
    assert!(Ruleset::new(&[], &bad).is_err());
}

#[test]
fn order_decides() {
    let rules = ruleset(
        r#"[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":10,"access":"rwm"},
            {"allow":false,"type":"c","major":10,"minor":200,"access":"w"},
            {"allow":true,"type":"b","major":8,"minor":0,"access":"r"}]"#,
    )
    .unwrap();
    assert_eq!(access(&rules, DeviceKind::Char, 10, 199), "rwm");
    assert_eq!(access(&rules, DeviceKind::Char, 10, 200), "rm");
    assert_eq!(access(&rules, DeviceKind::Block, 8, 0), "rm");
    assert_eq!(access(&rules, DeviceKind::Block, 8, 1), "m");
}

#[test]
fn a_type_of_all_keeps_its_numbers() {
    // v1 would take "a" to mean every device.
    let rules = ruleset(r#"[{"allow":true,"major":10,"minor":229,"access":"r"}]"#).unwrap();
    assert_eq!(access(&rules, DeviceKind::Char, 10, 229), "rm");
    assert_eq!(access(&rules, DeviceKind::Block, 10, 229), "rm");
    assert_eq!(access(&rules, DeviceKind::Char, 10, 228), "m");
    let writes = rules.v1().unwrap();
    assert!(writes.contains(&("devices.allow", "c 10:229 r".to_owned())));
    assert!(writes.contains(&("devices.allow", "b 10:229 r".to_owned())));
    assert_eq!(writes.iter().filter(|(_, line)| line.starts_with('a')).count(), 1);
}

#[test]
fn without_access_it_is_all_of_them() {
    let short = ruleset(r#"[{"allow":false},{"allow":true,"type":"c","major":10}]"#).unwrap();
    let long = r#"[{"allow":false,"access":"rwm"},
                   {"allow":true,"type":"c","major":10,"access":"rwm"}]"#;
    assert_eq!(short, ruleset(long).unwrap());
}

#[test]
fn bad_entries() {
    for (json, message) in [
        (r#"[{"allow":true,"type":"p","access":"r"}]"#, "type must be a, b or c"),
        (r#"[{"allow":true,"type":"c","access":""}]"#, "access must be some of"),
        (r#"[{"allow":true,"type":"c","access":"rx"}]"#, "\"rx\": access must be some of"),
        (r#"[{"allow":true,"type":"c","major":-2,"access":"r"}]"#, "-2: is not a device number"),
        (r#"[{"allow":true,"minor":4294967296,"access":"r"}]"#, "4294967296: is not a device"),
    ] {
        let error = ruleset(json).unwrap_err().to_string();
        assert!(error.starts_with("linux.resources.devices: "), "{error}");
        assert!(error.contains(message), "{json}: {error}");
    }
}

#[test]
fn v1_default() {
    let writes = ruleset(DENY_ALL).unwrap().v1().unwrap();
    assert_eq!(writes[0], ("devices.deny", "a".to_owned()));
    let lines: Vec<&str> = writes[1..].iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "c *:* m",
            "b *:* m",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
            "c 136:* rwm"
        ]
    );
    assert!(writes[1..].iter().all(|(file, _)| *file == "devices.allow"));
}

#[test]
fn v1_allow_all_with_exceptions() {
    let all = r#"[{"allow":true,"access":"rwm"}]"#;
    assert_eq!(ruleset(all).unwrap().v1().unwrap(), [("devices.allow", "a".to_owned())]);
    let but = r#"[{"allow":true,"access":"rwm"},
        {"allow":false,"type":"b","major":8,"access":"w"},
        {"allow":false,"type":"b","major":8,"access":"r"}]"#;
    assert_eq!(
        ruleset(but).unwrap().v1().unwrap(),
        [("devices.allow", "a".to_owned()), ("devices.deny", "b 8:* rw".to_owned())]
    );
}

#[test]
fn v1_ends_what_is_inside_of_a_later_rule() {
    let rules = ruleset(
        r#"[{"allow":true,"type":"c","major":10,"minor":200,"access":"rw"},
            {"allow":true,"type":"c","major":11,"minor":1,"access":"rw"},
            {"allow":false,"type":"c","major":10,"access":"w"}]"#,
    )
    .unwrap();
    let writes = rules.v1().unwrap();
    assert!(writes.contains(&("devices.allow", "c 10:200 r".to_owned())));
    assert!(writes.contains(&("devices.allow", "c 11:1 rw".to_owned())));
}

#[test]
fn v1_refuses_holes() {
    for json in [
        r#"[{"allow":true,"type":"c","major":10,"access":"rwm"},
            {"allow":false,"type":"c","major":10,"minor":200,"access":"w"}]"#,
        // Neither is inside of the other.
        r#"[{"allow":true,"type":"c","major":10,"access":"rwm"},
            {"allow":false,"type":"c","minor":200,"access":"w"}]"#,
        // A default device.
        r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"access":"rwm"}]"#,
    ] {
        let error = ruleset(json).unwrap().v1().unwrap_err().to_string();
        assert!(error.contains("cgroup v1 cannot make an exception"), "{json}: {error}");
    }
    // Not a hole: nothing of it was allowed.
    let json = r#"[{"allow":true,"type":"c","major":10,"access":"r"},
        {"allow":false,"type":"c","major":10,"minor":200,"access":"w"}]"#;
    ruleset(json).unwrap().v1().unwrap();
}
