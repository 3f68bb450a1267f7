//! The device rules as an eBPF program, for cgroup v2.
//!
//! The kernel runs the program at every open(2) and mknod(2) of a device; it returns 1 to allow the
//! access, 0 to deny it. The program processes the list of rules from its end: an allowing rule
//! removes its accesses from the requested ones; a denying rule returns 0 if it covers any of the
//! remaining accesses; accesses that remain at the end are denied.

use crate::sys::bpf::Insn;

use super::device_rules::{Access, DeviceKind, Rule, Ruleset};

// include/uapi/linux/bpf.h and Documentation/bpf/standardization/instruction-set.rst.
const LOAD_WORD: u8 = 0x61; // dst = *(u32 *)(src + off)
const MOVE: u8 = 0xbc; // (u32) dst = src
const SET: u8 = 0xb4; // (u32) dst = imm
const AND: u8 = 0x54; // (u32) dst &= imm
const SHIFT_RIGHT: u8 = 0x74; // (u32) dst >>= imm
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
    for rule in rules.0.iter().rev() {
        if !append(rule, &mut out) {
            // The verifier refuses unreachable code.
            return out;
        }
    }
    out.extend(answer(false));
    out
}

fn answer(allow: bool) -> [Insn; 2] {
    [Insn::new(SET, ANSWER, 0, 0, i32::from(allow)), Insn::new(EXIT, 0, 0, 0, 0)]
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
    let kind = rule.devices.kind.map(|kind| match kind {
        DeviceKind::Block => BLOCK,
        DeviceKind::Char => CHAR,
    });
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
