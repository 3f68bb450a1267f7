//! Target of the fuzzers: device rules in the forms of both versions of cgroups.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup};
use serde_json::{Value, json};

use super::device_list::DeviceList;
use super::device_program;
use super::device_rules::Ruleset;
use crate::fuzzing::{Input, assert_one_line, reached};
use crate::sys::bpf::Insn;

/// A rule as the configuration has it.
struct Listed {
    allow: bool,
    kind: char,
    major: Option<i64>,
    minor: Option<i64>,
    access: Option<&'static str>,
}

const NUMBERS: [i64; 14] = [1, 3, 5, 8, 10, 136, 200, 0, 2, 7, 9, 229, 4095, 524_288];
const ACCESSES: [&str; 9] = ["rwm", "r", "w", "m", "rw", "rm", "wm", "mr", "rwmrwm"];

impl Listed {
    fn new(input: &mut Input<'_>) -> Listed {
        let number = |input: &mut Input<'_>, most: i64| match input.below(4) {
            0 => None,
            1 => Some(-1),
            _ => Some(input.pick(&NUMBERS).min(most)),
        };
        Listed {
            allow: input.flag(),
            kind: input.pick(&['c', 'b', 'a']),
            major: number(input, 4095),
            minor: number(input, i64::MAX),
            access: if input.below(4) == 0 { None } else { Some(input.pick(&ACCESSES)) },
        }
    }

    fn entry(&self) -> Value {
        let mut entry = json!({"allow": self.allow, "type": self.kind.to_string()});
        for (name, number) in [("major", self.major), ("minor", self.minor)] {
            if let Some(number) = number {
                entry[name] = number.into();
            }
        }
        if let Some(access) = self.access {
            entry["access"] = access.into();
        }
        entry
    }

    /// Whether the rule is for the access `letter` to a device.
    fn covers(&self, (kind, major, minor): (char, u32, u32), letter: char) -> bool {
        let is = |wanted: Option<i64>, number: u32| {
            wanted.is_none_or(|wanted| wanted == -1 || wanted == i64::from(number))
        };
        (self.kind == 'a' || self.kind == kind)
            && is(self.major, major)
            && is(self.minor, minor)
            && self.access.is_none_or(|access| access.contains(letter))
    }
}

/// Device rules, as a program for cgroup v2 and as a list for cgroup v1, have the effect of the list
/// of the configuration.
pub fn devices(data: &[u8]) {
    let mut input = Input::new(data);
    let nodes: Vec<(char, i64, i64)> = (0..input.below(4))
        .map(|_| {
            (input.pick(&['c', 'b', 'u']), input.pick(&NUMBERS).min(4095), input.pick(&NUMBERS))
        })
        .collect();
    let mut listed = Vec::new();
    while !input.is_empty() && listed.len() < 40 {
        listed.push(Listed::new(&mut input));
    }
    let node = |(kind, major, minor): &(char, i64, i64)| -> LinuxDevice {
        let kind = kind.to_string();
        let node = json!({"path": "/dev/x", "type": kind, "major": major, "minor": minor});
        serde_json::from_value(node).unwrap()
    };
    let entries: Vec<LinuxDeviceCgroup> =
        listed.iter().map(|rule| serde_json::from_value(rule.entry()).unwrap()).collect();
    let rules = Ruleset::new(&entries, &nodes.iter().map(node).collect::<Vec<_>>()).unwrap();
    let program = device_program::program(&rules);
    let v1 = DeviceList::new(&rules);
    if let Err(error) = &v1 {
        assert_one_line(&error.to_string());
        assert!(error.to_string().starts_with("linux.resources.devices: "), "{error}");
    }
    reached();
    let v1: Option<Vec<_>> = v1.ok().map(|list| list.writes().collect());
    let allowed = |device: (char, u32, u32), letter: char| {
        let (kind, major, minor) = device;
        if letter == 'm' || is_fixed(device) {
            return true;
        }
        if let Some(last) = listed.iter().rfind(|rule| rule.covers(device, letter)) {
            return last.allow;
        }
        // A rule for exactly the device of a node replaces that of the node, for every access.
        let number = (i64::from(major), i64::from(minor));
        let replaced = listed.iter().any(|rule| {
            (rule.kind, rule.major, rule.minor) == (kind, Some(number.0), Some(number.1))
        });
        let is_node = |(node, major, minor): &(char, i64, i64)| {
            (*node == 'b') == (kind == 'b') && (*major, *minor) == number
        };
        !replaced && nodes.iter().any(is_node)
    };
    let mut numbers = vec![(1, 1), (1, 3), (4095, 1_048_575), (77, 77)];
    for rule in &listed {
        let number =
            |number: Option<i64>| number.filter(|number| *number >= 0).unwrap_or(77) as u32;
        let (major, minor) = (number(rule.major), number(rule.minor));
        numbers.extend([(major, minor), (major, 78), (78, minor)]);
    }
    numbers.extend(nodes.iter().map(|(_, major, minor)| (*major as u32, *minor as u32)));
    for (major, minor) in numbers {
        for kind in ['b', 'c'] {
            let device = (kind, major, minor);
            let by_letter = ['m', 'r', 'w'].map(|letter| allowed(device, letter));
            for access in 1..8_u32 {
                let expected = (0..3).all(|bit| access >> bit & 1 == 0 || by_letter[bit]);
                let found = run(&program, device, access);
                assert_eq!(found, u32::from(expected), "{device:?} {access} by {rules:?}");
            }
            for (letter, expected) in ['m', 'r', 'w'].into_iter().zip(by_letter) {
                if let Some(writes) = &v1 {
                    assert_eq!(v1_allows(writes, device, letter), expected, "{device:?} {rules:?}");
                }
            }
        }
    }
}

/// Whether every container has the device.
fn is_fixed((kind, major, minor): (char, u32, u32)) -> bool {
    let fixed = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];
    kind == 'c' && (fixed.contains(&(major, minor)) || major == 136)
}

/// Runs a program as the kernel does, with the checks of its verifier that jumps could violate.
fn run(program: &[Insn], (kind, major, minor): (char, u32, u32), access: u32) -> u32 {
    let kind = if kind == 'b' { 1 } else { 2 };
    let context = [access << 16 | kind, major, minor];
    let mut registers = [None; 11];
    let mut at = 0;
    loop {
        let insn = program[at];
        let (to, from) = (usize::from(insn.dst()), usize::from(insn.src()));
        let (value, other, constant) = (registers[to], registers[from], insn.imm.cast_unsigned());
        at += 1;
        let mut jump = false;
        match insn.code {
            0x61 => registers[to] = Some(context[usize::try_from(insn.off).unwrap() / 4]),
            0xbc => registers[to] = Some(other.unwrap()),
            0xb4 => registers[to] = Some(constant),
            0x54 => registers[to] = Some(value.unwrap() & constant),
            0x4c => registers[to] = Some(value.unwrap() | other.unwrap()),
            0x64 => registers[to] = Some(value.unwrap() << constant),
            0x74 => registers[to] = Some(value.unwrap() >> constant),
            0x05 => jump = true,
            0x16 => jump = value.unwrap() == constant,
            0x56 => jump = value.unwrap() != constant,
            0x95 => return registers[0].unwrap(),
            other => panic!("instruction {other:#x}"),
        }
        assert!(insn.off >= 0, "a jump backwards");
        if jump {
            at += usize::try_from(insn.off).unwrap();
        }
    }
}

/// Whether cgroup v1 allows an access after `writes` to its files.
fn v1_allows(writes: &[(&str, String)], device: (char, u32, u32), letter: char) -> bool {
    let (kind, major, minor) = device;
    let allows_others = writes[0] == ("devices.allow", "a".to_owned());
    assert!(allows_others || writes[0] == ("devices.deny", "a".to_owned()));
    let excepted = writes[1..].iter().any(|(file, line)| {
        assert_eq!(*file == "devices.deny", allows_others);
        let words: Vec<&str> = line.split([' ', ':']).collect();
        let is = |word: &str, number: u32| word == "*" || word == number.to_string();
        words[0] == kind.to_string()
            && is(words[1], major)
            && is(words[2], minor)
            && words[3].contains(letter)
    });
    excepted != allows_others
}
