//! The rules of a profile that need neither libseccomp nor a kernel.

use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp};
use nix::errno::Errno;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};

use crate::{Error, Result};

/// A system call has six arguments.
const ARGUMENTS: usize = 6;

/// libseccomp takes errno values below the kernel's MAX_ERRNO; above it the kernel would return
/// another number than the one asked for.
const MAX_ERRNO: u32 = 4095;

/// Between loading the filter and handing over its listener init has to write to its parent. If that
/// very call waited for an agent which does not have the listener yet, create would hang for ever.
const NEVER_NOTIFIED: [&str; 1] = ["write"];

/// A profile whose values are all in range, in libseccomp's terms.
#[derive(Debug)]
pub(super) struct Checked<'a> {
    pub default: ScmpAction,
    pub rules: Vec<Rule<'a>>,
    /// The `SECCOMP_FILTER_FLAG_*` that were asked for by name.
    pub asked_flags: u32,
    /// What is to be loaded with: the above, or the default where the profile has no `flags`.
    pub flags: u32,
    pub notify: bool,
}

/// One entry of `syscalls`.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub names: &'a [String],
    pub action: ScmpAction,
    /// Each element is a rule of its own (they are ORed); the conditions inside are ANDed. A single
    /// empty element: no condition.
    pub alternatives: Vec<Vec<ScmpArgCompare>>,
}

/// Checks the whole profile; errors name the field and its value.
pub(super) fn check(profile: &LinuxSeccomp) -> Result<Checked<'_>> {
    let default = action(
        profile.default_action(),
        profile.default_errno_ret(),
        "linux.seccomp.defaultAction",
        "linux.seccomp.defaultErrnoRet",
    )?;
    if default == ScmpAction::Notify {
        return Err(Error::invalid(
            "linux.seccomp.defaultAction",
            "SCMP_ACT_NOTIFY",
            "an agent cannot answer for the system calls that hand it the listener; \
             name the system calls that it shall answer for",
        ));
    }
    let syscalls = profile.syscalls().as_deref().unwrap_or_default();
    let rules = syscalls
        .iter()
        .enumerate()
        .map(|(i, entry)| rule(entry, &format!("linux.seccomp.syscalls[{i}]")))
        .collect::<Result<Vec<_>>>()?;
    let notify = rules.iter().any(|rule| rule.action == ScmpAction::Notify);
    listener(profile, notify)?;
    let asked_flags = asked_flags(profile, notify)?;
    let mut flags = match profile.flags() {
        Some(_) => asked_flags,
        // Without this flag every filter would turn on the Spectre v4 mitigation, which slows the
        // container down; runc's default as well. Every kernel this runtime runs on knows it (4.17).
        None => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32,
    };
    if notify {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
    }
    Ok(Checked { default, rules, asked_flags, flags, notify })
}

fn rule<'a>(entry: &'a LinuxSyscall, field: &str) -> Result<Rule<'a>> {
    if entry.names().is_empty() {
        return Err(Error::invalid_field(
            format!("{field}.names"),
            "must name at least one system call",
        ));
    }
    if entry.names().iter().any(String::is_empty) {
        return Err(Error::invalid(format!("{field}.names"), "", "is no name of a system call"));
    }
    let action = action(
        entry.action(),
        entry.errno_ret(),
        &format!("{field}.action"),
        &format!("{field}.errnoRet"),
    )?;
    if action == ScmpAction::Notify {
        for never in NEVER_NOTIFIED {
            if entry.names().iter().any(|name| name == never) {
                return Err(Error::invalid(
                    format!("{field}.names"),
                    never,
                    "SCMP_ACT_NOTIFY is not possible for it: it hands the listener to the agent",
                ));
            }
        }
    }
    let args = entry.args().as_deref().unwrap_or_default();
    Ok(Rule { names: entry.names(), action, alternatives: alternatives(args, field)? })
}

fn action(
    action: Action,
    errno: Option<u32>,
    field: &str,
    errno_field: &str,
) -> Result<ScmpAction> {
    let value = errno.unwrap_or(Errno::EPERM as u32);
    let without_value = match action {
        Action::ScmpActErrno if value < MAX_ERRNO => return Ok(ScmpAction::Errno(value as i32)),
        Action::ScmpActErrno => {
            return Err(Error::invalid(errno_field, value, "is no errno: must be below 4095"));
        }
        Action::ScmpActTrace => {
            return u16::try_from(value).map(ScmpAction::Trace).map_err(|_| {
                Error::invalid(errno_field, value, "SCMP_ACT_TRACE takes a value up to 65535")
            });
        }
        // The old name says process, the kernel has always killed the thread.
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActNotify => ScmpAction::Notify,
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActAllow => ScmpAction::Allow,
    };
    match errno {
        None => Ok(without_value),
        Some(errno) => Err(Error::invalid(
            errno_field,
            errno,
            format!("{field} is {action}, which returns no value"),
        )),
    }
}

/// libseccomp takes one condition for each argument. Where a profile has several for the same one,
/// runc makes a rule of each condition (all of them, also those of other arguments), which ORs what
/// would otherwise be ANDed. Profiles in use rely on it, so it is kept.
fn alternatives(args: &[LinuxSeccompArg], field: &str) -> Result<Vec<Vec<ScmpArgCompare>>> {
    let mut seen = [false; ARGUMENTS];
    let mut twice = false;
    let mut conditions = Vec::with_capacity(args.len());
    for (i, arg) in args.iter().enumerate() {
        let Some(seen) = seen.get_mut(arg.index()) else {
            return Err(Error::invalid(
                format!("{field}.args[{i}].index"),
                arg.index(),
                "a system call has the arguments 0 to 5",
            ));
        };
        twice |= std::mem::replace(seen, true);
        conditions.push(condition(arg));
    }
    Ok(if twice { conditions.into_iter().map(|c| vec![c]).collect() } else { vec![conditions] })
}

fn condition(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let (op, datum) = match arg.op() {
        Operator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        Operator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        Operator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        Operator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        Operator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        Operator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        // (argument & value) == valueTwo; the only operator which looks at valueTwo.
        Operator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    // `alternatives` has seen that the index is below six.
    ScmpArgCompare::new(arg.index() as u32, op, datum)
}

fn listener(profile: &LinuxSeccomp, notify: bool) -> Result<()> {
    let path = profile.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    if notify && !path {
        return Err(Error::invalid_field(
            "linux.seccomp.listenerPath",
            "must be set, since a rule has the action SCMP_ACT_NOTIFY",
        ));
    }
    match profile.listener_metadata().as_deref() {
        Some(metadata) if !metadata.is_empty() && !path => Err(Error::invalid_field(
            "linux.seccomp.listenerMetadata",
            "must not be set without linux.seccomp.listenerPath",
        )),
        _ => Ok(()),
    }
}

fn asked_flags(profile: &LinuxSeccomp, notify: bool) -> Result<u32> {
    let mut flags = 0;
    for flag in profile.flags().as_deref().unwrap_or_default() {
        flags |= match flag {
            // Init has a single thread, so there is nobody to synchronise with: what the flag asks
            // for holds without it, and together with a listener the kernel refuses it.
            Flag::SeccompFilterFlagTsync => 0,
            Flag::SeccompFilterFlagWaitKillableRecv if !notify => {
                return Err(Error::invalid(
                    "linux.seccomp.flags",
                    flag.to_string(),
                    "needs a rule with the action SCMP_ACT_NOTIFY",
                ));
            }
            flag => flag_value(*flag),
        };
    }
    Ok(flags)
}

/// The kernel's value of a flag.
pub(super) fn flag_value(flag: Flag) -> u32 {
    let value = match flag {
        Flag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        Flag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
        Flag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        Flag::SeccompFilterFlagWaitKillableRecv => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    };
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(profile: Value) -> String {
        let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
        check(&profile).unwrap_err().to_string()
    }

    fn one(entry: Value) -> Value {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]})
    }

    #[test]
    fn values_are_only_for_actions_that_return_one() {
        let error = refused(json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}));
        assert!(error.starts_with("linux.seccomp.defaultErrnoRet: 1: "), "{error}");
        let error =
            refused(one(json!({"names": ["a"], "action": "SCMP_ACT_ALLOW", "errnoRet": 38})));
        assert!(error.starts_with("linux.seccomp.syscalls[0].errnoRet: 38: "), "{error}");
        let error =
            refused(one(json!({"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095})));
        assert!(error.contains("errnoRet: 4095: is no errno"), "{error}");
        let error =
            refused(one(json!({"names": ["a"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})));
        assert!(error.contains("errnoRet: 65536: "), "{error}");
    }

    #[test]
    fn names_and_indexes_are_checked() {
        let error = refused(one(json!({"names": [], "action": "SCMP_ACT_KILL"})));
        assert!(error.starts_with("linux.seccomp.syscalls[0].names: "), "{error}");
        let error = refused(one(json!({"names": ["open", ""], "action": "SCMP_ACT_KILL"})));
        assert!(error.starts_with("linux.seccomp.syscalls[0].names: \"\": "), "{error}");
        let error = refused(one(json!({"names": ["a"], "action": "SCMP_ACT_KILL", "args": [
            {"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]})));
        assert!(error.starts_with("linux.seccomp.syscalls[0].args[0].index: 6: "), "{error}");
    }

    #[test]
    fn notify_needs_a_listener_and_an_initiative() {
        let notify = |name: &str| json!({"names": [name], "action": "SCMP_ACT_NOTIFY"});
        let error = refused(one(notify("mkdir")));
        assert!(error.starts_with("linux.seccomp.listenerPath: must be set"), "{error}");
        let error = refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s",
            "syscalls": [notify("write")]}));
        assert!(error.contains("syscalls[0].names: \"write\": "), "{error}");
        let error = refused(json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"}));
        assert!(error.starts_with("linux.seccomp.defaultAction: "), "{error}");
        let error = refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}));
        assert!(error.starts_with("linux.seccomp.listenerMetadata: "), "{error}");
        let error = refused(json!({"defaultAction": "SCMP_ACT_ALLOW",
            "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}));
        assert!(error.starts_with("linux.seccomp.flags: "), "{error}");
    }

    #[test]
    fn flags_default_only_when_absent() {
        let flags = |flags: Value| {
            let mut profile = one(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}));
            profile["listenerPath"] = json!("/s");
            profile["flags"] = flags;
            check(&serde_json::from_value(profile).unwrap()).unwrap().flags
        };
        assert_eq!(flags(Value::Null), 4 | 8);
        assert_eq!(flags(json!([])), 8);
        assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC"])), 8);
        assert_eq!(
            flags(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])),
            2 | 8 | 32
        );
    }

    #[test]
    fn several_conditions_on_one_argument_are_alternatives() {
        let count = |second: usize| {
            let profile = one(json!({"names": ["clone"], "action": "SCMP_ACT_KILL", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": second, "value": 2, "op": "SCMP_CMP_EQ"}]}));
            let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
            check(&profile).unwrap().rules[0].alternatives.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(count(1), [2]);
        assert_eq!(count(0), [1, 1]);
    }
}
