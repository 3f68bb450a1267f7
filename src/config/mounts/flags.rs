//! Flags of a mount and flags of the file system that is mounted: two sets, with bits of their own.

use std::ops::{BitAnd, BitOr, Not};

/// A set of mount attributes, as `mount_setattr(2)` and `fsmount(2)` take them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr(pub u64);

impl MountAttr {
    /// No attribute.
    pub const NONE: Self = Self(0);
    /// Read-only (`MOUNT_ATTR_RDONLY`).
    pub const RDONLY: Self = Self(0x1);
    /// Set-user-id bits and file capabilities have no effect.
    pub const NOSUID: Self = Self(0x2);
    /// Device nodes cannot be opened.
    pub const NODEV: Self = Self(0x4);
    /// Nothing can be executed.
    pub const NOEXEC: Self = Self(0x8);
    /// The mask of the access time value; must be cleared whenever one is set.
    pub const ATIME_CLASS: Self = Self(0x70);
    /// Access times relative to the modification time: the zero of the class.
    pub const RELATIME: Self = Self(0);
    /// Access times are not updated.
    pub const NOATIME: Self = Self(0x10);
    /// Access times are always updated.
    pub const STRICTATIME: Self = Self(0x20);
    /// Access times of directories are not updated.
    pub const NODIRATIME: Self = Self(0x80);
    /// Symbolic links are not followed (Linux 5.14 as an attribute).
    pub const NOSYMFOLLOW: Self = Self(0x20_0000);

    /// Whether all of `other` is in the set.
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

/// What is asked of the file system itself, in the bits of `mount(2)` (`MS_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuperFlags {
    /// The flags to set.
    pub set: u64,
    /// The flags to clear.
    pub clear: u64,
}

impl SuperFlags {
    /// `MS_RDONLY`: with `ro` a new file system, and so its block device, is read-only too.
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

    /// The names under which `fsconfig(FSCONFIG_SET_FLAG)` knows these flags. `silent` and
    /// `iversion` have none (nor has dirsync's opposite, which is the default): only `mount(2)`
    /// can give them to a file system.
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

    /// Whether these flags are set or cleared.
    pub fn has(self, bits: u64) -> bool {
        (self.set | self.clear) & bits != 0
    }

    /// Whether the file system is asked for more than read-only, which a mount has for itself too.
    pub fn beyond_read_only(self) -> bool {
        self.has(!(Self::RDONLY | Self::SILENT))
    }

    /// Sets flags, whatever was said of them before.
    pub(super) fn add(&mut self, bits: u64) {
        self.set |= bits;
        self.clear &= !bits;
    }

    /// Clears flags, whatever was said of them before.
    pub(super) fn remove(&mut self, bits: u64) {
        self.clear |= bits;
        self.set &= !bits;
    }
}
