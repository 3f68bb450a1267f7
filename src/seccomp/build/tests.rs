//! The return values of compiled programs, computed by the interpreter.

use libseccomp::{ScmpArch, ScmpSyscall};
use serde_json::{Value, json};

use crate::seccomp::filter::{Call, run};
use crate::seccomp::names::{self, audit_arch};
use crate::seccomp::{Filter, compile};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const ERRNO: u32 = libc::SECCOMP_RET_ERRNO;

fn try_compile(profile: Value) -> (crate::Result<Filter>, Vec<String>) {
    let mut warnings = Vec::new();
    let filter = compile(&serde_json::from_value(profile).unwrap(), &mut warnings);
    (filter, warnings)
}

fn compiled(profile: Value) -> Filter {
    let (filter, warnings) = try_compile(profile);
    assert!(warnings.is_empty(), "{warnings:?}");
    filter.unwrap()
}

fn refused(profile: Value) -> String {
    try_compile(profile).0.unwrap_err().to_string()
}

fn answer(filter: &Filter, call: &str, args: [u64; 6]) -> u32 {
    answer_on(filter, ScmpArch::native(), call, args)
}

fn answer_on(filter: &Filter, arch: ScmpArch, call: &str, args: [u64; 6]) -> u32 {
    let number = ScmpSyscall::from_name_by_arch(call, arch).unwrap().as_raw_syscall() as u32;
    let call = Call { number: number.into(), args: args.map(Some) };
    run(&filter.program, audit_arch(arch).unwrap(), &call).unwrap()
}

fn rule(name: &str, action: &str) -> Value {
    json!({"names": [name], "action": action})
}

fn with(default: &str, syscalls: Value) -> Value {
    json!({"defaultAction": default, "syscalls": syscalls, "listenerPath": "/run/agent"})
}

#[test]
fn every_action_reaches_the_kernel_as_its_own_value() {
    for (action, value) in [
        ("SCMP_ACT_KILL", libc::SECCOMP_RET_KILL_THREAD),
        ("SCMP_ACT_KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD),
        ("SCMP_ACT_KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS),
        ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP),
        ("SCMP_ACT_ERRNO", ERRNO | 1),
        ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE | 1),
        ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
        ("SCMP_ACT_NOTIFY", libc::SECCOMP_RET_USER_NOTIF),
    ] {
        let filter = compiled(with("SCMP_ACT_ALLOW", json!([rule("mkdirat", action)])));
        assert_eq!(answer(&filter, "mkdirat", [0; 6]), value, "{action}");
        assert_eq!(answer(&filter, "openat", [0; 6]), ALLOW, "{action}");
        assert_eq!(filter.notify, action == "SCMP_ACT_NOTIFY");
        assert_eq!(filter.flags, if filter.notify { 4 | 8 } else { 4 });
        if action == "SCMP_ACT_NOTIFY" {
            continue;
        }
        let filter = compiled(with(action, json!([rule("mkdirat", "SCMP_ACT_ALLOW")])));
        assert_eq!(answer(&filter, "mkdirat", [0; 6]), ALLOW, "{action}");
        // Below mkdirat in every table, so not newer than the profile.
        assert_eq!(answer(&filter, "flock", [0; 6]), value, "default {action}");
    }
}

#[test]
fn values_are_kept() {
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 6,
        "syscalls": [
            {"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["openat"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535},
            {"names": ["dup3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0},
            {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 6}]}));
    assert_eq!(answer(&filter, "flock", [0; 6]), ERRNO | 6);
    assert_eq!(answer(&filter, "mkdirat", [0; 6]), ERRNO | 38);
    assert_eq!(answer(&filter, "openat", [0; 6]), libc::SECCOMP_RET_TRACE | 65535);
    assert_eq!(answer(&filter, "dup3", [0; 6]), ERRNO);
    assert_eq!(answer(&filter, "dup", [0; 6]), ERRNO | 6);
}

#[test]
fn every_operator_compares_64_bits() {
    const BIG: u64 = 0x1_0000_0005;
    for (op, two, yes, no) in [
        ("SCMP_CMP_NE", 0, [5, BIG + 1], [BIG, BIG]),
        ("SCMP_CMP_LT", 0, [BIG - 1, 0], [BIG, 1 << 33]),
        ("SCMP_CMP_LE", 0, [BIG, 7], [BIG + 1, 1 << 33]),
        ("SCMP_CMP_EQ", 0, [BIG, BIG], [5, BIG + 1]),
        ("SCMP_CMP_GE", 0, [BIG, 1 << 33], [BIG - 1, 7]),
        ("SCMP_CMP_GT", 0, [BIG + 1, 1 << 33], [BIG, 7]),
        ("SCMP_CMP_MASKED_EQ", 4, [4, 0xc], [BIG, 0]),
        ("SCMP_CMP_MASKED_EQ", 1u64 << 32, [1 << 32, (1 << 32) | 8], [BIG, 4]),
    ] {
        let filter = compiled(with(
            "SCMP_ACT_ALLOW",
            json!([{"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 5, "value": BIG, "valueTwo": two, "op": op}]}]),
        ));
        for value in yes {
            assert_eq!(answer(&filter, "mkdirat", [0, 0, 0, 0, 0, value]), ERRNO | 1, "{op}");
        }
        for value in no {
            assert_eq!(answer(&filter, "mkdirat", [0, 0, 0, 0, 0, value]), ALLOW, "{op} {value}");
        }
    }
}

#[test]
fn conditions_are_anded_unless_they_share_an_argument() {
    let profile = |second: usize| {
        with(
            "SCMP_ACT_ALLOW",
            json!([{"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": second, "value": 2, "op": "SCMP_CMP_EQ"}]}]),
        )
    };
    let both = compiled(profile(1));
    assert_eq!(answer(&both, "mkdirat", [1, 2, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(answer(&both, "mkdirat", [1, 0, 0, 0, 0, 0]), ALLOW);
    let either = compiled(profile(0));
    assert_eq!(answer(&either, "mkdirat", [1, 0, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(answer(&either, "mkdirat", [2, 0, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(answer(&either, "mkdirat", [3, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn rules_hold_for_all_architectures_of_the_machine() {
    let mut profile = with("SCMP_ACT_ALLOW", json!([rule("mkdirat", "SCMP_ACT_ERRNO")]));
    profile["architectures"] = names::archs().into();
    let filter = compiled(profile.clone());
    let (machine, other) = if cfg!(target_arch = "x86_64") {
        (vec![ScmpArch::X8664, ScmpArch::X86, ScmpArch::X32], ScmpArch::Aarch64)
    } else if cfg!(target_arch = "aarch64") {
        (vec![ScmpArch::Aarch64, ScmpArch::Arm], ScmpArch::X8664)
    } else {
        panic!("this test does not know the architectures of this machine");
    };
    for arch in machine {
        assert_eq!(answer_on(&filter, arch, "mkdirat", [0; 6]), ERRNO | 1, "{arch:?}");
        assert_eq!(answer_on(&filter, arch, "close", [0; 6]), ALLOW, "{arch:?}");
    }
    // Rules for impossible architectures are left out, and their calls are killed all the same.
    assert_eq!(answer_on(&filter, other, "close", [0; 6]), libc::SECCOMP_RET_KILL);

    // The native architecture is always included, others only if the profile lists them.
    profile["architectures"] = json!(["SCMP_ARCH_NATIVE"]);
    let filter = compiled(profile);
    assert_eq!(answer(&filter, "mkdirat", [0; 6]), ERRNO | 1);
    let second = if cfg!(target_arch = "x86_64") { ScmpArch::X86 } else { ScmpArch::Arm };
    assert_eq!(answer_on(&filter, second, "close", [0; 6]), libc::SECCOMP_RET_KILL);
}

#[test]
fn architectures_that_libseccomp_does_not_know_are_named() {
    let all = ["LOONGARCH64", "M68K", "SH", "SHEB"].map(|arch| format!("SCMP_ARCH_{arch}"));
    for arch in all.into_iter().filter(|arch| !names::archs().contains(arch)) {
        let error = refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [arch]}));
        assert!(error.contains(&arch) && error.contains("does not know it"), "{error}");
    }
}

#[test]
fn unknown_names_are_told_once_in_one_line() {
    let (filter, warnings) = try_compile(with(
        "SCMP_ACT_ERRNO",
        json!([rule("no_such", "SCMP_ACT_ALLOW"), rule("mkdirat", "SCMP_ACT_ALLOW"),
            {"names": ["no_such", "nor\nthis", "x".repeat(80)], "action": "SCMP_ACT_ERRNO"}]),
    ));
    assert_eq!(answer(&filter.unwrap(), "mkdirat", [0; 6]), ALLOW);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].matches("no_such").count(), 1, "{warnings:?}");
    assert!(warnings[0].contains("nor\\nthis") && !warnings[0].contains('\n'), "{warnings:?}");
}

#[test]
fn redundant_and_repeated_rules_do_no_harm() {
    let filter = compiled(with(
        "SCMP_ACT_ERRNO",
        json!([
            rule("mkdirat", "SCMP_ACT_ERRNO"),
            rule("close", "SCMP_ACT_ALLOW"),
            rule("close", "SCMP_ACT_ALLOW")
        ]),
    ));
    assert_eq!(answer(&filter, "mkdirat", [0; 6]), ERRNO | 1);
    assert_eq!(answer(&filter, "close", [0; 6]), ALLOW);
}

#[test]
fn newer_calls_are_unknown_rather_than_forbidden() {
    let filter = compiled(with("SCMP_ACT_ERRNO", json!([rule("mkdirat", "SCMP_ACT_ALLOW")])));
    let enosys = ERRNO | libc::ENOSYS as u32;
    assert_eq!(answer(&filter, "flock", [0; 6]), ERRNO | 1);
    assert_eq!(answer(&filter, "openat2", [0; 6]), enosys);
    let filter = compiled(with("SCMP_ACT_KILL", json!([rule("mkdirat", "SCMP_ACT_ALLOW")])));
    assert_eq!(answer(&filter, "openat2", [0; 6]), libc::SECCOMP_RET_KILL);
}

#[test]
fn many_rules_answer_by_number() {
    let numbers: Vec<i32> = (0..300).collect();
    let names: Vec<String> =
        numbers.iter().filter_map(|n| ScmpSyscall::from(*n).get_name().ok()).collect();
    let big = compiled(with(
        "SCMP_ACT_ERRNO",
        json!([{"names": names.iter().step_by(2).collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW"}]),
    ));
    for (i, name) in names.iter().enumerate().take(names.len() - 2) {
        let expected = if i % 2 == 0 { ALLOW } else { ERRNO | 1 };
        assert_eq!(answer(&big, name, [0; 6]), expected, "{name}");
    }
}

#[test]
fn a_profile_without_rules_is_its_default_action() {
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO"}));
    assert_eq!(answer(&filter, "close", [0; 6]), ERRNO | 1);
    assert_eq!(answer(&filter, "openat2", [0; 6]), ERRNO | 1);
}

#[test]
fn the_first_of_two_rules_for_a_call_holds_and_an_unconditional_one_above_all() {
    // libseccomp's behaviour, which runc has too; asserted here so that a change is noticed.
    let conditional = |action: &str| {
        json!({"names": ["mkdirat"], "action": action,
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]})
    };
    let kill = rule("mkdirat", "SCMP_ACT_KILL");
    let allow = rule("mkdirat", "SCMP_ACT_ALLOW");
    for (rules, expected) in [
        (json!([kill, allow]), libc::SECCOMP_RET_KILL),
        (json!([allow, kill]), ALLOW),
        (json!([conditional("SCMP_ACT_ALLOW"), kill]), libc::SECCOMP_RET_KILL),
        (json!([kill, conditional("SCMP_ACT_ALLOW")]), libc::SECCOMP_RET_KILL),
    ] {
        let filter = compiled(with("SCMP_ACT_ERRNO", rules));
        assert_eq!(answer(&filter, "mkdirat", [1, 0, 0, 0, 0, 0]), expected);
    }
    let error = refused(with(
        "SCMP_ACT_ERRNO",
        json!([conditional("SCMP_ACT_ALLOW"), conditional("SCMP_ACT_KILL")]),
    ));
    assert!(error.starts_with("linux.seccomp.syscalls[1]: \"mkdirat\": contradicts"), "{error}");
}
