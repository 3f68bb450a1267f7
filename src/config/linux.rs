//! The smaller members of a configuration: host name, restricted paths, propagation, clock offsets,
//! and the members that this version does not support.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use nix::mount::MsFlags;
use oci_spec::runtime::LinuxTimeOffset;

use super::mounts::options;
use super::namespaces::{Choice, Kind, Namespaces};
use super::selinux;
use crate::{Error, Result, host};

/// `__NEW_UTS_LEN`: the kernel's longest host or domain name.
const MAX_NAME: usize = 64;

/// Returns a string that is neither absent nor empty.
fn set(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// Parses `hostname` or `domainname` (config.md, "Hostname"). Refuses a name without a UTS
/// namespace: it would become the host's.
pub fn uts_name(
    field: &str,
    name: &Option<String>,
    namespaces: &Namespaces,
) -> Result<Option<String>> {
    let Some(name) = set(name) else { return Ok(None) };
    if !namespaces.has(Kind::Uts) {
        let why = "needs a uts namespace, or the host's name would be changed";
        return Err(Error::invalid(field, name, why));
    }
    if name.len() > MAX_NAME {
        return Err(Error::invalid(field, name, "is longer than 64 bytes"));
    }
    Ok(Some(name.to_owned()))
}

/// Parses `maskedPaths` or `readonlyPaths` (config-linux.md): absolute paths. Refuses them without
/// a mount namespace: they would be the host's. Drops duplicates.
pub fn restricted_paths(
    name: &str,
    list: &Option<Vec<String>>,
    namespaces: &Namespaces,
) -> Result<Vec<PathBuf>> {
    let list = list.as_deref().unwrap_or_default();
    if !list.is_empty() && !namespaces.has(Kind::Mount) {
        return Err(Error::invalid_field(format!("linux.{name}"), "needs a mount namespace"));
    }
    if let Some(index) = list.iter().position(|path| !path.starts_with('/')) {
        let path = list.get(index).map_or("", String::as_str);
        let field = format!("linux.{name}[{index}]");
        return Err(Error::invalid(field, path, "must be an absolute path"));
    }
    let mut seen = BTreeSet::new();
    Ok(list.iter().filter(|path| seen.insert(*path)).map(PathBuf::from).collect())
}

/// Parses `linux.rootfsPropagation` (config-linux.md, "Rootfs Mount Propagation"), with the
/// recursive forms that engines use. The default is rslave, as in runc: mounts of the host appear
/// in the container, mounts of the container do not appear on the host.
pub fn propagation(name: &Option<String>) -> Result<MsFlags> {
    let name = set(name).unwrap_or("rslave");
    options::propagation(name).map(options::Propagation::flags).ok_or_else(|| {
        let why =
            "must be shared, slave, private or unbindable, or one of these with an r before it";
        Error::invalid("linux.rootfsPropagation", name, why)
    })
}

/// Refuses a string with a line feed, which would end the value or begin a second line, or with a
/// NUL byte.
pub fn one_line(field: &str, text: Option<&str>) -> Result<()> {
    match text {
        Some(text) if text.contains(['\n', '\0']) => {
            Err(Error::invalid(field, text, "must be one line without a NUL byte"))
        }
        _ => Ok(()),
    }
}

/// Parses `linux.mountLabel` (config-linux.md, "Mount Label").
pub fn mount_label(label: Option<&str>) -> Result<Option<String>> {
    one_line("linux.mountLabel", label)?;
    selinux::label("linux.mountLabel", label, host::has_selinux)
}

/// Parses `linux.timeOffsets` (config-linux.md, "Offset for Time Namespace"). Returns lines of
/// `<clock> <seconds> <nanoseconds>` for /proc/self/timens_offsets (time_namespaces(7)).
pub fn time_offsets(
    offsets: &Option<HashMap<String, LinuxTimeOffset>>,
    namespaces: &Namespaces,
) -> Result<Option<String>> {
    let Some(offsets) = offsets.as_ref().filter(|offsets| !offsets.is_empty()) else {
        return Ok(None);
    };
    let why = match namespaces.time {
        Choice::Inherit => Some("needs a time namespace"),
        Choice::Join(_) => Some("the offsets of a namespace that is joined cannot be changed"),
        Choice::New => None,
    };
    if let Some(why) = why {
        return Err(Error::invalid_field("linux.timeOffsets", why));
    }
    let mut clocks: Vec<_> = offsets.iter().collect();
    clocks.sort_unstable_by_key(|(clock, _)| *clock);
    let mut lines = String::new();
    for (clock, offset) in clocks {
        if !matches!(clock.as_str(), "boottime" | "monotonic") {
            let why = "unknown clock; \"boottime\" and \"monotonic\" have an offset";
            return Err(Error::invalid("linux.timeOffsets", clock, why));
        }
        let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if nanosecs >= 1_000_000_000 {
            let field = format!("linux.timeOffsets.{clock}.nanosecs");
            return Err(Error::invalid(field, nanosecs, "must be less than 1000000000"));
        }
        lines.push_str(&format!("{clock} {secs} {nanosecs}\n"));
    }
    Ok(Some(lines))
}

/// Checks `linux.cgroupsPath` (config-linux.md, "Cgroups Path"): it must stay below the mount point
/// of the cgroup file system.
pub fn cgroups_path(path: Option<&Path>) -> Result<Option<&Path>> {
    let Some(path) = path else { return Ok(None) };
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(Error::invalid("linux.cgroupsPath", path, "must not contain \"..\""));
    }
    if path.to_string_lossy().contains('\n') {
        return Err(Error::invalid("linux.cgroupsPath", path, "must not contain a line feed"));
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_once() {
        let namespaces = Namespaces { mount: Choice::New, ..Namespaces::default() };
        let list = Some(["/b", "/a", "/b"].map(str::to_owned).to_vec());
        let paths = restricted_paths("maskedPaths", &list, &namespaces).unwrap();
        assert_eq!(paths, [Path::new("/b"), Path::new("/a")]);
    }

    #[test]
    fn propagation_names() {
        let parse = |name: &str| propagation(&Some(name.to_owned()));
        assert_eq!(propagation(&None).unwrap(), MsFlags::MS_SLAVE | MsFlags::MS_REC);
        assert_eq!(parse("").unwrap(), MsFlags::MS_SLAVE | MsFlags::MS_REC);
        assert_eq!(parse("shared").unwrap(), MsFlags::MS_SHARED);
        assert_eq!(parse("runbindable").unwrap(), MsFlags::MS_UNBINDABLE | MsFlags::MS_REC);
        // A mount option, but not a propagation type.
        assert!(parse("bind").is_err());
    }

    #[test]
    fn an_empty_host_name_leaves_that_of_the_host() {
        let name = uts_name("hostname", &Some(String::new()), &Namespaces::default());
        assert_eq!(name.unwrap(), None);
    }
}
