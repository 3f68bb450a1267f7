//! The last changes in the container: read-only mounts that had to wait, names, sysctls, masked and
//! read-only paths.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use super::inherited::Init;
use super::mounts::Late;
use super::outward::Outward;
use crate::config::Plan;
use crate::fs::Root;
use crate::mount::closing::close_later;
use crate::mount::trees::Trees;
use crate::mount::{filesystem, tree};
use crate::sys::mount::Change;
use crate::sys::ns;
use crate::{Context, Error, Kind, Result};

/// Makes the mounts read-only whose flag waited until everything inside was made.
pub(crate) fn read_only_mounts(late: Vec<Late<'_>>) -> Result<()> {
    for Late { destination, mount } in late {
        tree::set_read_only(mount.as_fd())
            .with_context(|| format!("make {destination:?} read-only"))?;
        close_later(mount);
    }
    Ok(())
}

pub(crate) fn names(plan: &Plan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name).with_context(|| format!("set hostname {name:?}"))?;
    }
    if let Some(name) = &plan.domainname {
        ns::set_domain_name(name.as_bytes()).with_context(|| format!("set domainname {name:?}"))?;
    }
    Ok(())
}

/// Sets the sysctls through the host's procfs: a write to /proc/sys acts on the namespaces of the
/// writer, whatever the instance.
pub(crate) fn sysctls(init: &Init<'_>) -> Result<()> {
    for (path, value) in &init.plan.sysctl {
        init.inherited
            .proc
            .write(Path::new("sys").join(path), value.as_bytes())
            .with_context(|| format!("linux.sysctl: {:?}", path.replace('/', ".")))?;
    }
    Ok(())
}

pub(crate) fn paths(plan: &Plan, root: &Root, trees: &Trees, outward: &Outward) -> Result<()> {
    for path in &plan.readonly {
        if let Some(there) = existing(root, path)? {
            read_only(there, root, outward).with_context(|| format!("make {path:?} read-only"))?;
        }
    }
    let null = trees.null.as_ref().map(AsFd::as_fd);
    let label = plan.mount_label.as_deref();
    let mut mask = Mask { root, outward, label, null, null_attached: false, empty: None };
    for path in &plan.masked {
        if let Some(there) = existing(root, path)? {
            mask.hide(there).with_context(|| format!("mask {path:?}"))?;
        }
    }
    Ok(())
}

/// Opens a path to protect; `None` if it does not exist. Any other failure (a link loop, a file in
/// place of a directory) is an error: a container must not start without its masks.
fn existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.find(path) {
        Ok(there) => Ok(Some(there)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::from(errno).context(format!("find {path:?} in the rootfs"))),
    }
}

/// Binds a file or directory on itself, read-only with all mounts below it.
fn read_only(there: OwnedFd, root: &Root, outward: &Outward) -> Result<()> {
    let tree = tree::clone_file(&there, true)?;
    // A copy of a mount that is shared with the host would be shared, too.
    let propagation = libc::MS_SLAVE;
    let change = Change { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation };
    tree::set(tree.as_fd(), true, change)?;
    outward.attach(root, tree.as_fd(), there)?;
    close_later(tree);
    Ok(())
}

/// Hides files behind /dev/null and directories behind one empty, read-only tmpfs that they all
/// share (a tmpfs for each would burden a host of many containers).
struct Mask<'a> {
    root: &'a Root,
    outward: &'a Outward,
    label: Option<&'a str>,
    null: Option<BorrowedFd<'a>>,
    null_attached: bool,
    empty: Option<OwnedFd>,
}

impl Mask<'_> {
    /// Only an attached mount can be cloned (before Linux 6.15), so the first one is used itself.
    fn attach_copy(&self, mount: BorrowedFd<'_>, there: OwnedFd) -> Result<()> {
        let copy = tree::clone_file(mount, false)?;
        self.outward.attach(self.root, copy.as_fd(), there)?;
        close_later(copy);
        Ok(())
    }

    fn hide(&mut self, there: OwnedFd) -> Result<()> {
        if !tree::is_dir(there.as_fd())? {
            let null =
                self.null.ok_or_else(|| Error::new(Kind::System, "/dev/null is not open"))?;
            if !self.null_attached {
                self.null_attached = true;
                return self.outward.attach(self.root, null, there);
            }
            return self.attach_copy(null, there);
        }
        match &self.empty {
            Some(empty) => self.attach_copy(empty.as_fd(), there),
            None => {
                let options = [("nr_inodes", "2"), ("nr_blocks", "1"), ("mode", "755")];
                let empty = filesystem::tmpfs(&options, self.label, tree::CLOSED)?;
                self.outward.attach(self.root, empty.as_fd(), there)?;
                self.empty = Some(empty);
                Ok(())
            }
        }
    }
}
