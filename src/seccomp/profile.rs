//! Parses a seccomp profile by the rules that depend neither on libseccomp nor on the kernel.

use std::path::Path;

use nix::errno::Errno;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::names::flag_value;
use crate::{Error, Result};

/// The number of arguments of a system call.
const ARGUMENTS: usize = 6;

/// The largest error number that libseccomp, and therefore runc, accepts.
const MAX_ERRNO: u32 = 4094;

/// The largest value for a tracer, which gets 16 bits (`SECCOMP_RET_DATA`).
const MAX_TRACE: u32 = 65_535;

/// A system call that must not wait for the agent. Init writes to its parent between loading the
/// filter and sending the listener; if that call waited for an agent without a listener, create
/// would hang forever.
const NEVER_NOTIFIED: &str = "write";

/// A valid profile. Actions are `SECCOMP_RET_*` values.
#[derive(Debug)]
pub(super) struct Profile<'a> {
    pub default: u32,
    pub architectures: &'a [Arch],
    pub rules: Vec<Rule<'a>>,
    /// The `SECCOMP_FILTER_FLAG_*` that the profile names.
    pub named_flags: u32,
    /// The flags to load the filter with: those of the profile, or the default if the profile has
    /// no `flags`.
    pub flags: u32,
    /// Whether a rule has the action `SCMP_ACT_NOTIFY`.
    pub notify: bool,
}

/// An entry of `syscalls`.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub names: &'a [String],
    pub action: u32,
    /// The elements are ORed; the conditions in an element are ANDed. A single empty element means no
    /// condition.
    pub alternatives: Vec<Vec<Condition>>,
}

/// A comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// From 0 to 5.
    pub index: usize,
    pub operator: Operator,
    pub value: u64,
    /// The expected bits of an argument masked by `value`, for `SCMP_CMP_MASKED_EQ` alone.
    pub two: u64,
}

impl Profile<'_> {
    /// Parses the profile; errors name the field and its value.
    pub fn new(profile: &LinuxSeccomp) -> Result<Profile<'_>> {
        let field = || "linux.seccomp.defaultErrnoRet".to_owned();
        let default = action(profile.default_action(), profile.default_errno_ret(), &field)?;
        if default == libc::SECCOMP_RET_USER_NOTIF {
            let why =
                "cannot be the default: nobody could answer for the calls of the runtime itself";
            return Err(Error::invalid("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY", why));
        }
        let listener = listener(profile)?;
        let syscalls = profile.syscalls().as_deref().unwrap_or_default();
        let rules = syscalls
            .iter()
            .enumerate()
            .map(|(index, entry)| Rule::new(index, entry, listener))
            .collect::<Result<Vec<_>>>()?;
        let notify = rules.iter().any(|rule| rule.action == libc::SECCOMP_RET_USER_NOTIF);
        let named_flags = named_flags(profile, notify)?;
        let mut flags = match profile.flags() {
            Some(_) => named_flags,
            // Without this flag every filter would enable the Spectre v4 mitigation, which slows
            // the container down. It is runc's default too.
            None => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32,
        };
        if notify {
            flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
        }
        let architectures = profile.architectures().as_deref().unwrap_or_default();
        crate::log::debug(format_args!("seccomp filter flags: {flags}"));
        Ok(Profile { default, architectures, rules, named_flags, flags, notify })
    }
}

impl<'a> Rule<'a> {
    fn new(index: usize, entry: &'a LinuxSyscall, listener: Option<&Path>) -> Result<Rule<'a>> {
        let field = |name: &str| format!("linux.seccomp.syscalls[{index}].{name}");
        let names = entry.names();
        if names.is_empty() {
            return Err(Error::invalid_field(field("names"), "must hold at least one name"));
        }
        if let Some(at) = names.iter().position(String::is_empty) {
            return Err(Error::invalid(field(&format!("names[{at}]")), "", "must not be empty"));
        }
        let args = entry.args().as_deref().unwrap_or_default();
        let alternatives = alternatives(args, &field)?;
        let action = action(entry.action(), entry.errno_ret(), &|| field("errnoRet"))?;
        if action == libc::SECCOMP_RET_USER_NOTIF {
            if let Some(at) = names.iter().position(|name| name == NEVER_NOTIFIED) {
                let why = "SCMP_ACT_NOTIFY cannot be used for the write syscall: the runtime itself \
                           needs it";
                let field = field(&format!("names[{at}]"));
                return Err(Error::invalid(field, NEVER_NOTIFIED, why));
            }
            if listener.is_none() {
                let why = "needs linux.seccomp.listenerPath";
                return Err(Error::invalid(field("action"), "SCMP_ACT_NOTIFY", why));
            }
        }
        Ok(Rule { names, action, alternatives })
    }
}

/// Parses an action with its error number, which only two actions can return.
fn action(action: Action, errno: Option<u32>, field: &dyn Fn() -> String) -> Result<u32> {
    let value = |max: u32| match errno {
        None => Ok(Errno::EPERM as u32),
        Some(value) if value <= max => Ok(value),
        Some(value) => Err(Error::invalid(field(), value, format!("must be from 0 to {max}"))),
    };
    let without_value = match action {
        Action::ScmpActErrno => return Ok(libc::SECCOMP_RET_ERRNO | value(MAX_ERRNO)?),
        Action::ScmpActTrace => return Ok(libc::SECCOMP_RET_TRACE | value(MAX_TRACE)?),
        // The old name suggests a process, but the kernel has always killed the thread.
        Action::ScmpActKill | Action::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        Action::ScmpActNotify => libc::SECCOMP_RET_USER_NOTIF,
        Action::ScmpActLog => libc::SECCOMP_RET_LOG,
        Action::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
    };
    match errno {
        None => Ok(without_value),
        Some(errno) => {
            let why = "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE return a number";
            Err(Error::invalid(field(), errno, why))
        }
    }
}

/// Parses the conditions of an entry. If an entry has several conditions on an argument, each
/// condition is an alternative, as in runc: this ORs conditions that would otherwise be ANDed, and
/// existing profiles rely on it.
fn alternatives(
    args: &[LinuxSeccompArg],
    field: &dyn Fn(&str) -> String,
) -> Result<Vec<Vec<Condition>>> {
    let mut seen = [false; ARGUMENTS];
    let mut repeated = false;
    let mut conditions = Vec::with_capacity(args.len());
    for (i, arg) in args.iter().enumerate() {
        let (index, operator, value) = (arg.index(), arg.op(), arg.value());
        let Some(seen) = seen.get_mut(index) else {
            let field = field(&format!("args[{i}].index"));
            return Err(Error::invalid(field, index, "must be from 0 to 5"));
        };
        repeated |= std::mem::replace(seen, true);
        // (argument & value) == valueTwo; the only operator that uses valueTwo.
        let masked = operator == Operator::ScmpCmpMaskedEq;
        let two = arg.value_two().filter(|_| masked).unwrap_or(0);
        conditions.push(Condition { index, operator, value, two });
    }
    Ok(if repeated { conditions.into_iter().map(|c| vec![c]).collect() } else { vec![conditions] })
}

/// Returns `listenerPath`. Metadata without a path is an error: it has no receiver.
fn listener(profile: &LinuxSeccomp) -> Result<Option<&Path>> {
    let path = profile.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty());
    match profile.listener_metadata().as_deref() {
        Some(metadata) if !metadata.is_empty() && path.is_none() => {
            let field = "linux.seccomp.listenerMetadata";
            Err(Error::invalid(field, metadata, "needs linux.seccomp.listenerPath"))
        }
        _ => Ok(path),
    }
}

fn named_flags(profile: &LinuxSeccomp, notify: bool) -> Result<u32> {
    let mut flags = 0;
    for (index, flag) in profile.flags().iter().flatten().enumerate() {
        flags |= match flag {
            // Init has a single thread, so this flag has no effect; the kernel refuses it together
            // with a listener.
            Flag::SeccompFilterFlagTsync => 0,
            Flag::SeccompFilterFlagWaitKillableRecv if !notify => {
                let field = format!("linux.seccomp.flags[{index}]");
                let why = "needs a rule with the action SCMP_ACT_NOTIFY";
                return Err(Error::invalid(field, flag.to_string(), why));
            }
            flag => flag_value(*flag),
        };
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(profile: Value) -> String {
        let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
        Profile::new(&profile).unwrap_err().to_string()
    }

    fn one(entry: Value) -> Value {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]})
    }

    #[test]
    fn a_flag_of_listeners_needs_one() {
        let error = refused(json!({"defaultAction": "SCMP_ACT_ALLOW",
            "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}));
        assert!(error.starts_with("linux.seccomp.flags[0]: "), "{error}");
    }

    #[test]
    fn flags_default_only_when_absent() {
        let flags = |flags: Value| {
            let mut profile = one(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}));
            profile["listenerPath"] = json!("/s");
            profile["flags"] = flags;
            Profile::new(&serde_json::from_value(profile).unwrap()).unwrap().flags
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
            let parsed = Profile::new(&profile).unwrap();
            parsed.rules[0].alternatives.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(count(1), [2]);
        assert_eq!(count(0), [1, 1]);
    }
}
