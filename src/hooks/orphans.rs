//! What a hook has started and left: on its time-out that is to end as well, whatever session or
//! process group it has made for itself.
//!
//! While a hook with a time-out runs, the runtime is a child subreaper (prctl(2)): a process whose
//! parent has ended becomes the runtime's child, and not that of the machine's init, where nobody
//! could tell whose it was.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::{Context, Error, Kind, Result, log};

/// For how long new ones are looked for, if they are made faster than they are killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The runtime is a subreaper as long as this lives.
pub struct Orphans {
    was_subreaper: bool,
    /// The children of the runtime that the hook has nothing to do with.
    others: Vec<Pid>,
}

impl Orphans {
    /// Takes over what the processes to come leave behind; `None` where the kernel cannot list
    /// children (it is built without CONFIG_PROC_CHILDREN).
    pub fn adopt() -> Result<Option<Orphans>> {
        let error = |errno| Error::from(Errno::from_raw(errno)).context("become a subreaper");
        let was_subreaper = prctl::get_child_subreaper().map_err(error)?;
        let others = match children() {
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
            list => list?,
        };
        prctl::set_child_subreaper(true).map_err(error)?;
        Ok(Some(Orphans { was_subreaper, others }))
    }

    /// Kills all that the hook has left. What cannot be killed is told as a warning: the failure
    /// of the hook is the story.
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
            // They are our children, and nobody else waits for them: the numbers are theirs.
            for pid in &left {
                match kill(*pid, Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno).with_context(|| format!("kill {pid}")),
                }
            }
            // The children of those become ours, and are found in the next round.
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
        // It was possible to become one.
        let _ = prctl::set_child_subreaper(self.was_subreaper);
    }
}

/// proc_tid_children(5). The list is whole where no child ends meanwhile.
fn children() -> Result<Vec<Pid>> {
    let text = crate::fs::read_text("/proc/thread-self/children")?;
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect())
}
