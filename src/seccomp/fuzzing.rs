//! Target of the fuzzers: filters, compared with a reading of the profile's rules.

use std::hash::{DefaultHasher, Hash, Hasher};

use libseccomp::{ScmpArch, ScmpSyscall};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::compile;
use super::names::audit_arch;
use crate::fuzzing::{Input, assert_one_line, reached};

const X32: u32 = 0x4000_0000;
const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;

const NAMES: [&str; 24] = [
    "read",
    "write",
    "openat",
    "close",
    "mkdirat",
    "clone",
    "clone3",
    "socket",
    "bind",
    "shmget",
    "semop",
    "ipc",
    "socketcall",
    "accept",
    "accept4",
    "execve",
    "fchmodat2",
    "ptrace",
    "no_such",
    "getpid",
    "mmap2",
    "personality",
    "semget",
    "connect",
];

/// The calls of i386 behind socketcall(2) (102) and ipc(2) (117): the number there, and its own.
const MULTIPLEXED: [(&str, u32, u64, Option<u32>); 7] = [
    ("socket", 102, 1, Some(359)),
    ("bind", 102, 2, Some(361)),
    ("connect", 102, 3, Some(362)),
    ("accept", 102, 5, None),
    ("accept4", 102, 18, Some(364)),
    ("shmget", 117, 23, Some(395)),
    ("semget", 117, 2, Some(393)),
];

#[derive(Debug, Clone, Copy, PartialEq)]
struct Test {
    index: usize,
    operator: &'static str,
    value: u64,
    two: u64,
}

#[derive(Debug)]
struct Rule {
    names: Vec<&'static str>,
    action: (&'static str, u32),
    tests: Vec<Test>,
}

const ACTIONS: [(&str, u32); 8] = [
    ("SCMP_ACT_ALLOW", libc::SECCOMP_RET_ALLOW),
    ("SCMP_ACT_ERRNO", libc::SECCOMP_RET_ERRNO | 1),
    ("SCMP_ACT_KILL", KILL),
    ("SCMP_ACT_KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS),
    ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP),
    ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
    ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE | 1),
    ("SCMP_ACT_NOTIFY", libc::SECCOMP_RET_USER_NOTIF),
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_GT",
    "SCMP_CMP_GE",
    "SCMP_CMP_MASKED_EQ",
];

const VALUES: [u64; 8] =
    [1, 0, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0005, u64::MAX, 0xffff_ffff_8000_0000, 0x8000_0000];

impl Rule {
    fn new(input: &mut Input<'_>) -> Rule {
        let action = input.pick(&ACTIONS);
        let names = (0..=input.below(4)).map(|_| input.pick(&NAMES));
        // The runtime itself needs it.
        let names = names
            .map(|name| if name == "write" && action.1 == ACTIONS[7].1 { "read" } else { name });
        let names = names.collect();
        let value = |input: &mut Input<'_>| match input.flag() {
            true => input.pick(&VALUES),
            false => input.number(),
        };
        let tests = (0..input.below(4))
            .map(|_| Test {
                index: input.below(6),
                operator: input.pick(&OPERATORS),
                value: value(input),
                two: value(input),
            })
            .collect();
        Rule { names, action, tests }
    }

    fn entry(&self) -> Value {
        let test = |test: &Test| {
            json!({"index": test.index, "op": test.operator, "value": test.value,
                "valueTwo": test.two})
        };
        json!({"names": self.names, "action": self.action.0,
            "args": self.tests.iter().map(test).collect::<Vec<_>>()})
    }

    /// Returns the alternatives: each test of its own if two are of one argument.
    fn alternatives(&self) -> Vec<Vec<Test>> {
        let repeated = (0..6).any(|i| self.tests.iter().filter(|test| test.index == i).count() > 1);
        match repeated {
            true => self.tests.iter().map(|test| vec![*test]).collect(),
            false => vec![self.tests.clone()],
        }
    }
}

/// One way to reach a call on an architecture: the number, and what a multiplexer wants in its first
/// argument.
type Way = (u32, Option<(u64, u64)>);

fn ways(name: &str, arch: ScmpArch) -> Vec<Way> {
    if arch == ScmpArch::X86
        && let Some((_, number, call, own)) = MULTIPLEXED.iter().find(|row| row.0 == name)
    {
        let mask = if *number == 102 { 0xffff_ffff } else { 0xffff };
        let own = own.iter().map(|own| (*own, None));
        return [(*number, Some((mask, *call)))].into_iter().chain(own).collect();
    }
    if arch == ScmpArch::X86 && name == "semop" {
        return vec![(117, Some((0xffff, 1)))];
    }
    match ScmpSyscall::from_name_by_arch(name, arch).map(|call| call.as_raw_syscall()) {
        Ok(number @ 0..) => vec![(number as u32, None)],
        _ => Vec::new(),
    }
}

/// Whether an argument of 64 or of 32 bits passes a test.
fn passes(test: &Test, arg: u64, wide: bool) -> bool {
    let (mut value, mut two) = (test.value, test.two);
    if !wide {
        assert!(arg <= 0xffff_ffff);
        // -1 is written with 64 bits too; another value of more than 32 bits is above every argument.
        let narrow = |value: u64| match i32::try_from(value as i64) {
            Ok(negative @ ..0) => u64::from(negative.cast_unsigned()),
            _ => value,
        };
        if test.operator == "SCMP_CMP_MASKED_EQ" {
            two = narrow(two & value);
            value &= 0xffff_ffff;
        } else {
            value = narrow(value);
        }
    }
    match test.operator {
        "SCMP_CMP_EQ" => arg == value,
        "SCMP_CMP_NE" => arg != value,
        "SCMP_CMP_LT" => arg < value,
        "SCMP_CMP_LE" => arg <= value,
        "SCMP_CMP_GT" => arg > value,
        "SCMP_CMP_GE" => arg >= value,
        // Bits of the second value that the mask does not have are ignored, as by libseccomp.
        _ if wide => arg & value == two & value,
        _ => arg & value == two,
    }
}

struct Profile {
    default: (&'static str, u32),
    archs: Vec<ScmpArch>,
    rules: Vec<Rule>,
}

/// The alternatives of the rules for a number, each with its action.
type Chain = Vec<(Vec<Test>, u32)>;

impl Profile {
    /// Returns the rules for a number, or the index of a rule that contradicts an earlier one.
    fn chain(&self, arch: ScmpArch, number: u32) -> Result<Chain, usize> {
        let mut chain: Chain = Vec::new();
        let mut unconditional = None;
        for (at, rule) in self.rules.iter().enumerate() {
            if rule.action.1 == self.default.1 {
                continue;
            }
            for (_, multiplexed) in
                rule.names.iter().flat_map(|name| ways(name, arch)).filter(|way| way.0 == number)
            {
                for mut tests in rule.alternatives() {
                    if unconditional.is_some() {
                        continue;
                    }
                    if let Some((value, two)) = multiplexed {
                        tests.retain(|test| test.index != 0);
                        tests.push(Test { index: 0, operator: "SCMP_CMP_MASKED_EQ", value, two });
                    }
                    tests.iter_mut().filter(|t| t.operator != OPERATORS[6]).for_each(|t| t.two = 0);
                    tests.sort_by_key(|test| test.index);
                    if tests.is_empty() {
                        unconditional = Some(rule.action.1);
                    } else if let Some((_, earlier)) = chain.iter().find(|(c, _)| *c == tests) {
                        if *earlier != rule.action.1 {
                            return Err(at);
                        }
                    } else {
                        chain.push((tests, rule.action.1));
                    }
                }
            }
        }
        Ok(match unconditional {
            Some(action) => vec![(Vec::new(), action)],
            None => chain,
        })
    }

    /// Returns the action for a call of an audit architecture; `None` if the rules contradict.
    fn answer(&self, audit: u32, number: u32, args: [u64; 6]) -> Option<u32> {
        let has = |arch| self.archs.contains(&arch);
        let arch = match audit {
            _ if Some(audit) == audit_arch(ScmpArch::X86) && has(ScmpArch::X86) => ScmpArch::X86,
            _ if Some(audit) != audit_arch(ScmpArch::X8664) => return Some(KILL),
            _ if number < X32 => ScmpArch::X8664,
            _ if has(ScmpArch::X32) => ScmpArch::X32,
            // A tracer skips a call with this number.
            _ if number == u32::MAX => return Some(self.default.1),
            _ => return Some(KILL),
        };
        let wide = arch != ScmpArch::X86;
        for (tests, action) in self.chain(arch, number).ok()? {
            if tests.iter().all(|test| passes(test, args[test.index], wide)) {
                return Some(action);
            }
        }
        let named = self.rules.iter().flat_map(|rule| &rule.names);
        let newest = named.flat_map(|name| ways(name, arch)).map(|way| way.0).max();
        let is_new = newest.is_some_and(|newest| number > newest);
        Some(match self.default.1 & libc::SECCOMP_RET_ACTION_FULL {
            libc::SECCOMP_RET_ERRNO if is_new => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
            _ => self.default.1,
        })
    }
}

/// A filter returns for each call what the rules of its profile say.
pub fn seccomp(data: &[u8]) {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let mut input = Input::new(data);
    let mut archs = vec![ScmpArch::X8664];
    let more = input.byte();
    archs.extend((more & 1 != 0).then_some(ScmpArch::X86));
    archs.extend((more & 2 != 0).then_some(ScmpArch::X32));
    let default = input.pick(&ACTIONS[..7]);
    let mut rules = Vec::new();
    while !input.is_empty() && rules.len() < 12 {
        rules.push(Rule::new(&mut input));
    }
    let profile = Profile { default, archs, rules };
    let mut json = json!({"defaultAction": default.0, "listenerPath": "/run/agent",
        "syscalls": profile.rules.iter().map(Rule::entry).collect::<Vec<_>>(),
        "architectures": ["SCMP_ARCH_X86_64"]});
    for (arch, name) in [(ScmpArch::X86, "SCMP_ARCH_X86"), (ScmpArch::X32, "SCMP_ARCH_X32")] {
        if profile.archs.contains(&arch) {
            json["architectures"].as_array_mut().unwrap().push(name.into());
        }
    }
    let parsed: LinuxSeccomp = serde_json::from_value(json.clone()).unwrap();
    let mut warnings = Vec::new();
    let filter = compile(&parsed, &mut warnings);
    warnings.iter().for_each(|warning| assert_one_line(warning));
    let mut numbers = vec![0, 1, 335, 1000, X32, X32 | 1, X32 | 600, u32::MAX - 1, u32::MAX];
    for name in profile.rules.iter().flat_map(|rule| &rule.names) {
        for arch in &profile.archs {
            for (number, _) in ways(name, *arch) {
                numbers.extend([number.saturating_sub(1), number, number + 1]);
            }
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    let contradiction = numbers
        .iter()
        .any(|number| profile.archs.iter().any(|arch| profile.chain(*arch, *number).is_err()));
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => {
            assert_one_line(&error.to_string());
            assert!(error.to_string().contains("contradicts") && contradiction, "{json}: {error}");
            return;
        }
    };
    assert!(!contradiction, "{json}: a contradiction was taken");
    check_program(&filter.program);
    reached();
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    let mut random = hasher.finish();
    for number in numbers {
        for _ in 0..4 {
            let args: [u64; 6] = std::array::from_fn(|index| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let tests = profile.rules.iter().flat_map(|rule| &rule.tests);
                let near: Vec<u64> = tests
                    .filter(|test| test.index == index)
                    .flat_map(|test| {
                        let (value, two) = (test.value, test.two);
                        let around = [value.wrapping_sub(1), value.wrapping_add(1)];
                        [value, two, value & two, value ^ 1 << 32].into_iter().chain(around)
                    })
                    .chain([0, 1, 2, 23, 0x1_0017])
                    .collect();
                near[(random >> 33) as usize % near.len()]
            });
            for arch in [ScmpArch::X8664, ScmpArch::X86, ScmpArch::Aarch64] {
                let audit = audit_arch(arch).unwrap();
                let args =
                    if arch == ScmpArch::X86 { args.map(|arg| arg & 0xffff_ffff) } else { args };
                let expected = profile.answer(audit, number, args).unwrap();
                let found = run(&filter.program, audit, number, args);
                assert_eq!(found, expected, "{arch:?} {number:#x} {args:x?} by {json}");
            }
        }
    }
}

/// Splits an instruction into code, distances after a hit and a miss, and constant.
fn split(insn: &[u8]) -> (u16, usize, usize, u32) {
    let code = u16::from_ne_bytes([insn[0], insn[1]]);
    let k = u32::from_ne_bytes([insn[4], insn[5], insn[6], insn[7]]);
    (code, insn[2].into(), insn[3].into(), k)
}

/// Makes the checks of the kernel (seccomp_check_filter and bpf_check_classic).
fn check_program(program: &[u8]) {
    let insns: Vec<_> = program.chunks(8).map(split).collect();
    assert!(program.len().is_multiple_of(8) && (1..=4096).contains(&insns.len()));
    for (at, (code, hit, miss, k)) in insns.iter().enumerate() {
        let left = insns.len() - at - 1;
        match code {
            0x20 => assert!(k % 4 == 0 && *k < 64),
            0x54 | 0x06 => {}
            0x05 => assert!((*k as usize) < left),
            0x15 | 0x25 | 0x35 => assert!(*hit < left && *miss < left),
            other => panic!("instruction {other:#x}"),
        }
    }
    assert_eq!(insns.last().unwrap().0, 0x06);
}

/// Runs a program, as the kernel does.
fn run(program: &[u8], audit: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = [number.to_ne_bytes(), audit.to_ne_bytes(), [0; 4], [0; 4]].concat();
    args.iter().for_each(|arg| data.extend(arg.to_ne_bytes()));
    let (mut at, mut a) = (0, 0);
    loop {
        let (code, hit, miss, k) = split(&program[at * 8..]);
        at += 1;
        let branch = |is_hit: bool| if is_hit { hit } else { miss };
        match code {
            0x20 => {
                let word = &data[k as usize..k as usize + 4];
                a = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            }
            0x54 => a &= k,
            0x05 => at += k as usize,
            0x15 => at += branch(a == k),
            0x25 => at += branch(a > k),
            0x35 => at += branch(a >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}
