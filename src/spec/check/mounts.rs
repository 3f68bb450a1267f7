//! mounts.

use std::path::{Component, Path};

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::{Given, each, mappings, namespace, set};
use crate::plan::options::{self, MountOptions};
use crate::{Error, Result};

/// `PATH_MAX` without the final NUL.
const MAX_PATH: usize = 4095;

/// config.md, "Mounts": every entry by the four rules below.
pub fn mounts(spec: &Spec, _: &Given) -> Result<()> {
    let userns = namespace(spec, LinuxNamespaceType::User).is_some();
    for (index, mount) in each(spec.mounts()) {
        destination(index, mount)?;
        let list = mount.options().as_deref().unwrap_or_default();
        let parsed = options::parse(list).map_err(|bad| {
            let value = list.get(bad.index).map(String::as_str).unwrap_or_default();
            Error::invalid(format!("mounts[{index}].options[{}]", bad.index), value, bad.why)
        })?;
        file_system_options(index, mount, &parsed)?;
        source_and_type(index, mount, &parsed)?;
        id_mappings(index, mount, &parsed, userns)?;
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

/// config.md, "Linux mount options". On a bind mount the kernel ignores the options of a file
/// system, so there a word that is none of ours is an error: it is a misspelt `nosuid`, say, or a
/// label that would not be set. `name=value` is none of ours in any spelling, and passes.
fn file_system_options(index: usize, mount: &Mount, parsed: &MountOptions) -> Result<()> {
    if parsed.bind
        && let Some((key, _)) =
            parsed.data.iter().find(|(key, value)| value.is_none() || key.ends_with("context"))
    {
        let why = "unknown option for a bind mount";
        return Err(option(index, mount, &[key], why));
    }
    if parsed.tmpcopyup && (parsed.bind || mount.typ().as_deref() != Some("tmpfs")) {
        return Err(option(index, mount, &["tmpcopyup"], "is only possible on a tmpfs"));
    }
    Ok(())
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
fn id_mappings(index: usize, mount: &Mount, parsed: &MountOptions, userns: bool) -> Result<()> {
    const WORDS: [&str; 2] = ["idmap", "ridmap"];
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    let given = !uids.is_empty() || !gids.is_empty();
    let wanted = parsed.idmap.is_some();
    if !given && !wanted {
        return Ok(());
    }
    let own = format!("mounts[{index}]");
    if !parsed.bind {
        let why = "only a bind mount can be idmapped";
        return Err(if wanted {
            option(index, mount, &WORDS, why)
        } else {
            Error::invalid_field(format!("{own}.uidMappings"), why)
        });
    }
    if !given && !userns {
        let why = "needs uidMappings and gidMappings of the mount, or a user namespace";
        return Err(option(index, mount, &WORDS, why));
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

/// An error about the first option with one of these names.
fn option(index: usize, mount: &Mount, names: &[&str], why: &str) -> Error {
    let mut options = each(mount.options());
    let found = options.find(|(_, option)| {
        names.contains(&option.split_once('=').map_or(option.as_str(), |(name, _)| name))
    });
    let (at, value) = found.map_or((0, ""), |(at, option)| (at, option.as_str()));
    Error::invalid(format!("mounts[{index}].options[{at}]"), value, why)
}
