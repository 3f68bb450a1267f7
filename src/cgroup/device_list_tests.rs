use super::super::device_rules::tests::{DENY_ALL, ruleset};
use super::*;

fn writes(json: &str) -> Vec<(&'static str, String)> {
    DeviceList::new(&ruleset(json).unwrap()).unwrap().writes().collect()
}

#[test]
fn v1_has_no_numbers_for_all_types() {
    // v1 would read "a" as all devices.
    let writes = writes(r#"[{"allow":true,"major":10,"minor":229,"access":"r"}]"#);
    assert!(writes.contains(&("devices.allow", "c 10:229 r".to_owned())));
    assert!(writes.contains(&("devices.allow", "b 10:229 r".to_owned())));
    assert_eq!(writes.iter().filter(|(_, line)| line.starts_with('a')).count(), 1);
}

#[test]
fn v1_default() {
    let writes = writes(DENY_ALL);
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
    assert_eq!(writes(all), [("devices.allow", "a".to_owned())]);
    let but = r#"[{"allow":true,"access":"rwm"},
        {"allow":false,"type":"b","major":8,"access":"w"},
        {"allow":false,"type":"b","major":8,"access":"r"}]"#;
    assert_eq!(
        writes(but),
        [("devices.allow", "a".to_owned()), ("devices.deny", "b 8:* rw".to_owned())]
    );
}

#[test]
fn v1_ends_what_is_inside_of_a_later_rule() {
    let writes = writes(
        r#"[{"allow":true,"type":"c","major":10,"minor":200,"access":"rw"},
            {"allow":true,"type":"c","major":11,"minor":1,"access":"rw"},
            {"allow":false,"type":"c","major":10,"access":"w"}]"#,
    );
    assert!(writes.contains(&("devices.allow", "c 10:200 r".to_owned())));
    assert!(writes.contains(&("devices.allow", "c 11:1 rw".to_owned())));
}

#[test]
fn v1_refuses_holes() {
    for json in [
        r#"[{"allow":true,"type":"c","major":10,"access":"rwm"},
            {"allow":false,"type":"c","major":10,"minor":200,"access":"w"}]"#,
        // Neither contains the other.
        r#"[{"allow":true,"type":"c","major":10,"access":"rwm"},
            {"allow":false,"type":"c","minor":200,"access":"w"}]"#,
        // A default device.
        r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"access":"rwm"}]"#,
    ] {
        let error = DeviceList::new(&ruleset(json).unwrap()).unwrap_err().to_string();
        assert!(error.contains("cgroup v1 cannot make an exception"), "{json}: {error}");
    }
    // No contradiction: none of these devices was allowed.
    let json = r#"[{"allow":true,"type":"c","major":10,"access":"r"},
        {"allow":false,"type":"c","major":10,"minor":200,"access":"w"}]"#;
    writes(json);
}
