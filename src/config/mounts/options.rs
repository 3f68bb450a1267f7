//! Parses the options of a mount entry (config.md, "Linux mount options"; mount(8)).
//!
//! Pure: a list of strings becomes [`MountOptions`], and one table drives both [`parse`] and
//! [`names`]. The last of contradicting options wins, as in mount(8).
//!
//! Access times are one value of three (noatime, relatime, strictatime), not three bits, and
//! `mount_setattr(2)` refuses to set one without clearing the whole class
//! ([`MountAttr::ATIME_CLASS`]). The words that take something back mean:
//! * `atime`: not noatime. Leaves a strictatime or relatime chosen earlier in the list alone,
//!   otherwise chooses relatime, the kernel's default.
//! * `nostrictatime`: not strictatime, "use the kernel's default behaviour" (mount(8)): the same
//!   with the roles exchanged; a noatime chosen earlier stays.
//! * `norelatime`: takes back an earlier relatime, and otherwise changes nothing. It does not
//!   choose strictatime: since Linux 2.6.30 relatime is what a mount without any word gets, and
//!   in mount(8) as in mount(2) the word alone has no effect.
//!
//! `sync`, `dirsync`, `lazytime`, `mand` and `iversion` belong to the file system, not to the
//! mount: a bind mount shares that of its source, and mount(2) ignores them there. They are refused
//! there ([`of_file_system`]). `silent` and `loud` only say how much the kernel logs while it
//! mounts; the mount is the same.

pub use super::flags::{MountAttr, SuperFlags};
use super::idmap::Ranges;
use super::table::{AtimeWord, Effect, effect, refusal};
pub use super::table::{Propagation, PropagationKind, names, of_file_system, propagation};

/// What the options of one mount entry mean.
///
/// Order of use: `rec_set` and `rec_clear` first, over the whole tree (`AT_RECURSIVE`), then
/// `set` and `clear` on the top mount alone. With that order the last word of the list wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// A bind mount (`bind` or `rbind`).
    pub bind: bool,
    /// The bind mount takes the mounts below its source along (`rbind`, even if `bind` follows:
    /// the two do not contradict each other).
    pub recursive: bool,
    /// Changes a mount that is there already.
    pub remount: bool,
    /// Attributes to set on the mount itself.
    pub set: MountAttr,
    /// Attributes to clear on the mount itself; holds the whole access time class when `set`
    /// chooses a value of it.
    pub clear: MountAttr,
    /// Attributes to set on the mount and all below.
    pub rec_set: MountAttr,
    /// Attributes to clear on the mount and all below.
    pub rec_clear: MountAttr,
    /// What is asked of the file system itself.
    pub super_flags: SuperFlags,
    /// Changes of the propagation type, in the order listed.
    pub propagation: Vec<Propagation>,
    /// A tmpfs starts with a copy of what is below it.
    pub tmpcopyup: bool,
    /// Where the source of a bind mount is a symbolic link, a copy of the link takes the place of
    /// the mount (crun(1); podman's `no-dereference`).
    pub copy_symlink: bool,
    /// An idmapped mount is wanted; true if recursively (`ridmap`).
    pub idmap: Option<bool>,
    /// The mapping of an idmapped mount, where the option has one (`idmap=uids=...;gids=...`).
    pub ranges: Option<Ranges>,
    /// The options of the file system, `key` or `key=value`, in order, for `fsconfig(2)`.
    /// Double quotes around a whole value (a SELinux context) are taken off, as mount(8) does.
    pub data: Vec<(String, Option<String>)>,
}

/// An option that is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOption {
    /// Its index in the list.
    pub index: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Parses the options of a mount entry. An option that is not in the table belongs to the file system.
pub fn parse(options: &[String]) -> Result<MountOptions, BadOption> {
    let mut parsed = MountOptions::default();
    for (index, option) in options.iter().enumerate() {
        let bad = |why| BadOption { index, why };
        if let Some(effect) = effect(option) {
            parsed.apply(effect);
        } else if let Some((name @ ("idmap" | "ridmap"), value)) = option.split_once('=') {
            parsed.idmap = Some(name == "ridmap");
            parsed.ranges = Some(Ranges::parse(value).map_err(bad)?);
        } else if option.split_once('=').is_some_and(|(name, _)| effect(name).is_some()) {
            // The kernel would take "ro=false" for "ro" on a new file system.
            return Err(bad("this mount option takes no value"));
        } else if let Some(why) = refusal(option) {
            return Err(bad(why));
        } else if !option.is_empty() {
            // mount(8) takes an empty option for none.
            parsed.data.push(data(option).map_err(bad)?);
        }
    }
    Ok(parsed)
}

/// `key` or `key=value` of a file system's own option.
///
/// A comma would end the option where the options travel as one string (mount(2)), and what
/// follows it would be an option nobody checked; so it is only taken inside of quotes.
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
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Set(attr) => set(&mut self.set, &mut self.clear, attr),
            Effect::Clear(attr) => set(&mut self.clear, &mut self.set, attr),
            Effect::RecSet(attr) => {
                self.forget(MountAttr::NONE, attr);
                set(&mut self.rec_set, &mut self.rec_clear, attr);
            }
            Effect::RecClear(attr) => {
                self.forget(attr, MountAttr::NONE);
                set(&mut self.rec_clear, &mut self.rec_set, attr);
            }
            Effect::Time(word) => {
                choose(&mut self.set, &mut self.clear, word);
            }
            Effect::RecTime(word) => {
                if choose(&mut self.rec_set, &mut self.rec_clear, word) {
                    self.forget(MountAttr::ATIME_CLASS, MountAttr::ATIME_CLASS);
                }
            }
            Effect::SuperSet(bits) => self.super_flags.add(bits),
            Effect::SuperClear(bits) => self.super_flags.remove(bits),
            Effect::ReadOnly => {
                set(&mut self.set, &mut self.clear, MountAttr::RDONLY);
                self.super_flags.add(SuperFlags::RDONLY);
            }
            Effect::ReadWrite => {
                set(&mut self.clear, &mut self.set, MountAttr::RDONLY);
                self.super_flags.remove(SuperFlags::RDONLY);
            }
            Effect::Bind { recursive } => {
                self.bind = true;
                self.recursive |= recursive;
            }
            Effect::Remount => self.remount = true,
            Effect::Propagate(kind, recursive) => {
                self.propagation.push(Propagation { kind, recursive })
            }
            Effect::TmpCopyUp => self.tmpcopyup = true,
            Effect::CopySymlink => self.copy_symlink = true,
            Effect::Idmap { recursive } => {
                self.idmap = Some(recursive);
                self.ranges = None;
            }
        }
    }

    /// The attributes to set and to clear on a mount that has no other below it, where a recursive
    /// word means no more than the plain one.
    pub fn of_one_mount(&self) -> (MountAttr, MountAttr) {
        let set = (self.rec_set & !self.clear) | self.set;
        let clear = self.rec_clear | self.clear;
        // Only the mask of the access times may be set and cleared at once.
        (set, clear & (MountAttr::ATIME_CLASS | !set))
    }

    /// A recursive word overrides what was said against it of the top mount alone; without this
    /// the earlier word, which is applied later, would win.
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

/// Applies a word about access times (see the top of the file); tells whether it chose a value.
fn choose(set: &mut MountAttr, clear: &mut MountAttr, word: AtimeWord) -> bool {
    let class = MountAttr::ATIME_CLASS;
    let chosen = clear.contains(class).then_some(*set & class);
    let value = match (word, chosen) {
        (AtimeWord::Noatime, _) => MountAttr::NOATIME,
        (AtimeWord::Relative, _) => MountAttr::RELATIME,
        (AtimeWord::Strict, _) => MountAttr::STRICTATIME,
        (AtimeWord::NotNoatime, None | Some(MountAttr::NOATIME)) => MountAttr::RELATIME,
        (AtimeWord::NotStrict, None | Some(MountAttr::STRICTATIME)) => MountAttr::RELATIME,
        (AtimeWord::NotRelative, Some(MountAttr::RELATIME)) => {
            *clear = *clear & !class;
            return false;
        }
        (AtimeWord::NotNoatime | AtimeWord::NotStrict, Some(kept)) => kept,
        (AtimeWord::NotRelative, _) => return false,
    };
    *set = (*set & !class) | value;
    *clear = *clear | class;
    true
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
