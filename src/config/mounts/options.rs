//! Parses the options of a mount entry (config.md, "Linux mount options"; mount(8)).
//!
//! [`parse`] has no side effects, and shares its table with [`names`]. The last of contradicting
//! options wins, as in mount(8).
//!
//! The access time mode is one value of three (noatime, relatime, strictatime), not three bits, and
//! mount_setattr(2) refuses to set a mode without clearing the mask ([`MountAttr::ATIME_CLASS`]).
//! The negative options mean:
//! * `atime`: not noatime. Keeps an earlier strictatime or relatime, otherwise chooses relatime,
//!   the kernel's default.
//! * `nostrictatime`: not strictatime, "use the kernel's default behaviour" (mount(8)). Keeps an
//!   earlier noatime or relatime, otherwise chooses relatime.
//! * `norelatime`: cancels an earlier relatime, and otherwise changes nothing. It does not choose
//!   strictatime: relatime is the default since Linux 2.6.30, and the option has no effect alone in
//!   mount(8) and mount(2).
//!
//! `sync`, `dirsync`, `lazytime`, `mand` and `iversion` belong to the file system, not to the
//! mount. A bind mount shares the file system of its source, and mount(2) ignores them there, so
//! they are refused ([`of_file_system`]). `silent` and `loud` only change what the kernel logs
//! during the mount.

pub use super::flags::{MountAttr, SuperFlags};
use super::idmap::Ranges;
use super::table::{AtimeWord, Effect, effect, refusal};
pub use super::table::{
    Propagation, PropagationKind, is_recursive_of_file_system, names, of_file_system, propagation,
};

/// The meaning of the options of a mount entry.
///
/// Apply `rec_set` and `rec_clear` first, to the whole tree (`AT_RECURSIVE`), then `set` and
/// `clear` to the top mount alone. In that order the last option of the list wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// A bind mount (`bind` or `rbind`).
    pub bind: bool,
    /// Whether the bind mount includes the mounts below its source (`rbind`, even if `bind`
    /// follows: the two do not contradict each other).
    pub recursive: bool,
    /// Whether to change an existing mount.
    pub remount: bool,
    /// Attributes to set on the mount itself.
    pub set: MountAttr,
    /// Attributes to clear on the mount itself; contains the whole access time mask if `set`
    /// chooses a mode.
    pub clear: MountAttr,
    /// Attributes to set on the mount and all mounts below.
    pub rec_set: MountAttr,
    /// Attributes to clear on the mount and all mounts below.
    pub rec_clear: MountAttr,
    /// Flags of the file system itself.
    pub super_flags: SuperFlags,
    /// Changes of the propagation type, in the order listed.
    pub propagation: Vec<Propagation>,
    /// Whether a tmpfs starts with a copy of the directory that it covers.
    pub tmpcopyup: bool,
    /// Whether a bind mount whose source is a symbolic link is replaced by a copy of the link
    /// (crun(1); podman's `no-dereference`).
    pub copy_symlink: bool,
    /// Whether the mount is idmapped; true means recursively (`ridmap`).
    pub idmap: Option<bool>,
    /// The mapping of an idmapped mount, if the option has a value (`idmap=uids=...;gids=...`).
    pub ranges: Option<Ranges>,
    /// The options of the file system, `key` or `key=value`, in order, for fsconfig(2). Double
    /// quotes around a whole value (a SELinux context) are removed, as in mount(8).
    pub data: Vec<(String, Option<String>)>,
}

/// An invalid option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOption {
    /// Its index in the list.
    pub index: usize,
    /// The reason.
    pub why: &'static str,
}

/// Parses the options of a mount entry. An option that is not in the table belongs to the file
/// system.
pub fn parse(options: &[String]) -> Result<MountOptions, BadOption> {
    let mut parsed = MountOptions::default();
    for (index, option) in options.iter().enumerate() {
        let bad = |why| BadOption { index, why };
        if let Some((effect, recursive)) = effect(option) {
            parsed.apply(effect, recursive);
        } else if let Some((name @ ("idmap" | "ridmap"), value)) = option.split_once('=') {
            parsed.idmap = Some(name == "ridmap");
            parsed.ranges = Some(Ranges::parse(value).map_err(bad)?);
        } else if option.split_once('=').is_some_and(|(name, _)| effect(name).is_some()) {
            // The kernel would take "ro=false" for "ro" on a new file system.
            return Err(bad("this mount option takes no value"));
        } else if let Some(why) = refusal(option) {
            return Err(bad(why));
        } else if !option.is_empty() {
            // mount(8) ignores an empty option.
            parsed.data.push(data(option).map_err(bad)?);
        }
    }
    Ok(parsed)
}

/// Parses an option of the file system, `key` or `key=value`.
///
/// mount(2) separates options by commas: the text after a comma would be an option that was not
/// checked. A comma is therefore accepted only within quotes.
fn data(option: &str) -> Result<(String, Option<String>), &'static str> {
    if option.contains(['\n', '\0']) {
        return Err("a mount option cannot contain a line feed or a NUL byte");
    }
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (option, None),
    };
    if key.is_empty() {
        return Err("a mount option needs a name before the \"=\"");
    }
    let quoted = value.and_then(|v| v.strip_prefix('"')?.strip_suffix('"'));
    if let Some(inner) = quoted {
        if inner.contains('"') || key.contains(',') {
            return Err("one mount option per string; quotes go around a whole value");
        }
        return Ok((key.to_owned(), Some(inner.to_owned())));
    }
    if option.contains(',') {
        return Err("a mount option cannot contain a comma: list the options one by one, \
                    or put the whole value in double quotes");
    }
    Ok((key.to_owned(), value.map(str::to_owned)))
}

impl MountOptions {
    fn apply(&mut self, effect: Effect, recursive: bool) {
        match effect {
            Effect::Nothing => {}
            Effect::Set(attr) if recursive => {
                self.forget(MountAttr::NONE, attr);
                set(&mut self.rec_set, &mut self.rec_clear, attr);
            }
            Effect::Set(attr) => set(&mut self.set, &mut self.clear, attr),
            Effect::Clear(attr) if recursive => {
                self.forget(attr, MountAttr::NONE);
                set(&mut self.rec_clear, &mut self.rec_set, attr);
            }
            Effect::Clear(attr) => set(&mut self.clear, &mut self.set, attr),
            Effect::Time(word) => self.choose(word, recursive),
            Effect::ReadOnly => {
                self.apply(Effect::Set(MountAttr::RDONLY), recursive);
                if !recursive {
                    self.super_flags.add(SuperFlags::RDONLY);
                }
            }
            Effect::ReadWrite => {
                self.apply(Effect::Clear(MountAttr::RDONLY), recursive);
                if !recursive {
                    self.super_flags.remove(SuperFlags::RDONLY);
                }
            }
            Effect::SuperSet(bits) => self.super_flags.add(bits),
            Effect::SuperClear(bits) => self.super_flags.remove(bits),
            Effect::Bind => {
                self.bind = true;
                self.recursive |= recursive;
            }
            Effect::Remount => self.remount = true,
            Effect::Propagate(kind) => self.propagation.push(Propagation { kind, recursive }),
            Effect::TmpCopyUp => self.tmpcopyup = true,
            Effect::CopySymlink => self.copy_symlink = true,
            Effect::Idmap => {
                self.idmap = Some(recursive);
                self.ranges = None;
            }
        }
    }

    /// Returns the attributes to set and to clear on a mount without mounts below it, where a
    /// recursive option means the same as the plain one.
    pub fn of_one_mount(&self) -> (MountAttr, MountAttr) {
        let set = (self.rec_set & !self.clear) | self.set;
        let clear = self.rec_clear | self.clear;
        // Only the access time mask may be set and cleared at once.
        (set, clear & (MountAttr::ATIME_CLASS | !set))
    }

    /// Applies an access time option (see the top of the file). An earlier choice for the whole tree
    /// is one for the top mount too; a recursive option looks at earlier recursive options only.
    fn choose(&mut self, word: AtimeWord, recursive: bool) {
        let class = MountAttr::ATIME_CLASS;
        let own = chosen(self.set, self.clear);
        let tree = chosen(self.rec_set, self.rec_clear);
        if matches!(word, AtimeWord::NotRelative) {
            if own == Some(MountAttr::RELATIME) {
                self.clear = self.clear & !class;
            }
            if recursive && tree == Some(MountAttr::RELATIME) {
                self.rec_clear = self.rec_clear & !class;
            }
            return;
        }
        if !recursive {
            self.set = (self.set & !class) | next(word, own.or(tree));
            self.clear = self.clear | class;
            return;
        }
        let mode = next(word, tree);
        self.rec_set = (self.rec_set & !class) | mode;
        self.rec_clear = self.rec_clear | class;
        if own != Some(mode) {
            self.forget(class, class);
        }
    }

    /// Drops the earlier changes of the top mount that a recursive option overrides; they are
    /// applied later and would win.
    fn forget(&mut self, from_set: MountAttr, from_clear: MountAttr) {
        self.set = self.set & !from_set;
        self.clear = self.clear & !from_clear;
        if from_set.contains(MountAttr::RDONLY) {
            self.super_flags.set &= !SuperFlags::RDONLY;
        }
        if from_clear.contains(MountAttr::RDONLY) {
            self.super_flags.clear &= !SuperFlags::RDONLY;
        }
    }
}

fn set(to: &mut MountAttr, from: &mut MountAttr, attr: MountAttr) {
    *to = *to | attr;
    *from = *from & !attr;
}

/// Returns the access time mode that a set and a mask to clear choose, if they choose one.
fn chosen(set: MountAttr, clear: MountAttr) -> Option<MountAttr> {
    let class = MountAttr::ATIME_CLASS;
    clear.contains(class).then_some(set & class)
}

/// Returns the access time mode that an option chooses after an earlier choice (see the top of the
/// file).
fn next(word: AtimeWord, earlier: Option<MountAttr>) -> MountAttr {
    match (word, earlier) {
        (AtimeWord::Noatime, _) => MountAttr::NOATIME,
        (AtimeWord::Strict, _) => MountAttr::STRICTATIME,
        (AtimeWord::NotNoatime, Some(MountAttr::STRICTATIME)) => MountAttr::STRICTATIME,
        (AtimeWord::NotStrict, Some(MountAttr::NOATIME)) => MountAttr::NOATIME,
        _ => MountAttr::RELATIME,
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
