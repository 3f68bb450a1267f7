//! The mount points of a container to restore. CRIU expects them in the root file system, which can
//! be a fresh copy of the image: they are made as a create makes them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::external::target;
use crate::config::{Mount, MountKind, Plan, mounts};
use crate::fs::Root;
use crate::init::ordinary_dir;
use crate::mount::trees::open_dir;
use crate::{Context, Result};

/// Makes the missing mount points. Returns the place of each mount in the container, without links.
pub(super) fn make(plan: &Plan) -> Result<Vec<PathBuf>> {
    let mut places = Vec::with_capacity(plan.mounts.len());
    for (index, mount) in plan.mounts.iter().enumerate() {
        let earlier = plan.mounts.get(..index).unwrap_or_default();
        let point = Point { plan, earlier, places: &places };
        let place = point.make(&mount.destination, kind(mount));
        let place = place.with_context(|| format!("mounts[{}]: make the mount point", mount.index));
        places.push(place?);
    }
    let bound = plan.devices.iter().filter(|d| d.origin.is_mount());
    for device in bound {
        let point = Point { plan, earlier: &plan.mounts, places: &places };
        point.make(&device.path, Made::File).context("linux.devices: make the mount point")?;
    }
    Ok(places)
}

/// The kind of file at a mount point.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Directory,
    /// A directory that is not reached by a link.
    Ordinary,
    File,
    /// It exists, or is no mount point.
    Nothing,
}

fn kind(mount: &Mount) -> Made {
    match &mount.kind {
        // The error of a source that is missing is that of CRIU.
        MountKind::Bind(source) if source.is_dir() => Made::Directory,
        MountKind::Bind(_) => Made::File,
        MountKind::New(fstype, _) if matches!(fstype.as_str(), "proc" | "sysfs") => Made::Ordinary,
        MountKind::New(..) | MountKind::Cgroup => Made::Directory,
        MountKind::Own(_) | MountKind::Link(_) | MountKind::Remount => Made::Nothing,
    }
}

struct Point<'a> {
    plan: &'a Plan,
    /// The mounts that are made before.
    earlier: &'a [Mount],
    /// The places of the earlier mounts.
    places: &'a [PathBuf],
}

impl Point<'_> {
    fn make(&self, path: &Path, made: Made) -> Result<PathBuf> {
        let above = mounts::last_above(self.earlier, path);
        let above = above.and_then(|at| Some((self.earlier.get(at)?, self.places.get(at)?)));
        let (host, base, inside) = match above {
            None => (self.plan.rootfs.as_path(), Path::new("/"), path),
            Some((mount, place)) => {
                let inside = path.strip_prefix(&mount.destination).unwrap_or(path);
                if inside.as_os_str().is_empty() {
                    return Ok(place.clone());
                }
                match &mount.kind {
                    MountKind::Bind(source) => (source.as_path(), place.as_path(), inside),
                    // Its content is in the images.
                    _ => return Ok(place.join(inside)),
                }
            }
        };
        let root = Root::new(open_dir(host)?);
        let there = match made {
            Made::Directory => root.make_dir(inside)?,
            // As in a create (CVE-2019-19921).
            Made::Ordinary => ordinary_dir(&root, inside, "proc or sysfs")?,
            Made::File => root.make_file(inside)?,
            Made::Nothing => match root.find(inside) {
                Ok(there) => there,
                Err(_) => return Ok(base.join(inside)),
            },
        };
        let top = target(root.fd())?;
        let there: OwnedFd = there;
        let found = target(there.as_fd())?;
        let relative = found.strip_prefix(&top).unwrap_or(inside);
        Ok(base.join(relative))
    }
}
