//! `process.execCPUAffinity` (config.md, "Linux Process").

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::config::process::ExecAffinity;
use crate::init::limits::Affinity;
use crate::list::List;
use crate::{Context, Error, Result};

/// Returns the processors of the runtime until the process is in its cgroup, and those of the
/// process after that. Without the field the process gets all processors of the cgroup. With the
/// field, but without a final list, it keeps the initial list, as far as the cgroup has those
/// processors.
pub(super) fn both(asked: Option<&ExecAffinity>) -> Result<(Option<CpuSet>, Affinity)> {
    let Some(asked) = asked else { return Ok((None, Affinity::All)) };
    let initial = list("process.execCPUAffinity.initial", &asked.initial)?;
    let last = list("process.execCPUAffinity.final", &asked.last)?;
    Ok((initial, last.map_or(Affinity::Keep, Affinity::Only)))
}

/// The initial processors, while they are those of the calling thread: a process inherits the
/// processors of the thread that clones it.
pub(super) struct InitialAffinity(Option<CpuSet>);

impl InitialAffinity {
    /// Gives the calling thread the processors `cpus`; `None` leaves those that it has.
    pub fn set(cpus: Option<&CpuSet>) -> Result<InitialAffinity> {
        let Some(cpus) = cpus else { return Ok(InitialAffinity(None)) };
        // EINVAL: the thread has more processors than the set can hold. They are lost then.
        let before = sched_getaffinity(None).ok();
        sched_setaffinity(None, cpus).context("process.execCPUAffinity.initial")?;
        Ok(InitialAffinity(before))
    }
}

impl Drop for InitialAffinity {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The thread has had these processors, so they are refused only if the cgroup has lost
            // them meanwhile; then the kernel has chosen others.
            let _ = sched_setaffinity(None, before);
        }
    }
}

fn list(field: &str, list: &List) -> Result<Option<CpuSet>> {
    let Some(last) = list.last() else { return Ok(None) };
    let most = CpuSet::MAX_CPU - 1;
    if last as usize > most {
        return Err(Error::invalid(field, list.to_string(), format!("CPU {last} is above {most}")));
    }
    let mut cpus = CpuSet::new();
    list.iter().for_each(|cpu| cpus.set(cpu as usize));
    Ok(Some(cpus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        let set = |text: &str| list("f", &List::parse(text).unwrap());
        let cpus = set("0-3,7").unwrap().unwrap();
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu)).collect();
        assert_eq!(cpus, [0, 1, 2, 3, 7]);
        assert!(set("").unwrap().is_none());
        for bad in ["0-99999", "1024"] {
            let error = set(bad).unwrap_err().to_string();
            assert!(error.starts_with("f: \""), "{error}");
        }
    }
}
