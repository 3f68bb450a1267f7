//! linux.seccomp, as far as libseccomp need not be asked.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, Spec};

use super::{Given, each, linux};
use crate::{Error, Result};

/// System calls have six arguments.
const MAX_INDEX: usize = 5;
/// `MAX_ERRNO`: the kernel would cut a larger error number to this one in silence.
const MAX_ERRNO: u32 = 4095;
/// `SECCOMP_RET_DATA`: the 16 bits a tracer gets.
const MAX_TRACE: u32 = 65535;

fn seccomp(spec: &Spec) -> Option<&LinuxSeccomp> {
    linux(spec)?.seccomp().as_ref()
}

/// config-linux.md, "Seccomp": at least one name, and arguments that exist.
pub fn rules(spec: &Spec, _: &Given) -> Result<()> {
    let Some(seccomp) = seccomp(spec) else { return Ok(()) };
    for (index, syscall) in each(seccomp.syscalls()) {
        let field = |name: &str| format!("linux.seccomp.syscalls[{index}].{name}");
        if syscall.names().is_empty() {
            return Err(Error::invalid_field(field("names"), "must hold at least one name"));
        }
        if let Some(at) = syscall.names().iter().position(String::is_empty) {
            return Err(Error::invalid(field(&format!("names[{at}]")), "", "must not be empty"));
        }
        for (at, arg) in each(syscall.args()) {
            if arg.index() > MAX_INDEX {
                let field = field(&format!("args[{at}].index"));
                return Err(Error::invalid(field, arg.index(), "must be from 0 to 5"));
            }
        }
    }
    Ok(())
}

/// config-linux.md, "Seccomp": an error number only where the action can return one.
pub fn errno(spec: &Spec, _: &Given) -> Result<()> {
    let Some(seccomp) = seccomp(spec) else { return Ok(()) };
    fits(
        || "linux.seccomp.defaultErrnoRet".to_owned(),
        seccomp.default_action(),
        seccomp.default_errno_ret(),
    )?;
    for (index, syscall) in each(seccomp.syscalls()) {
        let field = || format!("linux.seccomp.syscalls[{index}].errnoRet");
        fits(field, syscall.action(), syscall.errno_ret())?;
    }
    Ok(())
}

fn fits(field: impl Fn() -> String, action: Action, errno: Option<u32>) -> Result<()> {
    let Some(errno) = errno else { return Ok(()) };
    let max = match action {
        Action::ScmpActErrno => MAX_ERRNO,
        Action::ScmpActTrace => MAX_TRACE,
        _ => {
            let why = "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE return a number";
            return Err(Error::invalid(field(), errno, why));
        }
    };
    if errno > max {
        return Err(Error::invalid(field(), errno, format!("must be from 0 to {max}")));
    }
    Ok(())
}

/// seccomp_unotify(2): the runtime itself still writes when the filter is in place, and nobody
/// would answer.
pub fn notify(spec: &Spec, _: &Given) -> Result<()> {
    let Some(seccomp) = seccomp(spec) else { return Ok(()) };
    if seccomp.default_action() == Action::ScmpActNotify {
        let why = "cannot be the default: nobody could answer for the calls of the runtime itself";
        return Err(Error::invalid("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY", why));
    }
    let listener =
        seccomp.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    for (index, syscall) in each(seccomp.syscalls()) {
        if syscall.action() != Action::ScmpActNotify {
            continue;
        }
        if let Some(at) = syscall.names().iter().position(|name| name == "write") {
            let field = format!("linux.seccomp.syscalls[{index}].names[{at}]");
            let why = "SCMP_ACT_NOTIFY cannot be used for it: the runtime itself needs it";
            return Err(Error::invalid(field, "write", why));
        }
        if !listener {
            let field = format!("linux.seccomp.syscalls[{index}].action");
            return Err(Error::invalid(
                field,
                "SCMP_ACT_NOTIFY",
                "needs linux.seccomp.listenerPath",
            ));
        }
    }
    match seccomp.listener_metadata() {
        Some(metadata) if !metadata.is_empty() && !listener => {
            let field = "linux.seccomp.listenerMetadata";
            Err(Error::invalid(field, metadata, "needs linux.seccomp.listenerPath"))
        }
        _ => Ok(()),
    }
}
