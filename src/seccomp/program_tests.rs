//! Compares programs with the meaning of their profiles.

use libseccomp::{ScmpArch, ScmpSyscall};
use oci_spec::runtime::LinuxSeccompOperator as Operator;
use serde_json::{Value, json};

use crate::seccomp::filter::{Call, run};
use crate::seccomp::names::audit_arch;
use crate::seccomp::{Filter, compile};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const ERRNO: u32 = libc::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
#[cfg(target_arch = "x86_64")]
const X32_BIT: u32 = 0x4000_0000;

/// A linear congruential generator (Knuth's MMIX), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn compiled(profile: &Value) -> Filter {
    compile(&serde_json::from_value(profile.clone()).unwrap(), &mut Vec::new()).unwrap()
}

fn answer(filter: &Filter, arch: ScmpArch, number: u32, args: [u64; 6]) -> u32 {
    let call = Call::with(number.into(), args);
    run(&filter.program, audit_arch(arch).unwrap(), &call).unwrap()
}

fn number(name: &str, arch: ScmpArch) -> Option<u32> {
    ScmpSyscall::from_name_by_arch(name, arch).ok()?.as_raw_syscall().try_into().ok()
}

/// A rule of a generated profile.
struct Rule {
    name: &'static str,
    args: Vec<(usize, Operator, u64, u64)>,
}

impl Rule {
    fn new(random: &mut Random, values: &[u64]) -> Rule {
        let names = [
            "read",
            "write",
            "personality",
            "clone",
            "clone3",
            "mkdirat",
            "ioctl",
            "prctl",
            "openat2",
            "futex",
            "io_uring_setup",
        ];
        let operators = crate::seccomp::names::OPERATORS;
        let name = random.pick(&names);
        let args = (0..random.pick(&[0, 1, 1, 2, 3])).map(|index| {
            (index, random.pick(&operators), random.pick(values), random.pick(values))
        });
        Rule { name, args: args.collect() }
    }

    fn holds(&self, args: [u64; 6]) -> bool {
        self.args.iter().all(|(index, operator, value, two)| {
            let arg = args[*index];
            match operator {
                Operator::ScmpCmpNe => arg != *value,
                Operator::ScmpCmpLt => arg < *value,
                Operator::ScmpCmpLe => arg <= *value,
                Operator::ScmpCmpEq => arg == *value,
                Operator::ScmpCmpGe => arg >= *value,
                Operator::ScmpCmpGt => arg > *value,
                Operator::ScmpCmpMaskedEq => arg & value == two & value,
            }
        })
    }
}

#[test]
fn generated_profiles_mean_what_they_say() {
    let mut random = Random(7);
    let narrow = [0, 1, 2, 40, 0x7e02_0000, 0xffff_ffff];
    let wide = [0, 1, 40, 0x7e02_0000, 0xffff_ffff, 1 << 32, (1 << 32) + 40, u64::MAX];
    for round in 0..150 {
        // Other architectures of the machine have arguments of 32 bits.
        let (archs, values) = match round % 2 {
            0 => (json!([]), &wide[..]),
            _ => (json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"]), &narrow[..]),
        };
        let rules: Vec<Rule> =
            (0..random.pick(&[1, 3, 10, 60])).map(|_| Rule::new(&mut random, values)).collect();
        let entry = |rule: &Rule| {
            let args = rule.args.iter().map(|(index, op, value, two)| {
                json!({"index": index, "op": op, "value": value, "valueTwo": two})
            });
            json!({"names": [rule.name], "action": "SCMP_ACT_LOG", "args": args.collect::<Value>()})
        };
        let filter = compiled(&json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs,
            "syscalls": rules.iter().map(entry).collect::<Value>()}));
        let native = ScmpArch::native();
        let others = [ScmpArch::X86, ScmpArch::X32, ScmpArch::Arm]
            .map(|arch| (round % 2 == 1).then_some(arch));
        for arch in others.into_iter().flatten().chain([native]) {
            if !crate::seccomp::build::can_occur(native, arch) {
                continue;
            }
            for rule in &rules {
                let Some(number) = number(rule.name, arch) else { continue };
                for _ in 0..40 {
                    let mut args = [(); 6].map(|()| random.pick(values));
                    if random.below(2) == 0 {
                        args[random.below(3)] ^= 1;
                    }
                    let hit = rules.iter().any(|r| r.name == rule.name && r.holds(args));
                    let expected = if hit { libc::SECCOMP_RET_LOG } else { ALLOW };
                    let found = answer(&filter, arch, number, args);
                    assert_eq!(found, expected, "{round}: {arch:?} {} {args:x?}", rule.name);
                }
            }
        }
    }
}

#[test]
fn every_number_has_its_own_action() {
    let names: Vec<String> =
        (0..300).filter_map(|n| ScmpSyscall::from(n).get_name().ok()).collect();
    let entries: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            // So many different actions that the program is longer than a conditional jump.
            let (action, errno) =
                if i % 3 == 0 { ("SCMP_ACT_TRACE", i) } else { ("SCMP_ACT_ERRNO", i) };
            json!({"names": [name], "action": action, "errnoRet": errno})
        })
        .collect();
    let filter = compiled(&json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": entries}));
    assert!(filter.program.len() / 8 > 2 * 255, "{}", filter.program.len() / 8);
    for (i, name) in names.iter().enumerate() {
        let action = if i % 3 == 0 { libc::SECCOMP_RET_TRACE } else { libc::SECCOMP_RET_ERRNO };
        let number = number(name, ScmpArch::native()).unwrap();
        assert_eq!(
            answer(&filter, ScmpArch::native(), number, [0; 6]),
            action | i as u32,
            "{name}"
        );
    }
}

#[test]
fn the_default_profile_is_short() {
    let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/seccomp-profiles/default.json"));
    let filter = compiled(&serde_json::from_slice(&text.unwrap()).unwrap());
    // libseccomp's program has 1,266 instructions.
    assert!(filter.program.len() / 8 < 400, "{}", filter.program.len() / 8);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn newer_calls_are_enosys_on_each_architecture() {
    let profile = |archs: Value| {
        compiled(&json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": archs,
            "syscalls": [{"names": ["read", "openat2", "set_tls"], "action": "SCMP_ACT_ALLOW"}]}))
    };
    let filter = profile(json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
    for (arch, bit) in [(ScmpArch::X8664, 0), (ScmpArch::X86, 0), (ScmpArch::X32, X32_BIT)] {
        for (number, expected) in [(436, ERRNO), (437, ALLOW), (438, ENOSYS), (3000, ENOSYS)] {
            assert_eq!(answer(&filter, arch, number | bit, [0; 6]), expected, "{arch:?} {number}");
        }
    }
    // Without x32 its calls are of a bad architecture, but for -1, by which a tracer skips a call.
    let filter = profile(json!([]));
    for (number, expected) in
        [(438, ENOSYS), (X32_BIT | 1, libc::SECCOMP_RET_KILL_THREAD), (u32::MAX, ERRNO)]
    {
        assert_eq!(answer(&filter, ScmpArch::X8664, number, [0; 6]), expected, "{number:#x}");
    }
    assert_eq!(answer(&filter, ScmpArch::Aarch64, 0, [0; 6]), libc::SECCOMP_RET_KILL_THREAD);
}

#[test]
#[cfg(target_arch = "aarch64")]
fn newer_calls_are_enosys_and_private_ones_are_not_newer() {
    let filter = compiled(&json!({"defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_ARM"],
        "syscalls": [{"names": ["read", "openat2", "set_tls"], "action": "SCMP_ACT_ALLOW"}]}));
    let both = [(436, ERRNO), (437, ALLOW), (438, ENOSYS), (3000, ENOSYS)];
    for (arch, number, expected) in both.into_iter().flat_map(|(number, expected)| {
        [ScmpArch::Aarch64, ScmpArch::Arm].map(|arch| (arch, number, expected))
    }) {
        assert_eq!(answer(&filter, arch, number, [0; 6]), expected, "{arch:?} {number}");
    }
    // cacheflush and set_tls.
    for (number, on_arm) in [(0xf_0002, ERRNO), (0xf_0005, ALLOW)] {
        assert_eq!(answer(&filter, ScmpArch::Arm, number, [0; 6]), on_arm, "{number:#x}");
        assert_eq!(answer(&filter, ScmpArch::Aarch64, number, [0; 6]), ENOSYS, "{number:#x}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_behind_a_multiplexer_are_found_in_both_ways() {
    let rule =
        |name: &str, args: Value| json!({"names": [name], "action": "SCMP_ACT_LOG", "args": args});
    let filter =
        compiled(&json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [rule("socket", json!([{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}])),
            rule("semop", json!([])), rule("accept4", json!([]))]}));
    let of = |number: u32, args: [u64; 2]| {
        answer(&filter, ScmpArch::X86, number, [args[0], args[1], 0, 0, 0, 0])
    };
    let hit = libc::SECCOMP_RET_LOG;
    // socket(2) itself; socketcall(2) hides the family in memory.
    assert_eq!([of(359, [40, 0]), of(359, [2, 0])], [hit, ALLOW]);
    assert_eq!([of(102, [1, 0]), of(102, [2, 0]), of(102, [18, 0])], [hit, ALLOW, hit]);
    assert_eq!([of(364, [0, 0]), of(117, [1, 0]), of(117, [2, 0])], [hit, hit, ALLOW]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn rules_hold_on_the_second_architecture_too() {
    // libseccomp 2.5.4 compiles this profile into a program without the rules for i386.
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["semop"], "action": "SCMP_ACT_LOG"},
            {"names": ["write"], "action": "SCMP_ACT_LOG", "args": [
                {"index": 0, "value": 0, "op": "SCMP_CMP_LE"},
                {"index": 1, "value": 40, "valueTwo": 40, "op": "SCMP_CMP_MASKED_EQ"}]}]});
    let filter = compiled(&profile);
    for (arch, number) in [(ScmpArch::X8664, 1), (ScmpArch::X86, 4), (ScmpArch::X32, X32_BIT | 1)] {
        let answers = [[0, 40], [0, 0], [1, 40]]
            .map(|[first, second]| answer(&filter, arch, number, [first, second, 0, 0, 0, 0]));
        assert_eq!(answers, [libc::SECCOMP_RET_LOG, ALLOW, ALLOW], "{arch:?}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn bits_that_the_kernel_ignores_do_not_hide_a_multiplexed_call() {
    let filter =
        compiled(&json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["shmget"], "action": "SCMP_ACT_LOG"}]}));
    let ipc = |call: u64| answer(&filter, ScmpArch::X86, 117, [call, 0, 0, 0, 0, 0]);
    // ipc(2) has a version in the upper half.
    assert_eq!(
        [ipc(23), ipc(0x1_0017), ipc(24)],
        [libc::SECCOMP_RET_LOG, libc::SECCOMP_RET_LOG, ALLOW]
    );
}

#[test]
#[cfg(target_arch = "x86_64")]
fn arguments_of_32_bits_are_below_larger_values() {
    let log = libc::SECCOMP_RET_LOG;
    for (op, value, expected) in [
        ("SCMP_CMP_LT", 1u64 << 32, log),
        ("SCMP_CMP_GE", 1 << 32, ALLOW),
        ("SCMP_CMP_EQ", (1 << 32) + 7, ALLOW),
        ("SCMP_CMP_NE", (1 << 32) + 7, log),
        ("SCMP_CMP_EQ", 7, log),
        // -1 in 64 bits.
        ("SCMP_CMP_NE", u64::MAX, log),
    ] {
        let filter = compiled(&json!({"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86"], "syscalls": [{"names": ["write"],
            "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": value, "op": op}]}]}));
        assert_eq!(
            answer(&filter, ScmpArch::X86, 4, [7, 0, 0, 0, 0, 0]),
            expected,
            "{op} {value:#x}"
        );
    }
    let minus_one = compiled(&json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86"], "syscalls": [{"names": ["write"], "action": "SCMP_ACT_LOG",
        "args": [{"index": 0, "value": u64::MAX, "op": "SCMP_CMP_EQ"}]}]}));
    assert_eq!(answer(&minus_one, ScmpArch::X86, 4, [0xffff_ffff, 0, 0, 0, 0, 0]), log);
}

#[test]
fn too_many_conditions_are_an_error() {
    let equal = |value: usize| json!({"index": 0, "value": value, "op": "SCMP_CMP_EQ"});
    for (names, count) in [(vec!["read"], 100_000), (vec!["read", "write", "close"], 1500)] {
        let args: Vec<Value> = (0..count).map(equal).collect();
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": names
            .iter()
            .map(|name| json!({"names": [name], "action": "SCMP_ACT_LOG", "args": args}))
            .chain([json!({"names": ["dup"], "action": "SCMP_ACT_LOG",
                "args": (count..count + 1500).map(equal).collect::<Vec<_>>()})])
            .collect::<Vec<_>>()});
        let profile = serde_json::from_value(profile).unwrap();
        let error = compile(&profile, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with("linux.seccomp: the filter has more instructions"), "{error}");
    }
}
