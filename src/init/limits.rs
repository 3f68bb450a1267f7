//! Resource limits.

use rustix::io::Errno;
use rustix::process::{Pid, Rlimit, prlimit};

use crate::plan::process::Rlimit as Limit;
use crate::{Error, Result};

/// Sets the limits of a process, or of the caller. From outside it is done last of all, when init
/// makes nothing any more (a small RLIMIT_NOFILE or RLIMIT_FSIZE would get in its own way), and
/// because in a user namespace init may not raise a limit. Only who has CAP_SYS_RESOURCE may raise a hard
/// limit, or set those of a process with other ids (setrlimit(2)).
pub fn set(limits: &[Limit], pid: Option<i32>) -> Result<()> {
    // RLIM_INFINITY is the largest number; rustix has no number for it.
    let value = |n: u64| (n != u64::MAX).then_some(n);
    for limit in limits {
        let new = Rlimit { current: value(limit.soft), maximum: value(limit.hard) };
        prlimit(pid.and_then(Pid::from_raw), limit.resource, new).map_err(|errno| {
            let Limit { name, soft, hard, .. } = limit;
            let right = match errno {
                Errno::PERM => " (above the caller's, which needs CAP_SYS_RESOURCE)",
                _ => "",
            };
            let what = format!("process.rlimits: set {name} to soft {soft}, hard {hard}{right}");
            Error::from(errno).context(what)
        })?;
    }
    Ok(())
}
