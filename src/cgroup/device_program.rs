//! The device rules as an eBPF program, for cgroup v2.
//!
//! The kernel runs the program at every open(2) and mknod(2) of a device; it returns 1 to allow the
//! access, 0 to deny it. The program processes the list of rules from its end: an allowing rule
//! removes its accesses from the requested ones; a denying rule returns 0 if it covers any of the
//! remaining accesses; accesses that remain at the end are denied.
//!
//! Neighbouring rules that allow everything with devices of one kind are tested together, by a single
//! instruction each: what the kernel's verifier takes for the program grows with every instruction,
//! and the rules that engines write are nearly all of this form.

use crate::sys::bpf::Insn;

use super::device_rules::{Access, DeviceKind, Rule, Ruleset};
use super::limit::DeviceNumber;

// include/uapi/linux/bpf.h and Documentation/bpf/standardization/instruction-set.rst.
const LOAD_WORD: u8 = 0x61; // dst = *(u32 *)(src + off)
const MOVE: u8 = 0xbc; // (u32) dst = src
const SET: u8 = 0xb4; // (u32) dst = imm
const AND: u8 = 0x54; // (u32) dst &= imm
const OR: u8 = 0x4c; // (u32) dst |= src
const SHIFT_LEFT: u8 = 0x64; // (u32) dst <<= imm
const SHIFT_RIGHT: u8 = 0x74; // (u32) dst >>= imm
const GOTO: u8 = 0x05; // goto off
const IF_EQUAL: u8 = 0x16; // if (u32) dst == imm goto off
const IF_NOT_EQUAL: u8 = 0x56; // if (u32) dst != imm goto off
const EXIT: u8 = 0x95; // return r0

const BLOCK: i32 = 1; // BPF_DEVCG_DEV_BLOCK
const CHAR: i32 = 2; // BPF_DEVCG_DEV_CHAR

// Registers: r0 is the answer, r1 points to the request.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const NUMBER: u8 = 6;

// The kernel's dev_t: 12 bits of the major number, 20 of the minor (include/linux/kdev_t.h).
const MINOR_BITS: i32 = 20;
const _: () = assert!(DeviceNumber::MAX_MAJOR < 1 << (32 - MINOR_BITS));
const _: () = assert!(DeviceNumber::MAX_MINOR < 1 << MINOR_BITS);

/// The most rules that are tested together: the distance of a jump has 16 bits.
const GROUP: usize = 1000;

/// Compiles `rules`.
pub(super) fn program(rules: &Ruleset) -> Vec<Insn> {
    // struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }, where access_type is
    // the access in its upper half and the kind in its lower.
    let mut out = vec![
        Insn::new(LOAD_WORD, KIND, CONTEXT, 0, 0),
        Insn::new(MOVE, ACCESS, KIND, 0, 0),
        Insn::new(AND, KIND, 0, 0, 0xffff),
        Insn::new(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        Insn::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        Insn::new(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    let rules: Vec<&Rule> = rules.0.iter().rev().collect();
    let has_number = |pair: &[&Rule]| match (Test::only(pair[0]), Test::only(pair[1])) {
        (Some(one), Some(two)) => {
            one.kind == two.kind && [one.register, two.register].contains(&NUMBER)
        }
        _ => false,
    };
    if rules.windows(2).any(has_number) {
        out.extend([
            Insn::new(MOVE, NUMBER, MAJOR, 0, 0),
            Insn::new(SHIFT_LEFT, NUMBER, 0, 0, MINOR_BITS),
            Insn::new(OR, NUMBER, MINOR, 0, 0),
        ]);
    }
    let mut rest = rules.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let tests = group(rest);
        if tests.len() > 1 {
            append_group(&tests, &mut out);
            rest = &rest[tests.len()..];
            continue;
        }
        if !append(first, &mut out) {
            // The verifier refuses unreachable code.
            return out;
        }
        rest = others;
    }
    out.extend(answer(false));
    out
}

fn kind_number(kind: DeviceKind) -> i32 {
    match kind {
        DeviceKind::Block => BLOCK,
        DeviceKind::Char => CHAR,
    }
}

fn answer(allow: bool) -> [Insn; 2] {
    [Insn::new(SET, ANSWER, 0, 0, i32::from(allow)), Insn::new(EXIT, 0, 0, 0, 0)]
}

/// What a rule compares that allows everything with devices of one kind whose number is in one
/// register.
struct Test {
    kind: i32,
    register: u8,
    value: i32,
}

impl Test {
    fn only(rule: &Rule) -> Option<Test> {
        let kind = kind_number(rule.devices.kind?);
        let (register, value) = match (rule.devices.major, rule.devices.minor) {
            (Some(major), Some(minor)) => (NUMBER, major << MINOR_BITS | minor),
            (Some(major), None) => (MAJOR, major),
            (None, Some(minor)) => (MINOR, minor),
            (None, None) => return None,
        };
        let is_simple = rule.allow && rule.access == Access::ALL;
        is_simple.then_some(Test { kind, register, value: value.cast_signed() })
    }
}

/// Returns the tests of the rules at the start of `rules` that can be tested together.
fn group(rules: &[&Rule]) -> Vec<Test> {
    let mut tests: Vec<Test> = Vec::new();
    for test in rules.iter().take(GROUP).map_while(|rule| Test::only(rule)) {
        if tests.first().is_some_and(|first| first.kind != test.kind) {
            break;
        }
        tests.push(test);
    }
    tests
}

/// Appends the code that allows everything with the devices of one kind that pass any of the tests.
fn append_group(tests: &[Test], out: &mut Vec<Insn>) {
    let (count, kind) = (tests.len() as i16, tests[0].kind);
    // Over the tests, the jump behind them, and the answer.
    out.push(Insn::new(IF_NOT_EQUAL, KIND, 0, count + 3, kind));
    for (to_answer, test) in (1..=count).rev().zip(tests) {
        out.push(Insn::new(IF_EQUAL, test.register, 0, to_answer, test.value));
    }
    out.push(Insn::new(GOTO, 0, 0, 2, 0));
    out.extend(answer(true));
}

/// Appends the code of a rule. Returns false if the rule answers every request that reaches it.
fn append(rule: &Rule, out: &mut Vec<Insn>) -> bool {
    let access = i32::from(rule.access.0);
    let mut body = match (rule.access == Access::ALL, rule.allow) {
        (true, _) => Vec::new(),
        (false, true) => {
            vec![Insn::new(AND, ACCESS, 0, 0, !access), Insn::new(IF_NOT_EQUAL, ACCESS, 0, 2, 0)]
        }
        (false, false) => vec![
            Insn::new(MOVE, ANSWER, ACCESS, 0, 0),
            Insn::new(AND, ANSWER, 0, 0, access),
            Insn::new(IF_EQUAL, ANSWER, 0, 2, 0),
        ],
    };
    body.extend(answer(rule.allow));
    let kind = rule.devices.kind.map(kind_number);
    let tests: Vec<(u8, i32)> = [
        (KIND, kind),
        (MAJOR, rule.devices.major.map(u32::cast_signed)),
        (MINOR, rule.devices.minor.map(u32::cast_signed)),
    ]
    .into_iter()
    .filter_map(|(register, value)| Some((register, value?)))
    .collect();
    // The distance beyond the remaining tests and the body.
    let mut skip = (tests.len() + body.len()) as i16;
    for (register, value) in &tests {
        skip -= 1;
        out.push(Insn::new(IF_NOT_EQUAL, *register, 0, skip, *value));
    }
    out.extend(body);
    !(tests.is_empty() && rule.access == Access::ALL)
}

#[cfg(test)]
#[path = "device_program_tests.rs"]
mod tests;
