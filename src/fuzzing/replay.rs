//! Runs the targets without a fuzzer: on the seeds and on mutations of them, which are the same in
//! every run.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

type Target = fn(&[u8]);

/// The targets, each with the number of mutated inputs.
const TARGETS: [(&str, Target, u32); 13] = [
    ("args", super::args, 500),
    ("cgroup", super::cgroup, 1500),
    ("config", super::config, 700),
    ("dbus", super::dbus, 5000),
    ("devices", super::devices, 100),
    ("escape", super::escape, 2000),
    ("gvariant", super::gvariant, 5000),
    ("mounts", super::mounts, 5000),
    ("paths", super::paths, 200),
    ("protocol", super::protocol, 2000),
    ("seccomp", super::seccomp, 100),
    ("state", super::state, 1000),
    ("words", super::words, 5000),
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Knuth's generator; the upper bits are the better ones.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// Changes, inserts, removes or repeats bytes, or begins anew.
fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let byte = random.below(256) as u8;
        match random.below(7) {
            0 => input.insert(at, byte),
            1 => input.truncate(at),
            2 if at < input.len() => drop(input.remove(at)),
            3 if at < input.len() => input[at] = byte,
            4 if at < input.len() => input[at] ^= 1 << (byte % 8),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                input.extend(other[from..].iter().take(40));
            }
            _ => input.extend((0..random.below(40)).map(|_| random.below(256) as u8)),
        }
    }
    input.truncate(4096);
}

fn run(name: &str, target: Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        panic!("{name}: the input is {}", input.escape_ascii());
    }
}

#[test]
fn seeds_and_mutations_keep_the_invariants() {
    let factor = std::env::var("BULKHEAD_FUZZ_FACTOR").map_or(1, |text| text.parse().unwrap());
    super::config(b"\0");
    super::state(b"\0");
    assert_eq!(super::REACHED.swap(0, Relaxed), 2, "the documents that are changed are valid");
    for (name, target, count) in TARGETS {
        let seeds = seeds(name);
        seeds.iter().for_each(|seed| run(name, target, seed));
        let mut random = Random(1);
        for _ in 0..count * factor {
            let mut input = seeds[random.below(seeds.len())].clone();
            mutate(&mut input, &seeds, &mut random);
            run(name, target, &input);
        }
        // A target that refuses what it is given proves nothing.
        let reached = super::REACHED.swap(0, Relaxed);
        assert!(reached > count * factor / 20, "{name}: {reached} of {count} inputs were accepted");
    }
}

#[test]
fn each_target_has_its_program() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    let names: Vec<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("name = \"")).skip(1).collect();
    let expected: Vec<String> = TARGETS.iter().map(|(name, ..)| format!("{name}\"")).collect();
    assert_eq!(names, expected);
    for (name, ..) in TARGETS {
        let call = format!("bulkhead::fuzzing::{name}(data)");
        let path = format!("fuzz/fuzz_targets/{name}.rs");
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        assert!(text.contains(&call), "{name}");
    }
}
