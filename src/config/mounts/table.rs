//! The table of mount options (config.md, "Linux mount options"; mount(8)).

use nix::mount::MsFlags;

use super::flags::{MountAttr, SuperFlags};

/// A propagation type: how a mount passes on mount events (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropagationKind {
    /// To and from its peers.
    Shared,
    /// Only from its master.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and the mount cannot be bind mounted.
    Unbindable,
}

/// A change of the propagation type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// The new type.
    pub kind: PropagationKind,
    /// Whether the mounts below change too.
    pub recursive: bool,
}

impl Propagation {
    /// Returns the flags for mount(2).
    pub fn flags(self) -> MsFlags {
        let kind = match self.kind {
            Shared => MsFlags::MS_SHARED,
            Slave => MsFlags::MS_SLAVE,
            Private => MsFlags::MS_PRIVATE,
            Unbindable => MsFlags::MS_UNBINDABLE,
        };
        if self.recursive { kind | MsFlags::MS_REC } else { kind }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum AtimeWord {
    NotNoatime,
    Noatime,
    Relative,
    NotRelative,
    Strict,
    NotStrict,
}

/// The effect of an option. Those up to `Idmap` have a recursive form, with an `r` before the name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    Set(MountAttr),
    Clear(MountAttr),
    Time(AtimeWord),
    /// `ro`: the mount and, if new, the file system; the recursive form affects mounts alone.
    ReadOnly,
    ReadWrite,
    Bind,
    Propagate(PropagationKind),
    Idmap,
    SuperSet(u64),
    SuperClear(u64),
    Remount,
    TmpCopyUp,
    CopySymlink,
    Nothing,
}

use Effect::{
    Bind, Clear, CopySymlink, Idmap, Nothing, Propagate, ReadOnly, ReadWrite, Remount, Set,
    SuperClear, SuperSet, Time, TmpCopyUp,
};
use PropagationKind::{Private, Shared, Slave, Unbindable};

impl Effect {
    fn has_recursive_form(self) -> bool {
        matches!(
            self,
            Set(_) | Clear(_) | Time(_) | ReadOnly | ReadWrite | Bind | Propagate(_) | Idmap
        )
    }
}

/// All options that this runtime supports, sorted by name, without the recursive forms of mount
/// attributes. The recursive forms of options of the file system (crun(1)) are those of crun; on a
/// new file system, which has no mounts below it, they mean the same as the plain forms.
const TABLE: &[(&str, Effect)] = &[
    ("async", SuperClear(SuperFlags::SYNC)),
    ("atime", Time(AtimeWord::NotNoatime)),
    ("bind", Bind),
    ("copy-symlink", CopySymlink),
    ("defaults", Nothing),
    ("dev", Clear(MountAttr::NODEV)),
    ("diratime", Clear(MountAttr::NODIRATIME)),
    ("dirsync", SuperSet(SuperFlags::DIRSYNC)),
    ("exec", Clear(MountAttr::NOEXEC)),
    ("idmap", Idmap),
    ("iversion", SuperSet(SuperFlags::IVERSION)),
    ("lazytime", SuperSet(SuperFlags::LAZYTIME)),
    ("loud", SuperClear(SuperFlags::SILENT)),
    ("mand", SuperSet(SuperFlags::MAND)),
    ("noatime", Time(AtimeWord::Noatime)),
    ("nodev", Set(MountAttr::NODEV)),
    ("nodiratime", Set(MountAttr::NODIRATIME)),
    ("noexec", Set(MountAttr::NOEXEC)),
    ("noiversion", SuperClear(SuperFlags::IVERSION)),
    ("nolazytime", SuperClear(SuperFlags::LAZYTIME)),
    ("nomand", SuperClear(SuperFlags::MAND)),
    ("norelatime", Time(AtimeWord::NotRelative)),
    ("nostrictatime", Time(AtimeWord::NotStrict)),
    ("nosuid", Set(MountAttr::NOSUID)),
    ("nosymfollow", Set(MountAttr::NOSYMFOLLOW)),
    ("private", Propagate(Private)),
    ("rasync", SuperClear(SuperFlags::SYNC)),
    ("rdirsync", SuperSet(SuperFlags::DIRSYNC)),
    ("relatime", Time(AtimeWord::Relative)),
    ("remount", Remount),
    ("rmand", SuperSet(SuperFlags::MAND)),
    ("rnomand", SuperClear(SuperFlags::MAND)),
    ("ro", ReadOnly),
    ("rsync", SuperSet(SuperFlags::SYNC)),
    ("rw", ReadWrite),
    ("shared", Propagate(Shared)),
    ("silent", SuperSet(SuperFlags::SILENT)),
    ("slave", Propagate(Slave)),
    ("strictatime", Time(AtimeWord::Strict)),
    ("suid", Clear(MountAttr::NOSUID)),
    ("symfollow", Clear(MountAttr::NOSYMFOLLOW)),
    ("sync", SuperSet(SuperFlags::SYNC)),
    ("tmpcopyup", TmpCopyUp),
    ("unbindable", Propagate(Unbindable)),
];

/// Mount options of crun and of mount(8) that this version does not support. Some file systems
/// ignore unknown options, so passing these on would lose them.
const REFUSED: &[(&str, &str)] = &[("dest-nofollow", NOT_BUILT), ("src-nofollow", NOT_BUILT)];
const NOT_BUILT: &str = "this mount option is not supported by this version of bulkhead";

/// Whether an option sets or clears a flag of the file system itself, which a mount of a shared
/// file system cannot have for itself alone.
pub fn of_file_system(option: &str) -> bool {
    let shown = |bits: u64| bits & SuperFlags::SILENT == 0;
    matches!(effect(option), Some((SuperSet(bits) | SuperClear(bits), _)) if shown(bits))
}

/// Whether an option is the recursive form of an option of the file system.
pub fn is_recursive_of_file_system(option: &str) -> bool {
    of_file_system(option) && option.strip_prefix('r').is_some_and(of_file_system)
}

/// Returns the effect of an option, and whether the option is the recursive form.
pub(super) fn effect(option: &str) -> Option<(Effect, bool)> {
    let find = |option: &str| {
        let found = TABLE.binary_search_by(|(name, _)| (*name).cmp(option)).ok()?;
        TABLE.get(found).map(|(_, effect)| *effect)
    };
    find(option).map(|effect| (effect, false)).or_else(|| {
        let effect = find(option.strip_prefix('r')?)?;
        effect.has_recursive_form().then_some((effect, true))
    })
}

/// Returns all supported names, sorted, for `features`.
pub fn names() -> Vec<String> {
    let recursive = TABLE.iter().filter(|(_, effect)| effect.has_recursive_form());
    let mut names: Vec<String> = recursive.map(|(name, _)| format!("r{name}")).collect();
    names.extend(TABLE.iter().map(|(name, _)| (*name).to_owned()));
    names.sort_unstable();
    names
}

/// Returns the reason why an option of crun or of mount(8) is refused.
pub(super) fn refusal(option: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == option).map(|(_, why)| *why)
}

/// Returns the propagation change that an option, or `linux.rootfsPropagation`, names.
pub fn propagation(name: &str) -> Option<Propagation> {
    match effect(name)? {
        (Propagate(kind), recursive) => Some(Propagation { kind, recursive }),
        _ => None,
    }
}
