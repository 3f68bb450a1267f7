//! `process.execCPUAffinity` (config.md, "Linux Process").

use oci_spec::runtime::Process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::init::limits::Affinity;
use crate::list::List;
use crate::{Context, Error, Result};

/// The processors of a process that `exec` starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affinities {
    /// The processors of the runtime until the process is in its cgroup.
    pub initial: Option<CpuSet>,
    /// The processors of the process after that.
    pub last: Affinity,
}

impl Affinities {
    /// Reads `process.execCPUAffinity`. Without the field the process gets all processors of the
    /// cgroup. With the field, but without a final list, it keeps the initial list, as far as the
    /// cgroup has those processors.
    pub fn new(process: &Process) -> Result<Affinities> {
        let Some(asked) = process.exec_cpu_affinity() else {
            return Ok(Affinities { initial: None, last: Affinity::All });
        };
        let initial = list("process.execCPUAffinity.initial", asked.initial())?;
        let last = list("process.execCPUAffinity.final", asked.cpu_affinity_final())?;
        Ok(Affinities { initial, last: last.map_or(Affinity::Keep, Affinity::Only) })
    }
}

/// The initial processors, while they are those of the calling thread: a process inherits the
/// processors of the thread that clones it.
pub(super) struct InitialAffinity(Option<CpuSet>);

impl InitialAffinity {
    /// Gives the calling thread the processors `cpus`; `None` leaves those that it has.
    pub fn set(cpus: Option<&CpuSet>) -> Result<InitialAffinity> {
        let Some(cpus) = cpus else { return Ok(InitialAffinity(None)) };
        // EINVAL: more processors than the set can hold. Those of the thread are lost then.
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

/// Parses a list such as `0-3,7`; an empty list means unset.
fn list(field: &str, text: &Option<String>) -> Result<Option<CpuSet>> {
    let Some(text) = text.as_deref().map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let list = List::parse(text)
        .ok_or_else(|| Error::invalid(field, text, "not a list of CPUs such as \"0-3,7\""))?;
    let most = CpuSet::MAX_CPU - 1;
    if let Some(last) = list.last().filter(|last| *last as usize > most) {
        return Err(Error::invalid(field, text, format!("CPU {last} is above {most}")));
    }
    let mut cpus = CpuSet::new();
    list.iter().for_each(|cpu| cpus.set(cpu as usize));
    Ok(Some(cpus))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(text: &str) -> Vec<usize> {
        let set = list("f", &Some(text.to_owned())).unwrap().unwrap();
        (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
    }

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpus("0-3,7"), [0, 1, 2, 3, 7]);
        assert_eq!(cpus(" 5,1 "), [1, 5]);
        assert!(list("f", &Some("".into())).unwrap().is_none());
        assert!(list("f", &None).unwrap().is_none());
        for bad in ["x", "1-", "0-99999", "1024"] {
            let error = list("f", &Some(bad.into())).unwrap_err().to_string();
            assert!(error.starts_with("f: \""), "{error}");
        }
    }
}
