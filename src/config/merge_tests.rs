use serde_json::{Value, json};

use super::*;
use crate::Kind;

fn changes(text: &str) -> Changes {
    let mut warnings = Vec::new();
    let changes = Changes::parse(text.as_bytes(), "given", &mut warnings).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    changes
}

fn merged(old: Value, new: Value) -> Value {
    let old = serde_json::from_value(old).unwrap();
    serde_json::to_value(changes(&new.to_string()).merge_into(&old)).unwrap()
}

#[test]
fn what_is_not_set_stays() {
    let old = json!({
        "memory": {"limit": 100, "swap": 200},
        "cpu": {"shares": 5, "cpus": "0"},
        "pids": {"limit": 9},
        "devices": [{"allow": false, "access": "rwm"}],
    });
    for nothing in [
        json!({}),
        json!({"memory": {"limit": 0, "swap": null}, "cpu": {"shares": 0, "cpus": "", "quota": 0}}),
        json!({"pids": {}, "blockIO": {"weight": 0}, "unified": {}, "hugepageLimits": null}),
        json!({"memory": {"swappiness": u64::MAX}}),
        json!({"devices": []}),
    ] {
        assert_eq!(merged(old.clone(), nothing.clone()), old, "{nothing}");
    }
    let new = json!({"memory": {"limit": 150}, "cpu": {"burst": 0}, "pids": {"limit": 0}});
    let wanted = json!({
        "memory": {"limit": 150, "swap": 200},
        "cpu": {"shares": 5, "cpus": "0", "burst": 0},
        "pids": {"limit": 0},
        "devices": [{"allow": false, "access": "rwm"}],
    });
    assert_eq!(merged(old, new), wanted);
}

#[test]
fn device_rules_are_replaced_as_a_whole() {
    let rule =
        |major: i64| json!({"allow": true, "type": "c", "major": major, "minor": 0, "access": "r"});
    let old = json!({"devices": [{"allow": false, "access": "rwm"}, rule(1), rule(2)]});
    let new = json!({"devices": [{"allow": false, "access": "rwm"}, rule(2), rule(2)]});
    assert_eq!(merged(old, new.clone()), new);
}

#[test]
fn elements_of_lists_are_told_apart_by_name() {
    let old = json!({
        "blockIO": {
            "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 20}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 2}],
        "rdma": {"a": {"hcaHandles": 1, "hcaObjects": 2}},
        "unified": {"a.b": "1", "c.d": "2"},
    });
    let new = json!({
        "blockIO": {
            "weightDevice": [{"major": 8, "minor": 0, "weight": 30}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 2}],
        },
        "hugepageLimits": [{"pageSize": "1GB", "limit": 3}],
        "network": {"priorities": [{"name": "eth0", "priority": 1}]},
        "rdma": {"a": {"hcaObjects": 4}},
        "unified": {"c.d": "3"},
    });
    let wanted = json!({
        "blockIO": {
            "weightDevice": [{"major": 8, "minor": 0, "weight": 30, "leafWeight": 20}],
            "throttleReadBpsDevice": [
                {"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 16, "rate": 2},
            ],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 3}],
        "network": {"priorities": [{"name": "eth0", "priority": 1}]},
        "rdma": {"a": {"hcaHandles": 1, "hcaObjects": 4}},
        "unified": {"a.b": "1", "c.d": "3"},
    });
    assert_eq!(merged(old, new), wanted);
}

#[test]
fn no_limit_on_memory_lifts_that_on_memory_and_swap() {
    let old = json!({"memory": {"limit": 100, "swap": 200}});
    let lifted = merged(old.clone(), json!({"memory": {"limit": -1}}));
    assert_eq!(lifted, json!({"memory": {"limit": -1}}));
    let both = json!({"memory": {"limit": -1, "swap": -1}});
    assert_eq!(merged(old, both.clone()), both);
}

#[test]
fn unknown_fields_are_ignored_but_told() {
    let mut warnings = Vec::new();
    let text = r#"{"memory":{"limti":1,"limit":2},"memroy":{"limit":1}}"#;
    let changes = Changes::parse(text.as_bytes(), "given", &mut warnings).unwrap();
    let left = serde_json::to_value(changes.resources()).unwrap();
    assert_eq!(left, json!({"memory": {"limit": 2}}));
    for (warning, field) in warnings.iter().zip(["memory.limti", "memroy"]) {
        assert_eq!(*warning, format!("linux.resources.{field}: ignored: there is no such field"));
    }
    assert_eq!(warnings.len(), 2);
}

#[test]
fn bad_values_are_named() {
    for (text, words) in [
        ("", &["is empty"][..]),
        ("[]", &["JSON object"]),
        ("{\"memory\":{\"limit\":1}", &["line 1"]),
        ("{\"memory\":{\"limit\":\"1G\"}}", &["linux.resources.memory.limit", "1G"]),
        ("{\"cpu\":{\"shares\":-1}}", &["linux.resources.cpu.shares", "-1"]),
        ("{\"memory\":[1]}", &["linux.resources.memory", "[1]"]),
        ("{\"unified\":{\"a.b\":\"x\\u0000\"}}", &["linux.resources.unified", "NUL"]),
        ("{\"pids\":{\"limit\":1},\"pids\":{\"limit\":2}}", &["pids", "twice"]),
        ("{\"hugepageLimits\":[{\"pageSize\":\"2MB\"}]}", &["hugepageLimits[0].limit", "missing"]),
    ] {
        let error = Changes::parse(text.as_bytes(), "given", &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{text}");
        let error = error.to_string();
        assert!(error.starts_with("given: "), "{error}");
        for word in words {
            assert!(error.contains(word), "{text}: {word}: {error}");
        }
    }
}
