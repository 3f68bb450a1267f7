//! The table of mounts, /proc/self/mountinfo.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use procfs::FromRead;
use procfs::process::{MountInfo, MountInfos};
use rustix::fs::OFlags;

use crate::fs::Proc;
use crate::{Context, Error, Kind, Result};

pub(crate) fn read(proc: &Proc) -> Result<Vec<MountInfo>> {
    let table = proc.file(Path::new("self/mountinfo"), OFlags::RDONLY);
    let table = File::from(table.context("open /proc/self/mountinfo")?);
    let MountInfos(mounts) = MountInfos::from_read(table).map_err(|e| {
        Error::new(Kind::System, e.to_string()).context("read /proc/self/mountinfo")
    })?;
    Ok(mounts)
}

/// Returns the ids of the mount `top` and of all mounts below it, which are listed in any order.
pub(crate) fn below(mounts: &[MountInfo], top: i32) -> BTreeSet<i32> {
    let mut tree = BTreeSet::from([top]);
    loop {
        let before = tree.len();
        for mount in mounts {
            if tree.contains(&mount.pid) {
                tree.insert(mount.mnt_id);
            }
        }
        if tree.len() == before {
            return tree;
        }
    }
}
