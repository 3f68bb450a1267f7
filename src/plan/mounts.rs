//! `mounts`, with every option given its meaning.

use std::path::{Component, Path, PathBuf};

use super::ids::IdMap;
use super::options::{self, MountOptions};
use crate::{Error, Result};

/// One entry, ready to be done.
#[derive(Debug)]
pub struct Mount {
    /// Its place in the list, for error texts.
    pub index: usize,
    /// Absolute path in the container.
    pub destination: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// How.
    pub options: MountOptions,
    /// The mapping of an idmapped mount: `Some(None)` is the container's own.
    pub idmap: Option<Option<(Vec<IdMap>, Vec<IdMap>)>>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A part of the host's tree, absolute.
    Bind(PathBuf),
    /// A new instance of a file system: its type and source.
    New(String, String),
    /// The container's own part of the cgroup tree, in whatever form this host has it.
    Cgroup,
    /// New flags for what is mounted there already.
    Remount,
}

/// Reads the list. Bind sources that are not absolute are relative to the bundle.
pub fn plan(
    list: &[oci_spec::runtime::Mount],
    bundle: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<Mount>> {
    list.iter().enumerate().map(|(index, mount)| one(index, mount, bundle, warnings)).collect()
}

/// Whether the spec brings a /dev of its own, which is then left as it is.
pub fn binds_dev(mounts: &[Mount]) -> bool {
    mounts
        .iter()
        .any(|m| m.destination == Path::new("/dev") && matches!(m.kind, MountKind::Bind(_)))
}

fn one(
    index: usize,
    mount: &oci_spec::runtime::Mount,
    bundle: &Path,
    warnings: &mut Vec<String>,
) -> Result<Mount> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let list = mount.options().as_deref().unwrap_or(&[]);
    let options = options::parse(list).map_err(|bad| {
        let value = list.get(bad.index).map_or("", String::as_str);
        Error::invalid(format!("mounts[{index}].options[{}]", bad.index), value, bad.why)
    })?;
    let fstype = mount.typ().as_deref().unwrap_or("");
    let kind = if options.remount {
        MountKind::Remount
    } else if options.bind {
        let source = mount.source().as_ref().filter(|s| !s.as_os_str().is_empty());
        let source = source.ok_or_else(|| Error::invalid_field(field("source"), "missing"))?;
        for (key, _) in &options.data {
            let field = field("options");
            warnings.push(format!("{field}: {key:?}: ignored: it means nothing on a bind mount"));
        }
        MountKind::Bind(bundle.join(source))
    } else if fstype == "cgroup" || fstype == "cgroup2" {
        MountKind::Cgroup
    } else {
        let source = mount.source().as_ref().map_or("", |s| s.to_str().unwrap_or(""));
        MountKind::New(fstype.to_owned(), source.to_owned())
    };
    let maps = |list: &Option<Vec<oci_spec::runtime::LinuxIdMapping>>| -> Vec<IdMap> {
        list.iter().flatten().map(IdMap::from).collect()
    };
    let (uids, gids) = (maps(mount.uid_mappings()), maps(mount.gid_mappings()));
    let idmap = if !uids.is_empty() || !gids.is_empty() {
        Some(Some((uids, gids)))
    } else {
        options.idmap.map(|_| None)
    };
    Ok(Mount { index, destination: absolute(mount.destination()), kind, options, idmap })
}

/// A destination that is not absolute is relative to `/` (config.md, "Mounts"); a trailing slash
/// and `.` mean nothing.
fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path).components().filter(|c| *c != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        assert_eq!(absolute(Path::new("tmp/x")), Path::new("/tmp/x"));
        assert_eq!(absolute(Path::new("/tmp//x/./y/")), Path::new("/tmp/x/y"));
        assert_eq!(absolute(Path::new("/tmp/../x")), Path::new("/tmp/../x"));
    }
}
