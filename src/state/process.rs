//! Identifies processes across the reuse of process ids: the inode number of a pidfd is unique within a
//! boot, and so is, on kernels before Linux 6.9, the pair of id and start time.

use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use procfs::FromRead;
use procfs::process::Stat;

use crate::sys::pidfd;
use crate::{Context, Error, Kind, Result};

/// Returns when process `pid` started: field 22 of /proc/pid/stat (proc_pid_stat(5)), in clock
/// ticks since boot. `None` if there is no such process, or if it is a zombie.
pub fn process_start_time(pid: i32) -> Result<Option<u64>> {
    if pid <= 0 {
        return Ok(None);
    }
    Ok(unless_gone(stat(pid))?.as_ref().and_then(alive_since))
}

/// What tells a process from a later process with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Birth {
    /// The inode number of its pidfd ([`pidfd::inode`]).
    Inode(u64),
    /// Its start time ([`process_start_time`]), on kernels without pidfs.
    StartTime(u64),
}

impl Birth {
    /// Identifies the process `pid` of `pidfd`; `None` if it has ended, which is not always noticed.
    pub fn of(pid: i32, pidfd: BorrowedFd<'_>) -> Result<Option<Birth>> {
        match pidfd::inode(pidfd).context("look at a pidfd")? {
            Some(inode) => Ok(Some(Birth::Inode(inode))),
            None => Ok(process_start_time(pid)?.map(Birth::StartTime)),
        }
    }

    /// Whether the process `pid`, of which `pidfd` was opened, is this process and has not ended.
    pub fn is_alive(self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<bool> {
        match self {
            Birth::Inode(inode) => {
                let same = pidfd::inode(pidfd).context("look at a pidfd")? == Some(inode);
                Ok(same && !pidfd::wait_exit(pidfd, Duration::ZERO)?)
            }
            // Read after the pidfd was opened: an id that was reused before has another start time.
            Birth::StartTime(time) => Ok(process_start_time(pid)? == Some(time)),
        }
    }
}

/// Reads /proc/pid/stat (proc_pid_stat(5)).
pub fn stat(pid: i32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = crate::fs::read_bytes(&path)?;
    Stat::from_read(text.as_slice())
        .map_err(|e| Error::new(Kind::System, e.to_string()).context(format!("read {path}")))
}

/// Converts the error for a process that does not exist, or died between open and read (ESRCH).
fn unless_gone<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(e) if matches!(e.errno(), Some(Errno::ENOENT | Errno::ESRCH)) => Ok(None),
        read => read.map(Some),
    }
}

/// Whether process `pid` has been killed, or is about to exit for another reason: PF_EXITING in
/// field 9 of /proc/pid/stat.
pub fn is_dying(pid: i32) -> Result<bool> {
    const PF_EXITING: u32 = 4;
    let status = unless_gone(crate::fs::read_bytes(&format!("/proc/{pid}/status")))?;
    let (Some(status), Some(stat)) = (status, unless_gone(stat(pid))?) else { return Ok(true) };
    Ok(is_killed(&String::from_utf8_lossy(&status)) || stat.flags & PF_EXITING != 0)
}

/// Whether SIGKILL is pending, for the first thread or for all (proc_pid_status(5)).
fn is_killed(status: &str) -> bool {
    let mut pending = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:")));
    pending.any(|mask| {
        u64::from_str_radix(mask.trim(), 16)
            .is_ok_and(|mask| mask & (1 << (libc::SIGKILL - 1)) != 0)
    })
}

/// Returns the start time, unless the process is dead.
fn alive_since(stat: &Stat) -> Option<u64> {
    // A first thread that has ended looks like a zombie while other threads run.
    let dead = matches!(stat.state, 'Z' | 'X' | 'x') && stat.num_threads <= 1;
    (!dead).then_some(stat.starttime)
}

/// Whether process `pid`, possibly a zombie, has executed a program since it was cloned: the flag
/// PF_FORKNOEXEC in field 9 of /proc/pid/stat (proc_pid_stat(5)).
pub fn has_executed(pid: i32) -> Result<bool> {
    const PF_FORKNOEXEC: u32 = 0x40;
    Ok(stat(pid)?.flags & PF_FORKNOEXEC == 0)
}

/// Returns the random id of the running boot: process ids and start times of another boot are
/// meaningless.
pub fn boot_id() -> Result<&'static str> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let id = crate::fs::read_text("/proc/sys/kernel/random/boot_id")?;
    Ok(ID.get_or_init(|| id.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(state: char, threads: u32) -> Stat {
        let line = format!(
            "77 (a) b) {state} 1 77 77 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 {threads} 0 4242 1 1 \
             18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0"
        );
        Stat::from_read(line.as_bytes()).unwrap()
    }

    #[test]
    fn zombies_are_dead_unless_a_thread_lives() {
        assert_eq!(alive_since(&stat('S', 1)), Some(4242));
        assert_eq!(alive_since(&stat('T', 1)), Some(4242));
        assert_eq!(alive_since(&stat('Z', 1)), None);
        assert_eq!(alive_since(&stat('X', 0)), None);
        assert_eq!(alive_since(&stat('Z', 3)), Some(4242));
    }

    #[test]
    fn a_killed_process_is_dying() {
        assert!(is_killed("SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n"));
        assert!(is_killed("SigPnd:\t0000000000000000\nShdPnd:\t0000000000004100\n"));
        assert!(!is_killed("SigPnd:\t0000000000000200\nSigBlk:\t0000000000000100\n"));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        assert!(!is_dying(pid).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_dying(pid).unwrap());
    }

    #[test]
    fn names_are_the_containers_choice() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe) Z 1"));
        std::os::unix::fs::symlink("/bin/sleep", &name).unwrap();
        let mut child = std::process::Command::new(&name).arg("60").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        let (since, dying) = (process_start_time(pid), is_dying(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(since.unwrap().is_some() && !dying.unwrap());
    }

    #[test]
    fn only_real_numbers_name_a_process() {
        for pid in [0, -1, i32::MIN, i32::MAX] {
            assert_eq!(process_start_time(pid).unwrap(), None, "{pid}");
        }
        assert!(process_start_time(std::process::id() as i32).unwrap().is_some());
    }

    #[test]
    fn boot_id_is_a_uuid() {
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
