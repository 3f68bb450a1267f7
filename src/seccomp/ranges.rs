//! Rewrites a compiled filter as a binary search over ranges of system call numbers.
//!
//! libseccomp compares the number with each call of the profile. The kernel checks, converts and
//! compiles every instruction of a filter each time that the filter is loaded, and also runs the
//! filter once for every number to learn which calls it always allows. Profiles mostly allow runs of
//! consecutive numbers, so a search over ranges needs less than half of the instructions.
//!
//! The filter is specialised for each architecture and range: every comparison with the
//! architecture or the number is decided, and what remains are the comparisons of arguments. Within
//! a range no comparison changes its result, because the ranges are cut at every constant of the
//! filter; the rewritten filter therefore equals the original for all numbers, not only for known
//! ones. A filter with an instruction that libseccomp does not generate is left as it is.

use std::collections::HashMap;

use super::assemble::{Code, Item, Label};
use super::enosys::{ARCH, JUMP, JUMP_EQUAL, LOAD, NUMBER, RETURN};
use super::filter::{self, Call};

const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;

/// The lowest bit of the number that a filter may test alone: the ranges are cut at its multiples.
const LOWEST_BIT: u32 = 1 << 28;

/// A program that compares a system call's number before it has loaded the number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confused;

/// Returns a filter that equals `program` for all calls, and is shorter where possible. `archs` are
/// the `AUDIT_ARCH_*` values that the program distinguishes.
///
/// # Errors
/// The program compares the architecture with numbers. libseccomp 2.5.4 generates such programs from
/// some profiles with conditions and several architectures: the rules for one of the architectures
/// would have no effect.
pub(super) fn rewrite(program: Vec<u8>, archs: &[u32]) -> Result<Vec<u8>, Confused> {
    let search = search(&program, archs)?.filter(|search| search.len() < program.len());
    Ok(search.unwrap_or(program))
}

/// Returns the search by ranges; `None` if `program` has an unusual instruction.
fn search(program: &[u8], archs: &[u32]) -> Result<Option<Vec<u8>>, Confused> {
    let mut residue = Residue::new(program, archs);
    let search = residue.search();
    if residue.confused { Err(Confused) } else { Ok(search) }
}

/// An index of [`Residue::forms`]. Equal code has equal indices.
type Node = usize;

/// What remains of the program's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Return(u32),
    /// Loads a word of the arguments.
    Load(u32, Node),
    And(u32, Node),
    /// An instruction code, a constant, and the code after a hit and after a miss.
    Compare(u16, u32, Node, Node),
}

/// What the accumulator holds at an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accumulator {
    Nothing,
    Arch,
    Number,
    Argument,
}

struct Instruction {
    code: u16,
    hit: usize,
    miss: usize,
    k: u32,
}

struct Residue<'a> {
    bytes: &'a [u8],
    program: Vec<Instruction>,
    archs: &'a [u32],
    forms: Vec<Form>,
    nodes: HashMap<Form, Node>,
    /// By instruction, for the call under examination.
    with_argument: HashMap<usize, Node>,
    confused: bool,
}

impl<'a> Residue<'a> {
    fn new(program: &'a [u8], archs: &'a [u32]) -> Self {
        let (instructions, _) = program.as_chunks::<8>();
        let instruction = |i: &[u8; 8]| Instruction {
            code: u16::from_ne_bytes([i[0], i[1]]),
            hit: i[2].into(),
            miss: i[3].into(),
            k: u32::from_ne_bytes([i[4], i[5], i[6], i[7]]),
        };
        Residue {
            bytes: program,
            program: instructions.iter().map(instruction).collect(),
            archs,
            forms: Vec::new(),
            nodes: HashMap::new(),
            with_argument: HashMap::new(),
            confused: false,
        }
    }

    /// Returns the search by ranges; `None` if the program has an unusual instruction.
    fn search(&mut self) -> Option<Vec<u8>> {
        let points = self.points();
        let mut code = Code::default();
        code.add(Item::Plain(LOAD, ARCH));
        for &arch in self.archs {
            let mut ranges: Vec<(u32, Node)> = Vec::new();
            for &start in &points {
                let root = self.of(Some((arch, start)))?;
                if ranges.last().is_none_or(|(_, last)| *last != root) {
                    ranges.push((start, root));
                }
            }
            let (here, next) = (code.label(), code.label());
            code.add(Item::Branch(JUMP_EQUAL, arch, here, next));
            code.add(Item::Here(here));
            code.add(Item::Plain(LOAD, NUMBER));
            let labels = code.labels(self.forms.len());
            code.search(
                &ranges.iter().map(|(start, root)| (*start, labels[*root])).collect::<Vec<_>>(),
            );
            self.append(&mut code, ranges.iter().map(|(_, root)| *root), &labels);
            code.add(Item::Here(next));
        }
        let other = self.of(None)?;
        let labels = code.labels(self.forms.len());
        self.append(&mut code, [other].into_iter(), &labels);
        let search = code.assemble();
        let equal = |arch, number: u32| {
            let call = Call::any(number.into());
            let result = filter::run(self.bytes, arch, &call);
            result.is_none() || result == filter::run(&search, arch, &call)
        };
        // The filter is a security control, so the result is checked once more by other code.
        let proven =
            self.archs.iter().all(|&arch| points.iter().all(|&number| equal(arch, number)));
        proven.then_some(search)
    }

    /// Returns the starts of the ranges in ascending order.
    fn points(&self) -> Vec<u32> {
        let compared = self.program.iter().filter(|i| compares(i.code)).map(|i| i.k);
        let bits = (0..16).map(|i| i * LOWEST_BIT);
        let mut points: Vec<u32> =
            compared.flat_map(|k| [k, k.saturating_add(1)]).chain(bits).collect();
        points.sort_unstable();
        points.dedup();
        points
    }

    /// Returns what the program does with a call of an architecture and a number, or with all calls
    /// of other architectures.
    fn of(&mut self, call: Option<(u32, u32)>) -> Option<Node> {
        self.with_argument.clear();
        self.from(0, Accumulator::Nothing, call)
    }

    fn from(
        &mut self,
        mut at: usize,
        mut holds: Accumulator,
        call: Option<(u32, u32)>,
    ) -> Option<Node> {
        use Accumulator::{Arch, Argument, Nothing, Number};
        loop {
            if holds == Argument
                && let Some(known) = self.with_argument.get(&at)
            {
                return Some(*known);
            }
            let Instruction { code, hit, miss, k } = *self.program.get(at)?;
            let next = at + 1;
            let form = match (code, holds) {
                (RETURN, _) => Form::Return(k),
                (JUMP, _) => {
                    at = next + k as usize;
                    continue;
                }
                (LOAD, _) if k == ARCH || (k == NUMBER && call.is_some()) => {
                    holds = if k == ARCH { Arch } else { Number };
                    at = next;
                    continue;
                }
                (LOAD, _) if k > ARCH => match self.from(next, Argument, call)? {
                    unused if matches!(self.forms[unused], Form::Return(_)) => return Some(unused),
                    used => Form::Load(k, used),
                },
                (AND, Argument) => Form::And(k, self.from(next, Argument, call)?),
                (code, Argument) if compares(code) => {
                    let hit = self.from(next + hit, Argument, call)?;
                    let miss = self.from(next + miss, Argument, call)?;
                    if hit == miss {
                        self.with_argument.insert(at, hit);
                        return Some(hit);
                    }
                    Form::Compare(code, k, hit, miss)
                }
                (JUMP_EQUAL, Arch) if self.archs.contains(&k) => {
                    at = next + if call.is_some_and(|(arch, _)| arch == k) { hit } else { miss };
                    continue;
                }
                (code, Number) if compares(code) => {
                    let (_, number) = call?;
                    let yes = match u32::from(code) & 0xf0 {
                        libc::BPF_JEQ => number == k,
                        libc::BPF_JGT => number > k,
                        libc::BPF_JGE => number >= k,
                        _ if k.is_power_of_two() && k >= LOWEST_BIT => number & k != 0,
                        _ => return None,
                    };
                    at = next + if yes { hit } else { miss };
                    continue;
                }
                (JUMP_EQUAL, Nothing | Arch) => {
                    self.confused = true;
                    return None;
                }
                _ => return None,
            };
            let forms = &mut self.forms;
            let node = *self.nodes.entry(form).or_insert_with(|| {
                forms.push(form);
                forms.len() - 1
            });
            if holds == Argument {
                self.with_argument.insert(at, node);
            }
            return Some(node);
        }
    }

    /// Appends the code of `roots`, in an order in which all jumps go forward.
    fn append(&self, code: &mut Code, roots: impl Iterator<Item = Node>, labels: &[Label]) {
        let (mut seen, mut order) = (vec![false; self.forms.len()], Vec::new());
        roots.for_each(|root| self.visit(root, &mut seen, &mut order));
        for node in order.into_iter().rev() {
            code.add(Item::Here(labels[node]));
            match self.forms[node] {
                Form::Return(k) => code.add(Item::Plain(RETURN, k)),
                Form::Load(k, next) | Form::And(k, next) => {
                    let load = matches!(self.forms[node], Form::Load(..));
                    code.add(Item::Plain(if load { LOAD } else { AND }, k));
                    code.add(Item::Goto(labels[next]));
                }
                Form::Compare(test, k, hit, miss) => {
                    code.add(Item::Branch(test, k, labels[hit], labels[miss]));
                }
            }
        }
    }

    /// Appends the nodes that `node` leads to, each after those that it leads to itself.
    fn visit(&self, node: Node, seen: &mut Vec<bool>, order: &mut Vec<Node>) {
        if std::mem::replace(&mut seen[node], true) {
            return;
        }
        match self.forms[node] {
            Form::Return(_) => {}
            Form::Load(_, next) | Form::And(_, next) => self.visit(next, seen, order),
            Form::Compare(_, _, hit, miss) => {
                self.visit(hit, seen, order);
                self.visit(miss, seen, order);
            }
        }
        order.push(node);
    }
}

/// Whether an instruction compares the accumulator with a constant.
fn compares(code: u16) -> bool {
    let [class, operation] = [u32::from(code) & 0x0f, u32::from(code) & 0xf0];
    class == libc::BPF_JMP | libc::BPF_K && operation != libc::BPF_JA && code & 0xff00 == 0
}

#[cfg(test)]
#[path = "ranges_tests.rs"]
mod tests;
