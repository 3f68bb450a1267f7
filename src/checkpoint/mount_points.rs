//! The mount points of a container to restore. CRIU expects them in the root file system, which can
//! be a fresh copy of the image: they are made as a create makes them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::external::target;
use crate::config::{Mount, MountKind, Plan, mounts};
use crate::fs::Root;
use crate::init::ordinary_dir;
use crate::mount::tree::is_dir;
use crate::mount::trees::{open_dir, open_source};
use crate::{Context, Result};

/// Makes the missing mount points. Returns the place of each mount in the container, without links.
pub(super) fn make(plan: &Plan) -> Result<Vec<PathBuf>> {
    let mut places = Vec::with_capacity(plan.mounts.len());
    for (index, mount) in plan.mounts.iter().enumerate() {
        let earlier = plan.mounts.get(..index).unwrap_or_default();
        let point = Point { plan, earlier, places: &places };
        let place = kind(mount, plan).and_then(|kind| point.make(&mount.destination, kind));
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

fn kind(mount: &Mount, plan: &Plan) -> Result<Made> {
    Ok(match &mount.kind {
        MountKind::Bind(source) => {
            let opened = open_source(source, plan).with_context(|| format!("source {source:?}"))?;
            if is_dir(opened.as_fd())? { Made::Directory } else { Made::File }
        }
        MountKind::New(fstype, _) if matches!(fstype.as_str(), "proc" | "sysfs") => Made::Ordinary,
        MountKind::New(..) | MountKind::Cgroup => Made::Directory,
        MountKind::Own(_) | MountKind::Link(_) | MountKind::Remount => Made::Nothing,
    })
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
            None => (open_dir(&self.plan.rootfs)?, Path::new("/"), path),
            Some((mount, place)) => {
                let inside = path.strip_prefix(&mount.destination).unwrap_or(path);
                if inside.as_os_str().is_empty() {
                    return Ok(place.clone());
                }
                match &mount.kind {
                    MountKind::Bind(source) => {
                        (open_source(source, self.plan)?, place.as_path(), inside)
                    }
                    // Its content is in the images.
                    _ => return Ok(place.join(inside)),
                }
            }
        };
        let root = Root::new(host);
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
