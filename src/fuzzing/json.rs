//! Changes of a JSON document, which reach further than changes of its bytes.

use serde_json::{Value, json};

use super::Input;

const TEXTS: [&str; 60] = [
    "",
    "/",
    "a",
    ".",
    "..",
    "/a/../b",
    "/..",
    "a/b",
    "//",
    "/proc/self",
    "/dev",
    "/dev/null",
    "/sys",
    "/usr/lib/x",
    "\0",
    "\n",
    "\u{202e}x",
    "é",
    "0",
    "-1",
    "0-3,7",
    "3-1",
    "CAP_KILL",
    "CAP_NONE",
    "kill",
    "rbind",
    "bind",
    "ro",
    "remount",
    "idmap",
    "size=1m",
    "a,b",
    "mode=\"7,5\"",
    "tmpfs",
    "proc",
    "cgroup",
    "overlay",
    "mount",
    "user",
    "time",
    "pid",
    "network",
    "RLIMIT_NOFILE",
    "RLIMIT_CPU",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_NOTIFY",
    "SCMP_CMP_EQ",
    "SCMP_ARCH_X86",
    "c",
    "b",
    "p",
    "rwm",
    "1.0.2",
    "1.3.0",
    "2.0.0",
    "A=b",
    "=",
    "system.slice:x:y",
    "shared",
    "kernel.msgmax",
];

fn value(input: &mut Input<'_>) -> Value {
    match input.below(12) {
        0..5 => input.pick(&TEXTS).into(),
        5 => input.text(20).into(),
        6 => input.number().into(),
        7 => (input.number() as i64).into(),
        8 => input.pick(&[-1, 0, 1, 2, 3, 10, -2]).into(),
        9 => input.flag().into(),
        10 => input.pick(&[json!(null), json!([]), json!({})].each_ref()).clone(),
        _ => json!([input.pick(&TEXTS), input.pick(&TEXTS)]),
    }
}

/// Changes one place of a document: replaces, removes, repeats or adds a value.
pub fn edit(document: &mut Value, input: &mut Input<'_>) {
    let mut at = document;
    for _ in 0..8 {
        let length = match at {
            Value::Array(list) => list.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        let here = input.below(8) == 0;
        match at {
            Value::Array(list) if here || list.is_empty() => {
                return match input.below(3) {
                    0 => list.push(value(input)),
                    1 if length > 0 => drop(list.remove(input.below(length))),
                    _ if length > 0 => list.push(list[input.below(length)].clone()),
                    _ => {}
                };
            }
            Value::Object(members) if here || members.is_empty() => {
                let name = members.keys().nth(input.below(length)).cloned();
                return match (input.below(3), name) {
                    (0, Some(name)) => drop(members.remove(&name)),
                    (1, Some(name)) => drop(members.insert(name, value(input))),
                    _ => drop(members.insert(input.text(12), value(input))),
                };
            }
            Value::Array(list) => at = &mut list[input.below(length)],
            Value::Object(members) => {
                at = members.values_mut().nth(input.below(length)).expect("a member");
            }
            _ => break,
        }
    }
    *at = value(input);
}
