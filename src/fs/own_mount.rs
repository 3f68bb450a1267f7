//! A mount in the runtime's own mount namespace, which a later command unmounts, and no other.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::mount::{MntFlags, umount2};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, statx};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::open::PATH;
use crate::{Context, Result};

/// linux/stat.h, since Linux 6.8: an id that no later mount gets.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The kernel's id of a mount. It does not change when a detached mount is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnMount(u64);

impl OwnMount {
    pub fn of(file: BorrowedFd<'_>) -> Result<OwnMount> {
        // A kernel without the unique id returns the reusable one.
        let wanted = StatxFlags::MNT_ID | MNT_ID_UNIQUE;
        let found = statx(file, "", AtFlags::EMPTY_PATH, wanted).context("ask for the mount id")?;
        Ok(OwnMount(found.stx_mnt_id))
    }

    /// Unmounts this mount, with all mounts below, from `path`. Does nothing if another mount, or
    /// no mount, is there.
    pub fn detach(self, path: &Path) -> Result<()> {
        let detach = || -> Result<()> {
            let flags = PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let there = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                answer => answer?,
            };
            if OwnMount::of(there.as_fd())? != self {
                return Ok(());
            }
            // By the descriptor, so that exactly the compared mount is detached.
            let path = format!("/proc/self/fd/{}", there.as_raw_fd());
            Ok(umount2(path.as_str(), MntFlags::MNT_DETACH)?)
        };
        detach().with_context(|| format!("unmount {path:?}"))
    }
}
