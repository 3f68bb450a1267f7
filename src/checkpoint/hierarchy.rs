//! The options of the cgroup v2 hierarchy. CRIU mounts the hierarchy without options, and the kernel
//! then clears those of the whole host, such as `nsdelegate`, by which containers are kept in their
//! cgroups.
//!
//! Best effort: while another CRIU runs, the options can be missing already when they are read.

use std::path::PathBuf;

use procfs::process::MountInfo;
use rustix::fs::CWD;
use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};

use crate::fs::Proc;
use crate::mount::table;
use crate::{Context, Result, log};

/// The options that the kernel clears (the kernel's documentation, cgroup-v2, "Mounting").
const OPTIONS: [&str; 6] = [
    "favordynmods",
    "memory_hugetlb_accounting",
    "memory_localevents",
    "memory_recursiveprot",
    "nsdelegate",
    "pids_localevents",
];

/// The hierarchy before CRIU runs.
#[derive(Debug)]
pub(super) struct Hierarchy(Option<(PathBuf, Vec<&'static str>)>);

impl Hierarchy {
    /// Reads the options.
    pub fn look() -> Result<Hierarchy> {
        let found = mount()?.map(|mount| {
            let options = options(&mount);
            (mount.mount_point, options)
        });
        Ok(Hierarchy(found))
    }

    /// Sets the options again, if any is missing. A failure is a warning.
    pub fn repair(&self) {
        let Some((place, options)) = &self.0 else { return };
        if let Err(error) = repair(place, options) {
            let name = options.join(",");
            log::warn(
                error.context(format!("set the options of the cgroup hierarchy again ({name})")),
            );
        }
    }
}

fn repair(place: &PathBuf, wanted: &[&str]) -> Result<()> {
    let left = mount()?.map(|mount| options(&mount)).unwrap_or_default();
    if wanted.iter().all(|option| left.contains(option)) {
        return Ok(());
    }
    let context = fspick(CWD, place, FsPickFlags::FSPICK_CLOEXEC);
    let context = context.with_context(|| format!("open {place:?}"))?;
    for option in wanted {
        fsconfig_set_flag(&context, *option).context(option)?;
    }
    fsconfig_reconfigure(&context).with_context(|| format!("reconfigure {place:?}"))
}

fn mount() -> Result<Option<MountInfo>> {
    let mounts = table::read(&Proc::open()?)?;
    Ok(mounts.into_iter().find(|mount| mount.fs_type == "cgroup2"))
}

fn options(mount: &MountInfo) -> Vec<&'static str> {
    OPTIONS.into_iter().filter(|option| mount.super_options.contains_key(*option)).collect()
}
