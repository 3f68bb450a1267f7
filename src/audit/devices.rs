//! The devices that a configuration lets the container read or write.

use serde_json::Value;

use super::subject::{Device, Place};

/// Returns the devices of `linux.devices` and of `linux.resources.devices`, after later rules that
/// deny them. The nodes come before the rules, so a list that denies everything denies them too.
/// Those that every container has are left out, and rules for mknod alone: a node gives no access
/// without a rule that allows to read or write it.
pub fn readable(config: &Value) -> Vec<Device> {
    let list = |pointer: &str| {
        config.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
    };
    let rules = list("/linux/resources/devices");
    let mut devices: Vec<Device> = Vec::new();
    for (index, node) in list("/linux/devices").iter().enumerate() {
        let kind = match node["type"].as_str() {
            Some("b") => 'b',
            Some("c" | "u") => 'c',
            _ => continue,
        };
        let place = Place::Field(format!("/linux/devices/{index}"));
        let device =
            Device { kind, major: node["major"].as_i64(), minor: node["minor"].as_i64(), place };
        if !is_default(&device) {
            devices.push(device);
        }
    }
    for (index, rule) in rules.iter().enumerate() {
        let device = of_rule(rule, index);
        let access = rule["access"].as_str().unwrap_or("rwm");
        match rule["allow"] == true {
            true if access.contains(['r', 'w']) && !is_default(&device) => devices.push(device),
            false if access.contains('r') && access.contains('w') => {
                devices.retain(|earlier| !covers(&device, earlier));
            }
            _ => {}
        }
    }
    devices
}

fn of_rule(rule: &Value, index: usize) -> Device {
    let kind = match rule["type"].as_str() {
        Some("b") => 'b',
        Some("c") => 'c',
        _ => 'a',
    };
    // Engines write -1 for any number.
    let number = |name: &str| rule[name].as_i64().filter(|number| *number != -1);
    let place = Place::Field(format!("/linux/resources/devices/{index}"));
    Device { kind, major: number("major"), minor: number("minor"), place }
}

/// Whether `wide` has every device of `narrow`.
pub fn covers(wide: &Device, narrow: &Device) -> bool {
    (wide.kind == 'a' || wide.kind == narrow.kind)
        && (wide.major.is_none() || wide.major == narrow.major)
        && (wide.minor.is_none() || wide.minor == narrow.minor)
}

/// Whether every container has the device: null, zero, full, random, urandom, tty, console, ptmx
/// and the pseudo-terminals.
fn is_default(device: &Device) -> bool {
    device.kind == 'c'
        && matches!(
            (device.major, device.minor),
            (Some(1), Some(3 | 5 | 7 | 8 | 9)) | (Some(5), Some(0..=2)) | (Some(136..=143), _)
        )
}

impl Device {
    /// Whether the devices include character device `major`:`minor`.
    pub fn has_char(&self, major: i64, minor: i64) -> bool {
        let place = self.place.clone();
        covers(self, &Device { kind: 'c', major: Some(major), minor: Some(minor), place })
    }

    /// Returns the devices in the notation of cgroup v1, such as `b 8:*`.
    pub fn name(&self) -> String {
        let number = |number: Option<i64>| number.map_or_else(|| "*".to_owned(), |n| n.to_string());
        format!("{} {}:{}", self.kind, number(self.major), number(self.minor))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(config: Value) -> Vec<String> {
        readable(&config).iter().map(Device::name).collect()
    }

    #[test]
    fn the_last_rule_decides() {
        let rules = |rules: Value| names(json!({"linux": {"resources": {"devices": rules}}}));
        let all = json!({"allow": true, "access": "rwm"});
        let none = json!({"allow": false, "access": "rwm"});
        let disk = json!({"allow": true, "type": "b", "major": 8, "access": "r"});
        let of_null = json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"});
        let mknod = json!({"allow": true, "type": "b", "access": "m"});
        assert_eq!(rules(json!([none, of_null, mknod])), [""; 0]);
        assert_eq!(rules(json!([all])), ["a *:*"]);
        assert_eq!(rules(json!([all, none, disk])), ["b 8:*"]);
        assert_eq!(rules(json!([{"allow": true, "major": -1, "minor": -1}])), ["a *:*"]);
    }

    #[test]
    fn a_node_is_allowed_unless_a_rule_denies_it() {
        let none = json!({"allow": false, "access": "rwm"});
        let node = json!({"path": "/dev/sda", "type": "b", "major": 8, "minor": 0});
        let config = |rules: Value| {
            let resources = json!({"devices": rules});
            json!({"linux": {"devices": [node.clone()], "resources": resources}})
        };
        assert_eq!(names(config(json!([]))), ["b 8:0"]);
        assert_eq!(names(config(json!([none]))), [""; 0]);
    }
}
