//! Kills the processes that a hook leaves behind when it times out, in any session or process
//! group. While such a hook runs, the runtime is a child subreaper (prctl(2)): a process whose parent
//! has ended becomes a child of the runtime, and not of the host's init.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::{Context, Error, Kind, Result, log};

/// How long to look for new processes, if they are created faster than they are killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the runtime a child subreaper until dropped.
pub struct Orphans {
    was_subreaper: bool,
    /// Children of the runtime that the hook did not start.
    others: Vec<Pid>,
}

impl Orphans {
    /// Adopts the orphans of processes that are started from now on. Returns `None` if the kernel
    /// cannot list children (it was built without CONFIG_PROC_CHILDREN).
    pub fn adopt() -> Result<Option<Orphans>> {
        const BECOME: &str = "become a subreaper";
        let was_subreaper = prctl::get_child_subreaper().context(BECOME)?;
        let others = match children() {
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
            list => list?,
        };
        prctl::set_child_subreaper(true).context(BECOME)?;
        Ok(Some(Orphans { was_subreaper, others }))
    }

    /// Kills every process that the hook has left. A failure is a warning: the hook's error is the
    /// one to report.
    pub fn kill(&self) {
        if let Err(error) = self.try_kill() {
            log::warn(error.context("kill what the hook has started"));
        }
    }

    fn try_kill(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let mut left = children()?;
            left.retain(|pid| !self.others.contains(pid));
            if left.is_empty() {
                return Ok(());
            }
            // These are the runtime's children, which nothing else waits for: their ids are not
            // reused.
            for pid in &left {
                match kill(*pid, Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno).with_context(|| format!("kill {pid}")),
                }
            }
            // Their children become children of the runtime, and are found in the next round.
            for pid in left {
                while waitpid(pid, None) == Err(Errno::EINTR) {}
            }
            if begin.elapsed() > PATIENCE {
                return Err(Error::new(Kind::System, "it starts new processes all the time"));
            }
        }
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        // The change was possible before, so it is possible now.
        let _ = prctl::set_child_subreaper(self.was_subreaper);
    }
}

/// Lists the children of this thread, proc_tid_children(5). The list is complete if no child ends
/// meanwhile.
fn children() -> Result<Vec<Pid>> {
    let text = crate::fs::read_text("/proc/thread-self/children")?;
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect())
}
