//! An assembler for classic BPF: programs with labels, and binary searches by number.

pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub(super) const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
pub(super) const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub(super) const JUMP_ABOVE: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
pub(super) const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;

/// Names a place in the program.
pub(super) type Label = usize;

/// A part of a program.
pub(super) enum Item {
    /// A code and a constant.
    Plain(u16, u32),
    /// A code, a constant, and the labels after a hit and after a miss.
    Branch(u16, u32, Label, Label),
    Goto(Label),
    /// The place that a label names: behind all jumps to it.
    Here(Label),
}

/// A program whose jumps have labels as their targets.
#[derive(Default)]
pub(super) struct Code {
    items: Vec<Item>,
    labels: usize,
}

impl Code {
    /// Appends an item.
    pub(super) fn add(&mut self, item: Item) {
        self.items.push(item);
    }

    /// Appends an instruction and a jump.
    pub(super) fn then(&mut self, code: u16, k: u32, next: Label) {
        self.add(Item::Plain(code, k));
        self.add(Item::Goto(next));
    }

    /// Returns a label that is not used yet.
    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        self.labels - 1
    }

    /// Returns `count` labels that are not used yet.
    pub(super) fn labels(&mut self, count: usize) -> Vec<Label> {
        (0..count).map(|_| self.label()).collect()
    }

    /// Appends a search for the range of the loaded number among at least one.
    pub(super) fn search(&mut self, ranges: &[(u32, Label)]) {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        if low.is_empty() {
            return self.add(Item::Goto(high[0].1));
        }
        let mut side = |part: &[(u32, Label)]| match part {
            [(_, only)] => (*only, None),
            _ => {
                let label = self.label();
                (label, Some(label))
            }
        };
        let ((miss, below), (hit, above)) = (side(low), side(high));
        self.add(Item::Branch(JUMP_AT_LEAST, high[0].0, hit, miss));
        for (label, part) in [(below, low), (above, high)] {
            if let Some(label) = label {
                self.add(Item::Here(label));
                self.search(part);
            }
        }
    }

    /// Returns the instructions. A conditional jump reaches over 255 instructions; a longer one
    /// leads over an unconditional jump.
    pub(super) fn assemble(&self) -> Vec<u8> {
        let mut long = vec![false; self.items.len()];
        let mut places = vec![0; self.labels];
        loop {
            let mut at = 0;
            for (i, item) in self.items.iter().enumerate() {
                match item {
                    Item::Here(label) => places[*label] = at,
                    Item::Goto(label) if self.follows(i, *label) => {}
                    Item::Branch(..) if long[i] => at += 3,
                    _ => at += 1,
                }
            }
            let (mut out, mut settled) = (Vec::with_capacity(at * 8), true);
            for (i, item) in self.items.iter().enumerate() {
                let next = out.len() / 8 + 1;
                match *item {
                    Item::Here(_) => {}
                    Item::Plain(code, k) => emit(&mut out, code, k, 0, 0),
                    Item::Goto(label) if self.follows(i, label) => {}
                    Item::Goto(label) => emit(&mut out, JUMP, (places[label] - next) as u32, 0, 0),
                    Item::Branch(code, k, hit, miss) if long[i] => {
                        emit(&mut out, code, k, 0, 1);
                        emit(&mut out, JUMP, (places[hit] - next - 1) as u32, 0, 0);
                        emit(&mut out, JUMP, (places[miss] - next - 2) as u32, 0, 0);
                    }
                    Item::Branch(code, k, hit, miss) => {
                        let [hit, miss] =
                            [hit, miss].map(|label| u8::try_from(places[label] - next));
                        long[i] = hit.is_err() || miss.is_err();
                        settled &= !long[i];
                        emit(&mut out, code, k, hit.unwrap_or(0), miss.unwrap_or(0));
                    }
                }
            }
            if settled {
                return out;
            }
        }
    }

    /// Whether `label` names the place after item `i`.
    fn follows(&self, i: usize, label: Label) -> bool {
        let here = self.items[i + 1..].iter().map_while(|item| match item {
            Item::Here(label) => Some(*label),
            _ => None,
        });
        here.into_iter().any(|other| other == label)
    }
}

fn emit(program: &mut Vec<u8>, code: u16, k: u32, hit: u8, miss: u8) {
    // struct sock_filter { __u16 code; __u8 jt; __u8 jf; __u32 k; }
    program.extend_from_slice(&code.to_ne_bytes());
    program.extend_from_slice(&[hit, miss]);
    program.extend_from_slice(&k.to_ne_bytes());
}
