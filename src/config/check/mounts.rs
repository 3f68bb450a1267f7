//! mounts.

use std::path::{Component, Path};

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};

use super::{Given, each, joined, linux, mappings, namespace, set};
use crate::config::idmap::{Pair, Ranges, Users};
use crate::config::ids::IdMap;
use crate::config::options::{self, MountOptions, SuperFlags};
use crate::{Error, Result};

/// `PATH_MAX` without the final NUL.
const MAX_PATH: usize = 4095;

/// config.md, "Mounts": every entry by the four rules below.
pub fn mounts(spec: &Spec, _: &Given) -> Result<()> {
    for (index, mount) in each(spec.mounts()) {
        destination(index, mount)?;
        let list = mount.options().as_deref().unwrap_or_default();
        let parsed = options::parse(list).map_err(|bad| {
            let value = list.get(bad.index).map(String::as_str).unwrap_or_default();
            Error::invalid(format!("mounts[{index}].options[{}]", bad.index), value, bad.why)
        })?;
        file_system_options(index, mount, &parsed)?;
        let elsewhere = namespace(spec, LinuxNamespaceType::Mount).and_then(joined).is_some();
        if parsed.copy_symlink && elsewhere {
            let why = "is not possible in a mount namespace that is joined by path";
            return Err(option(index, mount, |name| name == "copy-symlink", why));
        }
        source_and_type(index, mount, &parsed)?;
        id_mappings(index, mount, &parsed, spec)?;
    }
    Ok(())
}

/// config.md, "Mounts": a destination inside the root file system. Its root is written as `/`.
///
/// A relative one is allowed by the spec (deprecated): it is relative to `/`.
fn destination(index: usize, mount: &Mount) -> Result<()> {
    let field = || format!("mounts[{index}].destination");
    let destination = mount.destination();
    let length = destination.as_os_str().len();
    if length == 0 {
        return Err(Error::invalid(field(), "", "must not be empty"));
    }
    if length > MAX_PATH {
        let value = format_args!("a path of {length} bytes");
        return Err(Error::invalid(field(), value, format!("is longer than {MAX_PATH} bytes")));
    }
    if destination != Path::new("/") && is_root(destination) {
        let why = "is the root file system itself; write \"/\" to mount over it";
        return Err(Error::invalid(field(), destination, why));
    }
    Ok(())
}

/// Whether a path comes back to `/` by its own words.
fn is_root(path: &Path) -> bool {
    let mut depth = 0_usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth == 0
}

/// File systems of which the kernel takes any option and ignores those that it does not know, with
/// the ones that it knows.
const CARELESS: &[(&str, &[&str])] = &[
    (
        "bpf",
        &[
            "uid",
            "gid",
            "mode",
            "delegate_cmds",
            "delegate_maps",
            "delegate_progs",
            "delegate_attachs",
        ],
    ),
    ("debugfs", &["uid", "gid", "mode"]),
    ("pstore", &["kmsg_bytes"]),
    ("ramfs", &["mode"]),
    ("tracefs", &["uid", "gid", "mode"]),
];

/// config.md, "Linux mount options": an option has an effect, or it is an error. What is none of
/// ours belongs to the file system. A bind mount shares that of its source, where the kernel
/// ignores such an option: it is a misspelt `nosuid`, say, or a label that would not be set.
fn file_system_options(index: usize, mount: &Mount, parsed: &MountOptions) -> Result<()> {
    let kind = Form::of(mount, parsed);
    let refuse = |key: &str, why: &str| Err(option(index, mount, |name| name == key, why));
    let mut keys = parsed.data.iter().map(|(key, _)| key.as_str());
    let foreign = match kind {
        Form::Bind => keys.next().map(|key| (key, "unknown option for a bind mount")),
        Form::Cgroup => keys.next().map(|key| (key, "unknown option for a cgroup mount")),
        Form::New(fstype) => CARELESS
            .iter()
            .find(|(name, _)| *name == fstype)
            .and_then(|(_, known)| keys.find(|key| !known.contains(key)))
            .map(|key| (key, "unknown option for this type of file system, which would ignore it")),
        Form::Remount => None,
    };
    if let Some((key, why)) = foreign {
        return refuse(key, why);
    }
    if matches!(kind, Form::Bind | Form::Cgroup) && parsed.super_flags.beyond_read_only() {
        let why = "belongs to the file system, which this mount shares with others of the host";
        return Err(option(index, mount, options::of_file_system, why));
    }
    if kind == Form::Remount && parsed.super_flags.has(SuperFlags::IVERSION) {
        let why = "is not possible on a remount";
        return Err(option(index, mount, |name| name.ends_with("iversion"), why));
    }
    if parsed.copy_symlink && (kind != Form::Bind || parsed.remount) {
        return refuse("copy-symlink", "is only possible on a bind mount");
    }
    if parsed.tmpcopyup && kind != Form::New("tmpfs") {
        return refuse("tmpcopyup", "is only possible on a tmpfs");
    }
    Ok(())
}

/// What an entry of the list makes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    /// A bind mount, or new flags for one.
    Bind,
    /// The container's part of the cgroup tree.
    Cgroup,
    /// A file system of that type.
    New(&'a str),
    /// New flags for a file system that is mounted there.
    Remount,
}

impl Form<'_> {
    fn of<'a>(mount: &'a Mount, parsed: &MountOptions) -> Form<'a> {
        match mount.typ().as_deref().unwrap_or_default() {
            _ if parsed.bind => Form::Bind,
            _ if parsed.remount => Form::Remount,
            "cgroup" | "cgroup2" => Form::Cgroup,
            fstype => Form::New(fstype),
        }
    }
}

/// config.md, "Mounts": what a mount is made from.
fn source_and_type(index: usize, mount: &Mount, parsed: &MountOptions) -> Result<()> {
    if parsed.remount {
        return Ok(());
    }
    let source = mount.source().as_deref().filter(|source| !source.as_os_str().is_empty());
    if parsed.bind && source.is_none() {
        let field = format!("mounts[{index}].source");
        return Err(Error::invalid_field(field, "missing; a bind mount needs a source"));
    }
    if !parsed.bind && set(mount.typ()) == Some("bind") {
        // The options decide; the kernel has no file system of that name.
        let why = "a bind mount needs the option bind or rbind";
        return Err(Error::invalid(format!("mounts[{index}].type"), "bind", why));
    }
    if !parsed.bind && set(mount.typ()).is_none() {
        let field = format!("mounts[{index}].type");
        let why = "missing; only a bind mount (option bind or rbind) needs no type";
        return Err(Error::invalid_field(field, why));
    }
    Ok(())
}

/// config.md, "POSIX-platform Mounts" and the options idmap and ridmap.
fn id_mappings(index: usize, mount: &Mount, parsed: &MountOptions, spec: &Spec) -> Result<()> {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    let given = !uids.is_empty() || !gids.is_empty();
    let wanted = parsed.idmap.is_some();
    if !given && !wanted {
        return Ok(());
    }
    let own = format!("mounts[{index}]");
    let refuse = |why: &str| option(index, mount, |n| n == "idmap" || n == "ridmap", why);
    if !parsed.bind || parsed.remount {
        let why = "only a bind mount can be idmapped";
        return Err(if wanted {
            refuse(why)
        } else {
            Error::invalid_field(format!("{own}.uidMappings"), why)
        });
    }
    if let Some(ranges) = &parsed.ranges {
        if given {
            return Err(refuse(
                "the mount has uidMappings and gidMappings too; give one of the two",
            ));
        }
        let (uids, gids) = resolve(ranges, spec).map_err(refuse)?;
        for (name, maps) in [("uids", uids), ("gids", gids)] {
            let maps: Vec<_> = maps.iter().map(LinuxIdMapping::from).collect();
            mappings::check(&format!("{own}.options: idmap: {name}"), &maps)?;
        }
        return Ok(());
    }
    if !given && namespace(spec, LinuxNamespaceType::User).is_none() {
        let why = "needs uidMappings and gidMappings of the mount, or a user namespace";
        return Err(refuse(why));
    }
    for (name, mappings) in [("uidMappings", uids), ("gidMappings", gids)] {
        let field = format!("{own}.{name}");
        if given && mappings.is_empty() {
            let why = "uidMappings and gidMappings must be given together";
            return Err(Error::invalid_field(field, why));
        }
        mappings::check(&field, mappings)?;
    }
    Ok(())
}

/// The mapping that an option gives, in ids of the host.
fn resolve(ranges: &Ranges, spec: &Spec) -> std::result::Result<Pair, &'static str> {
    let maps = |list: &Option<Vec<LinuxIdMapping>>| -> Vec<IdMap> {
        list.iter().flatten().map(IdMap::from).collect()
    };
    match namespace(spec, LinuxNamespaceType::User).map(joined) {
        None => ranges.resolve(Users::Host),
        Some(Some(_)) => ranges.resolve(Users::Joined),
        Some(None) => {
            let linux = linux(spec);
            let uids = linux.map(|linux| maps(linux.uid_mappings())).unwrap_or_default();
            let gids = linux.map(|linux| maps(linux.gid_mappings())).unwrap_or_default();
            ranges.resolve(Users::New(&uids, &gids))
        }
    }
}

/// An error about the first option whose name `is` the one meant.
fn option(index: usize, mount: &Mount, is: impl Fn(&str) -> bool, why: &str) -> Error {
    let mut options = each(mount.options());
    let found = options
        .find(|(_, option)| is(option.split_once('=').map_or(option.as_str(), |(name, _)| name)));
    let (at, value) = found.map_or((0, ""), |(at, option)| (at, option.as_str()));
    Error::invalid(format!("mounts[{index}].options[{at}]"), value, why)
}
