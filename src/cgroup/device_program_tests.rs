use super::super::device_list::DeviceList;
use super::super::device_rules::tests::{allows, ruleset};
use super::*;
use crate::sys::bpf;

/// An interpreter for the instructions used here.
fn run(program: &[Insn], kind: i32, access: u32, major: u32, minor: u32) -> u32 {
    let context = [(access << 16) | kind.cast_unsigned(), major, minor];
    let mut registers = [0u32; 11];
    let mut at = 0usize;
    for _ in 0..10_000 {
        let insn = program[at];
        let (dst, src) = (usize::from(insn.dst()), usize::from(insn.src()));
        at += 1;
        let jump = match insn.code {
            LOAD_WORD => {
                assert_eq!(src, 1);
                registers[dst] = context[usize::try_from(insn.off).unwrap() / 4];
                false
            }
            MOVE => {
                registers[dst] = registers[src];
                false
            }
            SET => {
                registers[dst] = insn.imm.cast_unsigned();
                false
            }
            AND => {
                registers[dst] &= insn.imm.cast_unsigned();
                false
            }
            OR => {
                registers[dst] |= registers[src];
                false
            }
            SHIFT_LEFT => {
                registers[dst] <<= insn.imm;
                false
            }
            GOTO => true,
            SHIFT_RIGHT => {
                registers[dst] >>= insn.imm;
                false
            }
            IF_EQUAL => registers[dst] == insn.imm.cast_unsigned(),
            IF_NOT_EQUAL => registers[dst] != insn.imm.cast_unsigned(),
            EXIT => return registers[0],
            other => panic!("instruction {other:#x}"),
        };
        if jump {
            at += usize::try_from(insn.off).unwrap();
        }
    }
    panic!("endless");
}

/// Returns every access to devices that no rule, a rule, or several rules name.
fn agrees_with_the_list(rules: &Ruleset) {
    let program = program(rules);
    // The kernel has no other numbers than those of 12 and 20 bits.
    let majors = [0, 1, 3, 5, 8, 9, 10, 11, 136, 200, 229, 4095];
    let minors = [0, 1, 3, 5, 8, 9, 10, 11, 136, 200, 229, 4095, 4096, 1_048_575];
    for (kind, code) in [(DeviceKind::Block, BLOCK), (DeviceKind::Char, CHAR)] {
        for major in majors {
            for minor in minors {
                for access in 1..=7u8 {
                    let expected = allows(rules, kind, major, minor, access);
                    let answer = run(&program, code, access.into(), major, minor);
                    assert_eq!(
                        answer,
                        u32::from(expected),
                        "{kind:?} {major}:{minor} {access} by {rules:?}"
                    );
                }
            }
        }
    }
}

const LISTS: [&str; 11] = [
    "[]",
    r#"[{"allow":false,"access":"rwm"}]"#,
    r#"[{"allow":true,"access":"rwm"}]"#,
    r#"[{"allow":true,"access":"r"}]"#,
    r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","access":"rw"}]"#,
    r#"[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"c","major":10,"access":"rwm"},
        {"allow":false,"type":"c","major":10,"minor":200,"access":"w"},
        {"allow":true,"type":"c","major":10,"minor":200,"access":"w"},
        {"allow":false,"type":"c","minor":200,"access":"rm"}]"#,
    r#"[{"allow":true,"major":8,"minor":1,"access":"w"},{"allow":true,"minor":1,"access":"r"}]"#,
    r#"[{"allow":true,"type":"c","major":4095,"minor":1048575,"access":"rw"}]"#,
    r#"[{"allow":true,"type":"c","major":4095,"minor":1048575,"access":"rwm"},
        {"allow":true,"type":"c","major":1,"minor":524288,"access":"rwm"},
        {"allow":true,"type":"c","major":136,"access":"rwm"},
        {"allow":true,"type":"c","minor":229,"access":"rwm"},
        {"allow":true,"type":"b","minor":200,"access":"rwm"},
        {"allow":true,"type":"b","major":8,"minor":1,"access":"rwm"},
        {"allow":true,"type":"b","major":9,"minor":5,"access":"r"},
        {"allow":true,"type":"b","major":9,"minor":5,"access":"rwm"},
        {"allow":true,"type":"b","major":10,"minor":5,"access":"rwm"}]"#,
    r#"[{"allow":true,"type":"c","major":5,"minor":1,"access":"rwm"},
        {"allow":false,"type":"c","major":5,"access":"m"},
        {"allow":true,"type":"c","major":5,"minor":0,"access":"rwm"},
        {"allow":true,"type":"c","major":5,"minor":1,"access":"r"}]"#,
    r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"access":"rwm"},
        {"allow":false,"major":-1,"minor":9,"access":"m"}]"#,
];

#[test]
fn means_what_the_list_means() {
    for json in LISTS {
        agrees_with_the_list(&ruleset(json).unwrap());
    }
}

#[test]
fn every_pair_of_rules() {
    let mut entries = Vec::new();
    for allow in [true, false] {
        for kind in ["", r#""type":"c","#, r#""type":"b","#] {
            for numbers in ["", r#""major":10,"#, r#""minor":200,"#, r#""major":10,"minor":200,"#] {
                for access in ["r", "wm", "rwm"] {
                    entries
                        .push(format!(r#"{{"allow":{allow},{kind}{numbers}"access":"{access}"}}"#));
                }
            }
        }
    }
    for first in &entries {
        for second in &entries {
            let rules = ruleset(&format!("[{first},{second}]")).unwrap();
            let program = program(&rules);
            for (kind, code) in [(DeviceKind::Block, BLOCK), (DeviceKind::Char, CHAR)] {
                for (major, minor) in [(10, 200), (10, 1), (1, 200), (1, 1)] {
                    for access in 1..=7u8 {
                        let expected = allows(&rules, kind, major, minor, access);
                        let answer = run(&program, code, access.into(), major, minor);
                        assert_eq!(answer, u32::from(expected), "{first} {second}");
                    }
                }
            }
        }
    }
}

/// v1 must give the same answers if it can express the list. It allows an access that an exception
/// covers, or denies an access that an exception overlaps.
#[test]
fn v1_means_the_same() {
    let mut taken = 0;
    for json in LISTS {
        let rules = ruleset(json).unwrap();
        let Ok(list) = DeviceList::new(&rules) else { continue };
        let writes: Vec<_> = list.writes().collect();
        taken += 1;
        for kind in [DeviceKind::Block, DeviceKind::Char] {
            let letter = if kind == DeviceKind::Block { "b" } else { "c" };
            for (major, minor) in [(10, 200), (10, 1), (1, 3), (8, 1), (1, 200), (136, 5)] {
                for (bit, access) in [(2, 'r'), (4, 'w'), (1, 'm')] {
                    let hit = writes[1..].iter().any(|(_, line)| {
                        let mut words = line.split([' ', ':']);
                        let mut is = |value: &str| {
                            words.next().is_some_and(|word| word == "*" || word == value)
                        };
                        is(letter)
                            && is(&major.to_string())
                            && is(&minor.to_string())
                            && words.next().unwrap().contains(access)
                    });
                    let default_allow = writes[0].0 == "devices.allow";
                    assert_eq!(
                        hit != default_allow,
                        allows(&rules, kind, major, minor, bit),
                        "{json} {letter} {major}:{minor} {access}"
                    );
                }
            }
        }
    }
    assert!(taken >= 6, "{taken}");
}

/// The kernel's verifier accepts all programs. Loading changes nothing: the program disappears with
/// its descriptor.
#[test]
fn the_kernel_takes_it() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let many: Vec<String> = (0..500)
        .map(|n| format!(r#"{{"allow":{},"type":"c","major":{n},"access":"r"}}"#, n % 2 == 0))
        .collect();
    let many = format!("[{}]", many.join(","));
    // More than one group of rules that are tested together.
    let alike: Vec<String> = (0..2500)
        .map(|n| format!(r#"{{"allow":true,"type":"c","major":{},"minor":{n}}}"#, n % 4096))
        .collect();
    let alike = format!("[{}]", alike.join(",")).replace('}', r#","access":"rwm"}"#);
    for json in LISTS.into_iter().chain([many.as_str(), alike.as_str()]) {
        let program = program(&ruleset(json).unwrap());
        bpf::load_device_program(&program).unwrap_or_else(|e| panic!("{json}: {e}"));
    }
    let endless = [Insn::new(IF_EQUAL, CONTEXT, 0, -1, 0)];
    assert!(bpf::load_device_program(&endless).is_err());
}
