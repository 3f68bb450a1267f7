use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::*;
use crate::seccomp::build::generate;
use crate::seccomp::compile;
use crate::seccomp::enosys::{JUMP_ABOVE, emit};
use crate::seccomp::interpret::run;
use crate::seccomp::profile::Profile;

const X86_64: u32 = 0xc000_003e;

/// A linear congruential generator (Knuth's MMIX), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// Compares both programs for every number up to 1,100 in both ABIs and at the edges of each
/// constant, with arguments at the edges of the constants.
fn assert_equal(old: &[u8], new: &[u8], archs: &[u32]) {
    let residue = Residue::new(old, archs);
    let edges: Vec<u64> = residue
        .program
        .iter()
        .flat_map(|i| [i.k.wrapping_sub(1), i.k, i.k.wrapping_add(1)])
        .map(u64::from)
        .collect();
    let mut numbers = residue.points();
    numbers.extend((0..1100).chain((0..1100).map(|n| n | 0x4000_0000)));
    numbers.extend(residue.points().iter().map(|n| n.wrapping_sub(1)));
    let mut random = Random(1);
    for arch in archs.iter().copied().chain([0, 0xc000_00b7]) {
        for &number in &numbers {
            let unknown = Data::with(arch, number, [None; 6]);
            if let Some(value) = run(old, &unknown) {
                assert_eq!(run(new, &unknown), Some(value), "{arch:#x} {number:#x}");
            }
            for _ in 0..2 {
                let args = [(); 6].map(|()| {
                    let [high, low] = [(); 2].map(|()| edges[random.next(edges.len())]);
                    if random.next(2) == 0 { low } else { high << 32 | low }
                });
                let data = Data::new(arch, number, args);
                assert_eq!(run(old, &data), run(new, &data), "{arch:#x} {number:#x} {args:x?}");
            }
        }
    }
}

fn generated(profile: &LinuxSeccomp) -> crate::Result<(Vec<u8>, Vec<u32>)> {
    generate(&Profile::new(profile)?, &mut Vec::new())
}

#[test]
fn the_default_profile_is_shorter_and_equal() {
    let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/seccomp-profiles/default.json"));
    let profile: LinuxSeccomp = serde_json::from_slice(&text.unwrap()).unwrap();
    let (old, archs) = generated(&profile).unwrap();
    let new = compile(&profile, &mut Vec::new()).unwrap().program;
    assert!(new.len() * 2 < old.len(), "{} instead of {}", new.len() / 8, old.len() / 8);
    assert_equal(&old, &new, &archs);
}

#[test]
fn generated_profiles_are_equal() {
    let calls = [
        "read",
        "write",
        "personality",
        "socket",
        "clone",
        "clone3",
        "mkdirat",
        "ioctl",
        "prctl",
        "openat2",
        "futex",
        "semop",
        "socketcall",
        "fcntl64",
        "io_uring_setup",
    ];
    let actions = ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"];
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let mut random = Random(7);
    let mut pick = |of: &[&str]| of[random.next(of.len())].to_owned();
    let mut compared = 0;
    for _ in 0..60 {
        let default = pick(&actions);
        let rules: Vec<Value> = (0..12)
            .map(|_| {
                let (name, action) = (pick(&calls), pick(&actions));
                let count = pick(&["0", "1", "2", "3"]).parse::<usize>().unwrap();
                let args: Vec<Value> = (0..count)
                    .map(|index| {
                        let value: u64 = pick(&[
                            "0",
                            "1",
                            "40",
                            "2114060288",
                            "4294967296",
                            "8589934597",
                            "18446744073709551615",
                        ])
                        .parse()
                        .unwrap();
                        json!({"index": index, "value": value, "valueTwo": value & 0xff,
                            "op": format!("SCMP_CMP_{}", pick(&operators))})
                    })
                    .collect();
                json!({"names": [name], "action": action, "args": args})
            })
            .collect();
        let profile = json!({"defaultAction": default, "syscalls": rules,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]});
        // Rules that contradict each other are refused.
        let Ok((old, archs)) = generated(&serde_json::from_value(profile).unwrap()) else {
            continue;
        };
        let Ok(Some(new)) = search(&old, &archs) else { continue };
        assert_equal(&old, &new, &archs);
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} profiles were compared");
}

fn program(instructions: &[(u16, u32, u8, u8)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    instructions.iter().for_each(|&(code, k, hit, miss)| emit(&mut bytes, code, k, hit, miss));
    bytes
}

#[test]
fn unusual_instructions_are_left_alone() {
    let long = [(RETURN, 1, 0, 0); 40];
    let behind = |first: &[(u16, u32, u8, u8)]| program(&[first, &long].concat());
    for first in [
        // A test of the number by mask, of the architecture by order;
        // arithmetic; a return of the accumulator.
        vec![(LOAD, NUMBER, 0, 0), (AND, 1, 0, 0), (JUMP_EQUAL, 1, 0, 1)],
        vec![(LOAD, NUMBER, 0, 0), (0x45, 3, 0, 1)],
        vec![(LOAD, ARCH, 0, 0), (JUMP_ABOVE, X86_64, 0, 1)],
        vec![(LOAD, 16, 0, 0), (0x04, 1, 0, 0)],
        vec![(LOAD, 16, 0, 0), (0x16, 0, 0, 0)],
    ] {
        let unusual = behind(&first);
        assert_eq!(rewrite(unusual.clone(), &[X86_64]).ok(), Some(unusual), "{first:x?}");
    }
    assert_eq!(rewrite(program(&long), &[X86_64]).unwrap().len(), 5 * 8);
    // Jumps out of the program, which the kernel refuses.
    for wrong in [program(&[(JUMP, u32::MAX, 0, 0)]), Vec::new()] {
        assert_eq!(rewrite(wrong.clone(), &[X86_64]).ok(), Some(wrong));
    }
}

// libseccomp generates no such program for these architectures on arm64.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_program_that_compares_the_architecture_with_numbers_is_refused() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["semop"], "action": "SCMP_ACT_LOG"},
            {"names": ["write"], "action": "SCMP_ACT_LOG", "args": [
                {"index": 0, "value": 0, "op": "SCMP_CMP_LE"},
                {"index": 1, "value": 40, "valueTwo": 40, "op": "SCMP_CMP_MASKED_EQ"}]}]});
    let profile = serde_json::from_value(profile).unwrap();
    let error = compile(&profile, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("linux.seccomp: libseccomp "), "{error}");
    assert!(error.contains("without loading the number"), "{error}");
}

#[test]
fn long_jumps_reach_their_targets() {
    // Every second number of 1,600 has an action of its own: no jump of the search is short.
    let mut instructions = vec![(LOAD, ARCH, 0, 0), (JUMP_EQUAL, X86_64, 1, 0), (RETURN, 9, 0, 0)];
    instructions.push((LOAD, NUMBER, 0, 0));
    for number in 0..800 {
        instructions.push((JUMP_EQUAL, 2 * number, 0, 1));
        instructions.push((RETURN, 0x5_0000 | number, 0, 0));
    }
    instructions.push((RETURN, 7, 0, 0));
    let old = program(&instructions);
    let mut residue = Residue::new(&old, &[X86_64]);
    let ranges: Vec<_> =
        (0..1600u32).map(|number| (number, residue.of(Some((X86_64, number))).unwrap())).collect();
    let mut code = Code::default();
    code.add(Item::Plain(LOAD, NUMBER));
    let labels = code.labels(residue.forms.len());
    code.search(&ranges.iter().map(|(n, root)| (*n, labels[*root])).collect::<Vec<_>>());
    residue.append(&mut code, ranges.iter().map(|(_, root)| *root), &labels);
    let new = code.assemble();
    for number in 0..1600 {
        let data = Data::new(X86_64, number, [0; 6]);
        assert_eq!(run(&old, &data), run(&new, &data), "{number}");
    }
}
