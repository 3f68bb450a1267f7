//! Bind mounts of the host's own device nodes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::tree::{self, clone_path};
use crate::config::Device;
use crate::config::devices::Origin;
use crate::fs::{is_char_device, read_text};
use crate::sys::mount::Change;
use crate::{Context, Error, Kind, Result};

/// Clones the mount of the host's node for a device that is bound; `None` for any other device.
pub(super) fn source(device: &Device) -> Result<Option<OwnedFd>> {
    if device.origin != Origin::Bound {
        return Ok(None);
    }
    let path = &device.path;
    let open = |path: &Path| -> Result<Option<OwnedFd>> {
        let tree = clone_path(path, false)?;
        let is_it = device.is_node(&rustix::fs::fstat(&tree)?);
        Ok(is_it.then_some(tree))
    };
    // The usual name first, then the name that the host uses for the number.
    let tree = match open(path) {
        Ok(Some(tree)) => Ok(tree),
        answer => match host_path(device).map(|path| open(&path)) {
            Some(Ok(Some(tree))) => Ok(tree),
            _ => answer.and_then(|_| {
                let numbers = format!("{}:{}", device.major, device.minor);
                Err(Error::new(Kind::Invalid, format!("the host's node is not {numbers}")))
            }),
        },
    };
    let tree = tree.with_context(|| {
        format!("bind device {path:?} (in a user namespace the host's own node is bound)")
    })?;
    restrict(tree.as_fd()).with_context(|| format!("bind device {path:?}"))?;
    Ok(Some(tree))
}

/// Returns the path of the node that the kernel (devtmpfs) has made for the number of a device.
fn host_path(device: &Device) -> Option<PathBuf> {
    let kind = if device.kind == FileType::BlockDevice { "block" } else { "char" };
    let text = read_text(&format!("/sys/dev/{kind}/{}:{}/uevent", device.major, device.minor));
    let text = text.ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(Path::new("/dev").join(name))
}

/// Protects the host's node from a container that uses it. Read-only: a device can be written
/// through such a mount, but mode, owner and times, which are the host's, cannot be changed.
/// Private: on a peer of the host's /dev, a container that may mount would mount over the host's
/// node.
fn restrict(node: BorrowedFd<'_>) -> Result<()> {
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    tree::set(node, false, Change { set: attributes, clear: 0, propagation: libc::MS_PRIVATE })
}

/// Clones the mount of the host's /dev/null, to hide files with.
pub(super) fn null() -> Result<OwnedFd> {
    let null = clone_path(Path::new("/dev/null"), false).context("open /dev/null")?;
    check_null(null.as_fd())?;
    restrict(null.as_fd()).context("make the mount of /dev/null read-only")?;
    Ok(null)
}

/// Fails unless `null` is the null device: any other file at /dev/null would be mounted over every
/// masked path (CVE-2025-31133).
fn check_null(null: BorrowedFd<'_>) -> Result<()> {
    if is_char_device(&rustix::fs::fstat(null).context("check /dev/null")?, 1, 3) {
        return Ok(());
    }
    Err(Error::new(Kind::System, "/dev/null is not the character device 1:3"))
}
