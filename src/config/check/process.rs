//! process: the rules of `create`, `run` and `exec`.

use oci_spec::runtime::{LinuxNamespaceType, LinuxSchedulerPolicy, Process, Scheduler, Spec};

use super::{Given, each, joined, linux, mappings, namespace, number_list};
use crate::{Error, Result};

/// config.md, "Process": at least one argument, and a file to execute.
pub fn args(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    match process.args().as_ref().and_then(|args| args.first()) {
        None => Err(Error::invalid_field("process.args", "at least one argument is required")),
        Some(file) if file.is_empty() => {
            Err(Error::invalid("process.args[0]", file, "must name the file to execute"))
        }
        Some(_) => Ok(()),
    }
}

/// environ(7): `NAME=value`.
pub fn env(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    for (index, entry) in each(process.env()) {
        assignment(|| format!("process.env[{index}]"), entry)?;
    }
    Ok(())
}

/// One entry of an environment.
pub fn assignment(field: impl Fn() -> String, entry: &str) -> Result<()> {
    match entry.find('=') {
        Some(0) => Err(Error::invalid(field(), entry, "the name before the \"=\" is empty")),
        Some(_) => Ok(()),
        None => Err(Error::invalid(field(), entry, "must be of the form NAME=value")),
    }
}

/// config.md, "Process": cwd is absolute.
pub fn cwd(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    if process.cwd().is_absolute() {
        return Ok(());
    }
    Err(Error::invalid("process.cwd", process.cwd(), "must be an absolute path"))
}

/// runtime.md: the master of a terminal must have somewhere to go, and only then a socket has a
/// use; a runtime that stays relays the terminal itself.
pub fn terminal(process: &Process, _: &Spec, given: &Given) -> Result<()> {
    let terminal = process.terminal().unwrap_or(false);
    match (terminal, given.detached, given.console_socket) {
        (true, true, false) => {
            let why = "the runtime does not stay to serve the terminal: give --console-socket";
            return Err(Error::invalid("process.terminal", true, why));
        }
        (false, _, true) => return no_terminal(),
        (true, false, true) => {
            let why = "--console-socket needs create or --detach: otherwise the runtime itself \
                       serves the terminal";
            return Err(Error::invalid("process.terminal", true, why));
        }
        _ => {}
    }
    // The spec has consoleSize ignored without a terminal. A terminal counts in 16 bits.
    if let Some(size) = process.console_size().filter(|_| terminal) {
        for (name, value) in [("height", size.height()), ("width", size.width())] {
            if value > u64::from(u16::MAX) {
                let field = format!("process.consoleSize.{name}");
                return Err(Error::invalid(field, value, "must be from 0 to 65535"));
            }
        }
    }
    Ok(())
}

/// A console socket, and nothing to send to it.
pub fn no_terminal() -> Result<()> {
    Err(Error::invalid("process.terminal", false, "--console-socket needs a terminal"))
}

/// config.md, "POSIX-platform User": ids that exist, and that the user namespace maps.
pub fn ids(process: &Process, spec: &Spec, _: &Given) -> Result<()> {
    let user = process.user();
    let linux = linux(spec);
    // A joined namespace has its own mappings, which only the kernel knows.
    let new = namespace(spec, LinuxNamespaceType::User).is_some_and(|ns| joined(ns).is_none());
    let uids = linux.and_then(|linux| linux.uid_mappings().as_deref()).filter(|_| new);
    let gids = linux.and_then(|linux| linux.gid_mappings().as_deref()).filter(|_| new);
    let check = |field: &dyn Fn() -> String, id: u32, maps| {
        if id == u32::MAX {
            return Err(Error::invalid(field(), id, "is not an id (it means -1)"));
        }
        if let Some(maps) = maps
            && mappings::to_host(maps, id).is_none()
        {
            let why = "is not mapped in the container's user namespace";
            return Err(Error::invalid(field(), id, why));
        }
        Ok(())
    };
    check(&|| "process.user.uid".to_owned(), user.uid(), uids)?;
    check(&|| "process.user.gid".to_owned(), user.gid(), gids)?;
    for (index, gid) in each(user.additional_gids()) {
        check(&|| format!("process.user.additionalGids[{index}]"), *gid, gids)?;
    }
    Ok(())
}

/// umask(2): permission bits only.
pub fn umask(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    match process.user().umask() {
        Some(umask) if umask > 0o777 => {
            let why = "must be from 0 to 511 (0777 in octal)";
            Err(Error::invalid("process.user.umask", umask, why))
        }
        _ => Ok(()),
    }
}

/// config.md, "POSIX process": no type twice; getrlimit(2): soft is at most hard.
pub fn rlimits(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    for (index, limit) in each(process.rlimits()) {
        let typ = limit.typ();
        if each(process.rlimits()).take(index).any(|(_, earlier)| earlier.typ() == typ) {
            let field = format!("process.rlimits[{index}].type");
            return Err(Error::invalid(field, typ.to_string(), "is listed twice"));
        }
        if limit.soft() > limit.hard() {
            let field = format!("process.rlimits[{index}].soft");
            let why = format!("is above the hard limit of {}", limit.hard());
            return Err(Error::invalid(field, limit.soft(), why));
        }
    }
    Ok(())
}

/// proc_pid_oom_score_adj(5).
pub fn oom_score_adj(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    match process.oom_score_adj() {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(Error::invalid("process.oomScoreAdj", score, "must be from -1000 to 1000"))
        }
        _ => Ok(()),
    }
}

/// config.md, "Linux Process": what is written to an attribute of procfs is one line.
pub fn labels(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    super::linux::one_line("process.apparmorProfile", process.apparmor_profile().as_deref())?;
    super::linux::one_line("process.selinuxLabel", process.selinux_label().as_deref())
}

/// config.md, "Linux Process": eight levels.
pub fn io_priority(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    match process.io_priority() {
        Some(io) if !(0..=7).contains(&io.priority()) => {
            let field = "process.ioPriority.priority";
            Err(Error::invalid(field, io.priority(), "must be from 0 to 7"))
        }
        _ => Ok(()),
    }
}

/// config.md, "Linux Process", and sched_setattr(2): what a policy does not use must not be there,
/// since it would be ignored.
pub fn scheduler(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    use LinuxSchedulerPolicy::{SchedDeadline, SchedFifo, SchedRr};
    let Some(scheduler) = process.scheduler() else { return Ok(()) };
    let (own, policy) = ("process.scheduler", *scheduler.policy());
    if let Some(nice) = scheduler.nice().filter(|nice| !(-20..=19).contains(nice)) {
        return Err(Error::invalid(format!("{own}.nice"), nice, "must be from -20 to 19"));
    }
    let priority = scheduler.priority().unwrap_or(0);
    let (levels, why) = match policy {
        SchedFifo | SchedRr => (1..=99, "must be from 1 to 99"),
        _ => (0..=0, "is only valid with SCHED_FIFO and SCHED_RR"),
    };
    if !levels.contains(&priority) {
        return Err(Error::invalid(format!("{own}.priority"), priority, why));
    }
    let times = [
        ("runtime", scheduler.runtime()),
        ("deadline", scheduler.deadline()),
        ("period", scheduler.period()),
    ];
    for (name, nanoseconds) in times {
        let nanoseconds = nanoseconds.unwrap_or(0);
        if nanoseconds != 0 && policy != SchedDeadline {
            let why = "is only valid with SCHED_DEADLINE";
            return Err(Error::invalid(format!("{own}.{name}"), nanoseconds, why));
        }
    }
    if policy == SchedDeadline { deadline(scheduler) } else { Ok(()) }
}

/// sched(7), "SCHED_DEADLINE": what the kernel wants of the three, which it does not tell.
fn deadline(scheduler: &Scheduler) -> Result<()> {
    /// `DL_SCALE`: the kernel counts in units of 1024 ns.
    const LEAST: u64 = 1024;
    let value = |time: &Option<u64>| time.unwrap_or(0);
    let (runtime, deadline) = (value(scheduler.runtime()), value(scheduler.deadline()));
    let refuse = |name: &str, value: u64, why: String| {
        let why = format!("{why} (SCHED_DEADLINE: 1024 <= runtime <= deadline <= period, in ns)");
        Err(Error::invalid(format!("process.scheduler.{name}"), value, why))
    };
    if runtime < LEAST {
        return refuse("runtime", runtime, format!("must be at least {LEAST}"));
    }
    if deadline < runtime {
        return refuse("deadline", deadline, format!("is below the runtime of {runtime}"));
    }
    // 0 stands for the deadline.
    match value(scheduler.period()) {
        0 => {}
        period if period < deadline => {
            return refuse("period", period, format!("is below the deadline of {deadline}"));
        }
        period if period > i64::MAX as u64 => {
            return refuse("period", period, format!("is above {}", i64::MAX));
        }
        _ => {}
    }
    if deadline > i64::MAX as u64 {
        return refuse("deadline", deadline, format!("is above {}", i64::MAX));
    }
    Ok(())
}

/// config.md, "Linux Process": lists of CPUs.
pub fn exec_cpu_affinity(process: &Process, _: &Spec, _: &Given) -> Result<()> {
    let Some(affinity) = process.exec_cpu_affinity() else { return Ok(()) };
    for (name, list) in [("initial", affinity.initial()), ("final", affinity.cpu_affinity_final())]
    {
        let field = format!("process.execCPUAffinity.{name}");
        number_list(&field, list.as_deref().unwrap_or_default())?;
    }
    Ok(())
}
