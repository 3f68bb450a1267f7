//! A classic BPF machine, as far as seccomp programs use it: tests ask a compiled program for its
//! answer without loading it.

/// `struct seccomp_data`.
pub(super) struct Data {
    words: [u32; 16],
}

impl Data {
    pub fn new(arch: u32, number: u32, args: [u64; 6]) -> Self {
        let mut words = [0; 16];
        words[0] = number;
        words[1] = arch;
        for (i, arg) in args.into_iter().enumerate() {
            let (low, high) = (arg as u32, (arg >> 32) as u32);
            let pair = if cfg!(target_endian = "little") { [low, high] } else { [high, low] };
            words[4 + 2 * i..6 + 2 * i].copy_from_slice(&pair);
        }
        Data { words }
    }
}

/// The `SECCOMP_RET_*` value that `program` returns for `data`.
pub(super) fn run(program: &[u8], data: &Data) -> u32 {
    assert_eq!(program.len() % 8, 0);
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let i = &program[at * 8..at * 8 + 8];
        let code = u32::from(u16::from_ne_bytes([i[0], i[1]]));
        let k = u32::from_ne_bytes([i[4], i[5], i[6], i[7]]);
        let branch = |hit: bool| usize::from(if hit { i[2] } else { i[3] });
        at += 1;
        match (code & 0x07, code & 0xf8) {
            (libc::BPF_LD, mode) => {
                assert_eq!(mode, libc::BPF_W | libc::BPF_ABS);
                a = data.words[k as usize / 4];
            }
            (libc::BPF_ALU, op) => {
                assert_eq!(op, libc::BPF_AND | libc::BPF_K);
                a &= k;
            }
            (libc::BPF_JMP, op) => {
                at += match op & 0xf0 {
                    libc::BPF_JA => k as usize,
                    libc::BPF_JEQ => branch(a == k),
                    libc::BPF_JGT => branch(a > k),
                    libc::BPF_JGE => branch(a >= k),
                    libc::BPF_JSET => branch(a & k != 0),
                    other => panic!("jump {other:#x}"),
                }
            }
            (libc::BPF_RET, _) => return k,
            (class, _) => panic!("class {class:#x}"),
        }
    }
}
