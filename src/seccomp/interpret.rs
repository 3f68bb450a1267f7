//! An interpreter for classic BPF as used by seccomp: computes a compiled program's return value
//! for a system call without loading the program.

/// A `struct seccomp_data`, parts of which can be unknown.
pub(super) struct Data {
    words: [Option<u32>; 16],
}

impl Data {
    /// Returns a call of which everything but the instruction pointer is known.
    #[cfg(test)]
    pub fn new(arch: u32, number: u32, args: [u64; 6]) -> Self {
        Data::with(arch, number, args.map(Some))
    }

    /// Returns a call whose arguments are unknown where `None`.
    pub fn with(arch: u32, number: u32, args: [Option<u64>; 6]) -> Self {
        let mut words = [None; 16];
        words[0] = Some(number);
        words[1] = Some(arch);
        for (i, arg) in args.into_iter().enumerate() {
            let (low, high) = (arg.map(|arg| arg as u32), arg.map(|arg| (arg >> 32) as u32));
            let pair = if cfg!(target_endian = "little") { [low, high] } else { [high, low] };
            words[4 + 2 * i..6 + 2 * i].copy_from_slice(&pair);
        }
        Data { words }
    }
}

/// Returns the `SECCOMP_RET_*` value of `program` for `data`; `None` if the value depends on
/// unknown parts, or if the kernel would not load the program.
pub(super) fn run(program: &[u8], data: &Data) -> Option<u32> {
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let i = program.get(at.checked_mul(8)?..)?.first_chunk::<8>()?;
        let code = u32::from(u16::from_ne_bytes([i[0], i[1]]));
        let k = u32::from_ne_bytes([i[4], i[5], i[6], i[7]]);
        let branch = |hit: bool| usize::from(if hit { i[2] } else { i[3] });
        // Jumps go only forward, so the loop ends.
        at += 1;
        match (code & 0x07, code & 0xf8) {
            (libc::BPF_LD, mode) if mode == libc::BPF_W | libc::BPF_ABS => {
                a = (*data.words.get(k as usize / 4)?)?;
            }
            (libc::BPF_ALU, op) if op == libc::BPF_AND | libc::BPF_K => a &= k,
            (libc::BPF_JMP, op) => {
                at += match op & 0xf0 {
                    libc::BPF_JA => k as usize,
                    libc::BPF_JEQ => branch(a == k),
                    libc::BPF_JGT => branch(a > k),
                    libc::BPF_JGE => branch(a >= k),
                    libc::BPF_JSET => branch(a & k != 0),
                    _ => return None,
                }
            }
            (libc::BPF_RET, _) => return Some(k),
            _ => return None,
        }
    }
}
