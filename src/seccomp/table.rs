//! The rules of a profile by architecture and system call number.
//!
//! A profile whose default is an error number lists the system calls that were known when it was
//! written. A C library tries the newest system call first, and falls back to an older one at
//! `ENOSYS`, but not at `EPERM`, so programs would break with each new kernel. A number above the
//! highest number in the profile therefore gets `ENOSYS`, as from a kernel without the call. It is
//! still refused. A profile that kills or traps by default does so for new system calls too; to
//! return an error would weaken a control.
//!
//! The highest number is an approximation: numbers were not always assigned in the order of
//! releases (`close_range`), and gaps below it keep the default action.

use std::collections::BTreeMap;

use libseccomp::{ScmpArch, ScmpSyscall};
use oci_spec::runtime::LinuxSeccompOperator as Operator;

use super::assemble::{Code, Item, JUMP_EQUAL, LOAD};
use super::decision::{Decision, Decisions};
use super::multiplexed::Direct;
use super::names::audit_arch;
use super::profile::Condition;
use crate::sys::seccomp::MAX_INSTRUCTIONS;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// The bit in the number of a system call of the x32 ABI, which shares the audit architecture of
/// x86-64.
const X32_BIT: u32 = 0x4000_0000;

/// The first private call of 32-bit ARM (`set_tls`, `cacheflush`), which is not a newer system call
/// in spite of its number.
const ARM_PRIVATE: u32 = 0x000f_0000;

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The action for calls of an architecture without rules, as with libseccomp.
const BAD_ARCH: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// The number of conditional rules for a call above which the program is too large: each needs a
/// load and a comparison.
const MAX_RULES: usize = MAX_INSTRUCTIONS / 2;

/// The reason why a rule cannot be added.
pub(super) enum Refusal {
    /// An earlier rule for the call has equal conditions and another action.
    Contradiction,
    /// The program would be too large for the kernel.
    TooMany,
}

/// The rules of an architecture.
pub(super) struct Table {
    arch: ScmpArch,
    calls: BTreeMap<u32, Rules>,
    newest: Option<u32>,
    direct: Direct,
}

/// The rules of a system call.
#[derive(Default)]
struct Rules {
    /// In the order of the profile; the first match decides.
    conditional: Vec<(Vec<Condition>, u32)>,
    /// Takes precedence over the conditional rules.
    unconditional: Option<u32>,
}

/// A number of a system call, and the mask and the value of the first argument by which a multiplexer
/// (socketcall(2), ipc(2)) finds the call.
type Number = (u32, Option<[u64; 2]>);

impl Table {
    pub(super) fn new(arch: ScmpArch) -> Self {
        Table { arch, calls: BTreeMap::new(), newest: None, direct: Direct::new(arch) }
    }

    /// Returns the numbers of a call; notes that the profile names it.
    pub(super) fn name(&mut self, name: &str) -> [Option<Number>; 2] {
        let numbers = self.numbers(name);
        let public = |number: &u32| self.arch != ScmpArch::Arm || *number < ARM_PRIVATE;
        let named = numbers.iter().flatten().map(|(number, _)| *number).filter(public).max();
        self.newest = self.newest.max(named);
        numbers
    }

    /// Returns the numbers of a call on the architecture; none if the architecture lacks the call.
    fn numbers(&mut self, name: &str) -> [Option<Number>; 2] {
        let arch = self.arch;
        let resolve = |name| ScmpSyscall::from_name_by_arch(name, arch).map(|s| s.as_raw_syscall());
        // The kernel ignores the other bits of the first argument; ipc(2) has a version in them.
        let (multiplexer, mask, call) = match resolve(name) {
            Ok(number @ 0..) => return [Some((number as u32, None)), None],
            // libseccomp's own numbers for the calls behind a multiplexer; their last two digits are
            // the numbers of <linux/net.h> and <linux/ipc.h>.
            Ok(number @ -120..=-100) => ("socketcall", 0xffff_ffff, -number % 100),
            Ok(number @ -224..=-200) => ("ipc", 0xffff, -number % 100),
            _ => return [None, None],
        };
        // An architecture without the multiplexer (x86-64) lacks the call.
        let multiplexer = resolve(multiplexer).ok().and_then(|number| u32::try_from(number).ok());
        let Some(multiplexer) = multiplexer else { return [None, None] };
        let direct = self.direct.number(name).map(|number| (number, None));
        [Some((multiplexer, Some([mask, call as u64]))), direct]
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// It contradicts an earlier rule, or there are too many.
    pub(super) fn add(
        &mut self,
        (number, multiplexed): Number,
        conditions: &[Condition],
        action: u32,
    ) -> Result<(), Refusal> {
        let rules = self.calls.entry(number).or_default();
        if rules.unconditional.is_some() {
            return Ok(());
        }
        let mut conditions = conditions.to_vec();
        if let Some([value, two]) = multiplexed {
            // The arguments of the call itself are in memory, which a filter cannot read. The other
            // conditions stay, as with libseccomp.
            conditions.retain(|condition| condition.index != 0);
            let operator = Operator::ScmpCmpMaskedEq;
            conditions.push(Condition { index: 0, operator, value, two });
        }
        conditions.sort_by_key(|condition| condition.index);
        if conditions.is_empty() {
            rules.unconditional = Some(action);
        } else if let Some((_, earlier)) = rules.conditional.iter().find(|(c, _)| *c == conditions)
        {
            return if *earlier == action { Ok(()) } else { Err(Refusal::Contradiction) };
        } else if rules.conditional.len() >= MAX_RULES {
            return Err(Refusal::TooMany);
        } else {
            rules.conditional.push((conditions, action));
        }
        Ok(())
    }

    /// Returns the starts of ranges of numbers with the action for calls without a rule.
    fn defaults(&self, default: u32, has_x32: bool) -> Vec<(u32, u32)> {
        let errno = default & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO;
        let newest = self.newest.filter(|_| errno);
        let start = if self.arch == ScmpArch::X32 { X32_BIT } else { 0 };
        let mut ranges = vec![(start, default)];
        // On s390 a number that the kernel does not have reaches the filter as 0, the number of the
        // removed setup(2).
        if newest.is_some() && matches!(self.arch, ScmpArch::S390 | ScmpArch::S390X) {
            ranges = vec![(0, ENOSYS), (1, default)];
        }
        ranges.extend(newest.map(|newest| (newest + 1, ENOSYS)));
        match self.arch {
            ScmpArch::Arm => ranges.push((ARM_PRIVATE, default)),
            // A tracer sets the number -1 to skip a call.
            ScmpArch::X8664 if !has_x32 => {
                ranges.extend([(X32_BIT, BAD_ARCH), (u32::MAX, default)])
            }
            _ => {}
        }
        ranges
    }

    /// Returns the starts of ranges of numbers with their decisions, in ascending order.
    fn ranges(&self, default: u32, has_x32: bool, all: &mut Decisions) -> Vec<(u32, Decision)> {
        let audit = audit_arch(self.arch).unwrap_or(0);
        // __AUDIT_ARCH_64BIT without __AUDIT_ARCH_CONVENTION_MIPS64_N32. On x32, for which libseccomp
        // compares 32 bits, the kernel uses all bits of an argument.
        let wide = audit & 0xa000_0000 == 0x8000_0000;
        let mut ranges = Ranges::default();
        let mut defaults = self.defaults(default, has_x32).into_iter().peekable();
        let mut otherwise = all.always(default);
        for (&number, rules) in &self.calls {
            while let Some((start, action)) = defaults.next_if(|(start, _)| *start <= number) {
                otherwise = all.always(action);
                ranges.push(start, otherwise);
            }
            let decision = match rules.unconditional {
                Some(action) => all.always(action),
                None => rules.conditional.iter().rev().fold(otherwise, |miss, rule| {
                    let hit = all.always(rule.1);
                    all.when(&rule.0, wide, hit, miss)
                }),
            };
            ranges.push(number, decision);
            ranges.push(number + 1, otherwise);
        }
        for (start, action) in defaults {
            ranges.push(start, all.always(action));
        }
        ranges.0
    }
}

/// The starts of ranges with their decisions, in ascending order. Neighbours differ.
#[derive(Default)]
struct Ranges(Vec<(u32, Decision)>);

impl Ranges {
    /// Begins a range at or behind the start of the last, which it replaces if the starts are equal.
    fn push(&mut self, start: u32, decision: Decision) {
        self.0.pop_if(|(last, _)| *last == start);
        if self.0.last().is_none_or(|(_, last)| *last != decision) {
            self.0.push((start, decision));
        }
    }
}

/// Returns the program of a filter: a search by architecture and by number, then the decisions.
///
/// The kernel checks, converts and compiles every instruction of a filter each time that the filter
/// is loaded. Profiles mostly allow runs of consecutive numbers, so a search over ranges is short.
///
/// # Errors
/// The program would be too large for the kernel.
pub(super) fn program(tables: &[Table], default: u32) -> Result<Vec<u8>, Refusal> {
    let has_x32 = tables.iter().any(|table| table.arch == ScmpArch::X32);
    let mut all = Decisions::default();
    let mut archs: BTreeMap<u32, Vec<(u32, Decision)>> = BTreeMap::new();
    for table in tables {
        if let Some(audit) = audit_arch(table.arch) {
            archs.entry(audit).or_default().extend(table.ranges(default, has_x32, &mut all));
        }
    }
    let other = all.always(BAD_ARCH);
    // Before the code is made, which takes long for a very large one.
    if all.count() > 2 * MAX_INSTRUCTIONS {
        return Err(Refusal::TooMany);
    }
    let mut code = Code::default();
    code.add(Item::Plain(LOAD, ARCH));
    for (audit, mut ranges) in archs {
        ranges.sort_unstable_by_key(|(start, _)| *start);
        let (here, next) = (code.label(), code.label());
        code.add(Item::Branch(JUMP_EQUAL, audit, here, next));
        code.add(Item::Here(here));
        code.add(Item::Plain(LOAD, NUMBER));
        let labels = code.labels(all.count());
        let labelled: Vec<_> = ranges.iter().map(|(start, root)| (*start, labels[*root])).collect();
        code.search(&labelled);
        let roots: Vec<Decision> = ranges.iter().map(|(_, root)| *root).collect();
        all.append(&mut code, &roots, &labels);
        code.add(Item::Here(next));
    }
    let labels = code.labels(all.count());
    all.append(&mut code, &[other], &labels);
    Ok(code.assemble())
}
