//! The options of the cgroup v2 hierarchy. CRIU mounts the hierarchy without options, and the kernel
//! then clears those of the whole host, such as `nsdelegate`, by which containers are kept in their
//! cgroups.
//!
//! While another CRIU runs, or after a runtime that was killed, options are missing already when they
//! are read. So the options that the hierarchy ever had at the start of CRIU are an attribute of its
//! root directory, which lasts until the host is booted again.

use std::path::{Path, PathBuf};

use procfs::process::MountInfo;
use rustix::fs::{CWD, XattrFlags, lgetxattr, lsetxattr};
use rustix::io::Errno;
use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};

use crate::fs::Proc;
use crate::mount::table;
use crate::{Context, Error, Result, log};

/// The options that the kernel clears (the kernel's documentation, cgroup-v2, "Mounting").
const OPTIONS: [&str; 6] = [
    "favordynmods",
    "memory_hugetlb_accounting",
    "memory_localevents",
    "memory_recursiveprot",
    "nsdelegate",
    "pids_localevents",
];

/// The attribute with the options, separated by commas. Only the root user of the host may set it.
const ATTRIBUTE: &str = "trusted.bulkhead.options";

/// The hierarchy before CRIU runs.
#[derive(Debug)]
pub(super) struct Hierarchy(Option<(PathBuf, Vec<&'static str>)>);

impl Hierarchy {
    /// Reads the options, and records them for other runtimes. A record that cannot be read or written
    /// is a warning: options that are missing now then stay away.
    pub fn look() -> Result<Hierarchy> {
        let Some(mount) = mount()? else { return Ok(Hierarchy(None)) };
        let (place, present) = (&mount.mount_point, options(&mount));
        let warn = |error: Error| {
            let what = format!("the options of cgroup v2: attribute {ATTRIBUTE} of {place:?}");
            log::warn(error.context(what));
        };
        let recorded = recorded(place).unwrap_or_else(|error| {
            warn(error);
            Vec::new()
        });
        let wanted: Vec<&str> = OPTIONS
            .into_iter()
            .filter(|option| present.contains(option) || recorded.contains(option))
            .collect();
        if wanted != recorded {
            record(place, &wanted).unwrap_or_else(warn);
        }
        Ok(Hierarchy(Some((mount.mount_point, wanted))))
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

/// Returns the options that another runtime has recorded.
fn recorded(place: &Path) -> Result<Vec<&'static str>> {
    let mut text = [0; 256];
    let length = match lgetxattr(place, ATTRIBUTE, &mut text) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
    let is_listed = |option: &&str| text.split(',').any(|listed| listed == *option);
    Ok(OPTIONS.into_iter().filter(is_listed).collect())
}

fn record(place: &Path, options: &[&str]) -> Result<()> {
    match lsetxattr(place, ATTRIBUTE, options.join(",").as_bytes(), XattrFlags::empty()) {
        // In a user namespace, whose CRIU cannot clear the options either.
        Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(()),
        set => Ok(set?),
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
