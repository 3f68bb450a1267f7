//! The links of /dev.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::config::devices::LINKS;
use crate::config::mounts::{is_shared_with_host, last_above};
use crate::config::{Choice, Plan};
use crate::fs::{PATH, Root};
use crate::mount::tree;
use crate::terminal::pty;
use crate::{Context, Error, Result};

/// Makes the links of /dev that the specification and engines expect.
pub(super) fn make_links(plan: &Plan, root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    for (name, target) in LINKS {
        link(dev, name, target)?;
    }
    // The container's own instance of devpts, not the host's.
    if !link(dev, "ptmx", "pts/ptmx")? && plan.namespaces.mount != Choice::Inherit {
        own_ptmx(plan, root, dev).context("replace \"/dev/ptmx\" of the rootfs")?;
    }
    if rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok() {
        link(dev, "core", "/proc/kcore")?;
    }
    Ok(())
}

/// Mounts the ptmx of the container's own devpts over a node of the image, which may lead to the
/// host's terminals. Nothing is removed from a directory that may be shared with others.
fn own_ptmx(plan: &Plan, root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    let above = last_above(&plan.mounts, Path::new("/dev/ptmx"));
    if above.and_then(|place| plan.mounts.get(place)).is_some_and(is_shared_with_host) {
        // The mount would appear on the host.
        return Ok(());
    }
    let flags = PATH | OFlags::NOFOLLOW;
    let there = rustix::fs::openat(dev, "ptmx", flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&there)?.st_mode) == FileType::Symlink {
        // The image decides where its own link leads.
        return Ok(());
    }
    let own = match root.find_no_links(Path::new("/dev/pts/ptmx")) {
        Ok(own) => own,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(Error::from(errno)),
    };
    if pty::verify_ptmx(own.as_fd()).is_ok() {
        tree::attach_on(tree::clone_file(&own, false)?.as_fd(), there)?;
    }
    Ok(())
}

/// Makes a link unless a file of that name exists; returns whether the link was made.
fn link(dev: BorrowedFd<'_>, name: &str, target: &str) -> Result<bool> {
    match rustix::fs::symlinkat(target, dev, name) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(Error::from(errno).context(format!("link \"/dev/{name}\""))),
    }
}
