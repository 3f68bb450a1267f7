//! Decisions on a system call by its arguments, as code that calls with equal rules share.

use std::collections::HashMap;

use oci_spec::runtime::LinuxSeccompOperator as Operator;

use super::assemble::{
    AND, Code, Item, JUMP_ABOVE, JUMP_AT_LEAST, JUMP_EQUAL, LOAD, Label, RETURN,
};
use super::profile::Condition;

/// A decision in [`Decisions`]. Equal decisions are equal numbers.
pub(super) type Decision = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// Returns a `SECCOMP_RET_*` value.
    Return(u32),
    /// Loads the word at an offset of `struct seccomp_data`.
    Load(u32, Decision),
    And(u32, Decision),
    /// An instruction code, a constant, and the decisions after a hit and after a miss.
    Compare(u16, u32, Decision, Decision),
}

/// All decisions of a filter.
#[derive(Default)]
pub(super) struct Decisions {
    forms: Vec<Form>,
    numbers: HashMap<Form, Decision>,
    /// The decisions without conditions: few actions, each for most of the calls.
    actions: Vec<(u32, Decision)>,
}

impl Decisions {
    pub(super) fn count(&self) -> usize {
        self.forms.len()
    }

    /// Returns the decision for every call.
    pub(super) fn always(&mut self, action: u32) -> Decision {
        if let Some((_, known)) = self.actions.iter().find(|(known, _)| *known == action) {
            return *known;
        }
        let decision = self.add(Form::Return(action));
        self.actions.push((action, decision));
        decision
    }

    /// Returns the decision `hit` for calls that satisfy all conditions, `miss` for others. `wide`:
    /// the architecture has arguments of 64 bits.
    pub(super) fn when(
        &mut self,
        conditions: &[Condition],
        wide: bool,
        hit: Decision,
        miss: Decision,
    ) -> Decision {
        conditions.iter().rev().fold(hit, |hit, condition| self.compare(condition, wide, hit, miss))
    }

    fn compare(&mut self, c: &Condition, wide: bool, hit: Decision, miss: Decision) -> Decision {
        match c.operator {
            Operator::ScmpCmpEq => self.masked(c, wide, [u64::MAX, c.value], hit, miss),
            Operator::ScmpCmpNe => self.masked(c, wide, [u64::MAX, c.value], miss, hit),
            Operator::ScmpCmpMaskedEq => self.masked(c, wide, [c.value, c.two], hit, miss),
            Operator::ScmpCmpGt => self.above(c, wide, JUMP_ABOVE, hit, miss),
            Operator::ScmpCmpLe => self.above(c, wide, JUMP_ABOVE, miss, hit),
            Operator::ScmpCmpGe => self.above(c, wide, JUMP_AT_LEAST, hit, miss),
            Operator::ScmpCmpLt => self.above(c, wide, JUMP_AT_LEAST, miss, hit),
        }
    }

    /// Compares the bits of a mask, first those of the upper word.
    fn masked(
        &mut self,
        condition: &Condition,
        wide: bool,
        [mask, value]: [u64; 2],
        hit: Decision,
        miss: Decision,
    ) -> Decision {
        if !wide && is_beyond_32_bits(value & mask) {
            return miss;
        }
        let shifts = if wide { &[0, 32][..] } else { &[0] };
        shifts.iter().fold(hit, |hit, shift| {
            let [mask, value] = [mask, value & mask].map(|bits| (bits >> shift) as u32);
            if mask == 0 {
                return hit;
            }
            let compare = self.add(Form::Compare(JUMP_EQUAL, value, hit, miss));
            let bits = if mask == u32::MAX { compare } else { self.add(Form::And(mask, compare)) };
            self.add(Form::Load(offset(condition.index, *shift), bits))
        })
    }

    /// Compares with a bound. `code` decides on the lower word if the upper words are equal.
    fn above(
        &mut self,
        condition: &Condition,
        wide: bool,
        code: u16,
        hit: Decision,
        miss: Decision,
    ) -> Decision {
        if !wide && is_beyond_32_bits(condition.value) {
            return miss;
        }
        let [low, high] = [0, 32].map(|shift| (condition.value >> shift) as u32);
        let lower = self.add(Form::Compare(code, low, hit, miss));
        let lower = self.add(Form::Load(offset(condition.index, 0), lower));
        if !wide {
            return lower;
        }
        let equal = self.add(Form::Compare(JUMP_EQUAL, high, lower, miss));
        let upper = self.add(Form::Compare(JUMP_ABOVE, high, hit, equal));
        self.add(Form::Load(offset(condition.index, 32), upper))
    }

    fn add(&mut self, form: Form) -> Decision {
        match form {
            Form::Compare(_, _, hit, miss) if hit == miss => return hit,
            // Only comparisons use what an instruction loads or computes.
            Form::Load(_, next) | Form::And(_, next)
                if !matches!(self.forms[next], Form::Compare(..) | Form::And(..)) =>
            {
                return next;
            }
            _ => {}
        }
        *self.numbers.entry(form).or_insert_with(|| {
            self.forms.push(form);
            self.forms.len() - 1
        })
    }

    /// Appends the code of `roots`, in an order in which all jumps go forward.
    pub(super) fn append(&self, code: &mut Code, roots: &[Decision], labels: &[Label]) {
        let (mut seen, mut order) = (vec![false; self.forms.len()], Vec::new());
        roots.iter().for_each(|root| self.visit(*root, &mut seen, &mut order));
        for decision in order.into_iter().rev() {
            code.add(Item::Here(labels[decision]));
            match self.forms[decision] {
                Form::Return(action) => code.add(Item::Plain(RETURN, action)),
                Form::Load(k, next) => code.then(LOAD, k, labels[next]),
                Form::And(k, next) => code.then(AND, k, labels[next]),
                Form::Compare(test, k, hit, miss) => {
                    code.add(Item::Branch(test, k, labels[hit], labels[miss]));
                }
            }
        }
    }

    /// Appends the decisions that `decision` leads to, each behind those that it leads to itself.
    fn visit(&self, decision: Decision, seen: &mut [bool], order: &mut Vec<Decision>) {
        if std::mem::replace(&mut seen[decision], true) {
            return;
        }
        match self.forms[decision] {
            Form::Return(_) => {}
            Form::Load(_, next) | Form::And(_, next) => self.visit(next, seen, order),
            Form::Compare(_, _, hit, miss) => {
                self.visit(hit, seen, order);
                self.visit(miss, seen, order);
            }
        }
        order.push(decision);
    }
}

/// Whether no argument of 32 bits equals or exceeds `value`. Profiles write -1 with 64 bits too.
fn is_beyond_32_bits(value: u64) -> bool {
    value > u64::from(u32::MAX) && value as i32 as i64 as u64 != value
}

/// Returns the offset of a word of an argument in `struct seccomp_data`: of the lower (`shift` 0) or
/// the upper (32).
fn offset(index: usize, shift: u32) -> u32 {
    let second = (shift == 32) != cfg!(target_endian = "big");
    16 + 8 * index as u32 + if second { 4 } else { 0 }
}
