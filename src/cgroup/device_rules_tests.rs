use super::*;

pub(in crate::cgroup) fn ruleset(json: &str) -> Result<Ruleset> {
    Ruleset::new(&serde_json::from_str::<Vec<_>>(json).unwrap(), &[])
}

fn with_devices(listed: &str, devices: &str) -> Ruleset {
    let listed: Vec<LinuxDeviceCgroup> = serde_json::from_str(listed).unwrap();
    let devices: Vec<LinuxDevice> = serde_json::from_str(devices).unwrap();
    Ruleset::new(&listed, &devices).unwrap()
}

/// The reference implementation of a rule list, which the other forms are compared with.
pub(in crate::cgroup) fn allows(
    rules: &Ruleset,
    kind: DeviceKind,
    major: u32,
    minor: u32,
    access: u8,
) -> bool {
    let asked = Devices { kind: Some(kind), major: Some(major), minor: Some(minor) };
    [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
        let last =
            rules.0.iter().rfind(|rule| asked.within(rule.devices) && rule.access.0 & bit != 0);
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

pub(in crate::cgroup) const DENY_ALL: &str = r#"[{"allow":false,"access":"rwm"}]"#;

#[test]
fn defaults_only() {
    use DeviceKind::{Block, Char};
    for json in ["[]", DENY_ALL] {
        let rules = ruleset(json).unwrap();
        for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 77)] {
            assert_eq!(access(&rules, Char, major, minor), "rwm", "{major}:{minor}");
        }
        // Nodes may be created, but not opened: kmsg, mem, console, a disk.
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
    // v1 would read "a" as all devices.
    let rules = ruleset(r#"[{"allow":true,"major":10,"minor":229,"access":"r"}]"#).unwrap();
    assert_eq!(access(&rules, DeviceKind::Char, 10, 229), "rm");
    assert_eq!(access(&rules, DeviceKind::Block, 10, 229), "rm");
    assert_eq!(access(&rules, DeviceKind::Char, 10, 228), "m");
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
    for (more, expected) in [
        (r#""type":"p""#, "type: \"p\": must be a, c or b"),
        (r#""type":"u""#, "type: \"u\": must be a, c or b"),
        (r#""major":-2"#, "major: -2: must be from 0 to 4095"),
        (r#""minor":1048576"#, "minor: 1048576: must be from 0 to 1048575"),
        (r#""type":"c","access":"rwx""#, "access: \"rwx\": must be made of r, w and m"),
        (r#""type":"c","access":"""#, "access: \"\": must be made of r, w and m"),
    ] {
        let json = format!(r#"[{{"allow":false}},{{"allow":true,{more}}}]"#);
        let error = ruleset(&json).unwrap_err().to_string();
        assert_eq!(error, format!("linux.resources.devices[1].{expected}"), "{json}");
    }
    for more in [r#""type":"c","major":-1,"minor":-1,"access":"rwm""#, r#""type":"a","access":"m""#]
    {
        ruleset(&format!(r#"[{{"allow":true,{more}}}]"#)).unwrap();
    }
}
