//! Flags of a mount, and flags of its file system: two sets with different bits.

use std::ops::{BitAnd, BitOr, Not};

/// A set of mount attributes, as in mount_setattr(2) and fsmount(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr(pub u64);

impl MountAttr {
    /// No attribute.
    pub const NONE: Self = Self(0);
    /// The mount is read-only (`MOUNT_ATTR_RDONLY`).
    pub const RDONLY: Self = Self(0x1);
    /// Set-user-id bits and file capabilities have no effect.
    pub const NOSUID: Self = Self(0x2);
    /// Device nodes cannot be opened.
    pub const NODEV: Self = Self(0x4);
    /// Nothing can be executed.
    pub const NOEXEC: Self = Self(0x8);
    /// The mask of the access time modes; it must be cleared whenever a mode is set.
    pub const ATIME_CLASS: Self = Self(0x70);
    /// Access times are relative to the modification time; the mode with the value 0.
    pub const RELATIME: Self = Self(0);
    /// Access times are not updated.
    pub const NOATIME: Self = Self(0x10);
    /// Access times are always updated.
    pub const STRICTATIME: Self = Self(0x20);
    /// Access times of directories are not updated.
    pub const NODIRATIME: Self = Self(0x80);
    /// Symbolic links are not followed (Linux 5.14 as an attribute).
    pub const NOSYMFOLLOW: Self = Self(0x20_0000);

    /// Whether the set contains all of `other`.
    pub fn contains(self, other: Self) -> bool {
        self & other == other
    }
}

impl BitOr for MountAttr {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for MountAttr {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for MountAttr {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// Flags of the file system itself, in the bits of mount(2) (`MS_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuperFlags {
    /// The flags to set.
    pub set: u64,
    /// The flags to clear.
    pub clear: u64,
}

impl SuperFlags {
    /// `MS_RDONLY`: `ro` makes a new file system, and so its block device, read-only too.
    pub const RDONLY: u64 = 1;
    /// `MS_SYNCHRONOUS`.
    pub const SYNC: u64 = 1 << 4;
    /// `MS_MANDLOCK`; without effect since Linux 5.15.
    pub const MAND: u64 = 1 << 6;
    /// `MS_DIRSYNC`.
    pub const DIRSYNC: u64 = 1 << 7;
    /// `MS_SILENT`: fewer messages in the kernel log.
    pub const SILENT: u64 = 1 << 15;
    /// `MS_I_VERSION`.
    pub const IVERSION: u64 = 1 << 23;
    /// `MS_LAZYTIME`.
    pub const LAZYTIME: u64 = 1 << 25;

    /// Returns the names of these flags for fsconfig(2) (`FSCONFIG_SET_FLAG`). `silent` and
    /// `iversion` have none, nor has the opposite of dirsync, which is the default: a file system
    /// gets them only by mount(2).
    pub fn fsconfig_names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(u64, Option<&str>, Option<&str>); 5] = [
            (SuperFlags::RDONLY, Some("ro"), Some("rw")),
            (SuperFlags::SYNC, Some("sync"), Some("async")),
            (SuperFlags::DIRSYNC, Some("dirsync"), None),
            (SuperFlags::LAZYTIME, Some("lazytime"), Some("nolazytime")),
            (SuperFlags::MAND, Some("mand"), Some("nomand")),
        ];
        NAMES.into_iter().filter_map(move |(bit, set, clear)| {
            if self.set & bit != 0 {
                set
            } else if self.clear & bit != 0 {
                clear
            } else {
                None
            }
        })
    }

    /// Whether any of these flags is set or cleared.
    pub fn has(self, bits: u64) -> bool {
        (self.set | self.clear) & bits != 0
    }

    /// Whether any flag other than read-only, which a mount has too, is set or cleared.
    pub fn beyond_read_only(self) -> bool {
        self.has(!(Self::RDONLY | Self::SILENT))
    }

    /// Sets flags; overrides earlier options.
    pub(super) fn add(&mut self, bits: u64) {
        self.set |= bits;
        self.clear &= !bits;
    }

    /// Clears flags; overrides earlier options.
    pub(super) fn remove(&mut self, bits: u64) {
        self.clear |= bits;
        self.set &= !bits;
    }
}
