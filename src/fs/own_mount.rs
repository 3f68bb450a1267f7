//! A mount that was made in the runtime's own mount namespace, where nothing ends it but a later
//! command: it must be found again, and nothing else be unmounted in its place.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::mount::{MntFlags, umount2};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, statx};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::open::PATH;
use crate::{Context, Result};

/// linux/stat.h, since Linux 6.8: a number that no later mount gets.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The kernel's number of a mount. It stays the same when a detached mount is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnMount(u64);

impl OwnMount {
    /// The mount that a descriptor is of.
    pub fn of(file: BorrowedFd<'_>) -> Result<OwnMount> {
        // A kernel that does not know the unique number gives the other one.
        let wanted = StatxFlags::MNT_ID | MNT_ID_UNIQUE;
        let found = statx(file, "", AtFlags::EMPTY_PATH, wanted).context("ask for the mount id")?;
        Ok(OwnMount(found.stx_mnt_id))
    }

    /// Unmounts it, with all that is mounted below, from `place`. Does nothing if another mount,
    /// or none, is there.
    pub fn detach(self, place: &Path) -> Result<()> {
        let detach = || -> Result<()> {
            let flags = PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let there = match rustix::fs::openat(CWD, place, flags, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                answer => answer?,
            };
            if OwnMount::of(there.as_fd())? != self {
                return Ok(());
            }
            // By the descriptor: what was looked at is what goes.
            let path = format!("/proc/self/fd/{}", there.as_raw_fd());
            Ok(umount2(path.as_str(), MntFlags::MNT_DETACH)?)
        };
        detach().with_context(|| format!("unmount {place:?}"))
    }
}
