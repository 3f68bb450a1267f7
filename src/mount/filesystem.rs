//! New file systems as detached mounts: fsopen(2), fsconfig(2), fsmount(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use super::closing::close_later;
use crate::config::options::SuperFlags;
use crate::{Context, Error, Kind, Result};

/// Makes a tmpfs with the given options, SELinux label and MOUNT_ATTR_* attributes.
pub(crate) fn tmpfs(
    options: &[(&str, &str)],
    label: Option<&str>,
    attributes: u64,
) -> Result<OwnedFd> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), Some(value.to_owned()));
    let options = options.iter().copied().chain(label.map(|label| ("context", label)));
    let options: Vec<_> = options.map(owned).collect();
    make("tmpfs", "tmpfs", None, SuperFlags::default(), &options, attributes)
}

/// Makes a file system of type `fstype` from `source`, with MOUNT_ATTR_* attributes. `descriptor`: an
/// option whose value is a descriptor.
pub(crate) fn make(
    fstype: &str,
    source: &str,
    descriptor: Option<(&str, BorrowedFd<'_>)>,
    flags: SuperFlags,
    data: &[(String, Option<String>)],
    attributes: u64,
) -> Result<OwnedFd> {
    let context = match fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(Errno::NODEV) => {
            let why = format!("type {fstype:?}: this kernel has no such file system");
            return Err(Error::new(Kind::Invalid, why));
        }
        answer => answer.with_context(|| format!("open file system type {fstype:?}"))?,
    };
    let configure = || -> Result<OwnedFd> {
        if !source.is_empty() {
            fsconfig_set_string(&context, "source", source)
                .with_context(|| format!("source {source:?}"))?;
        }
        if let Some((key, fd)) = descriptor {
            fsconfig_set_fd(&context, key, fd).with_context(|| format!("option {key:?}"))?;
        }
        set_options(context.as_fd(), flags, !PSEUDO.contains(&fstype), data)?;
        fsconfig_create(&context)
            .with_context(|| format!("make a file system of type {fstype:?}"))?;
        let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .with_context(|| format!("mount file system type {fstype:?}"))
    };
    let made = configure().map_err(|error| add_kernel_message(error, context.as_fd()));
    close_later(context);
    made
}

/// The read-only flag of the file system itself matters where there is a device behind it; these
/// share theirs with others or have none, and the mount's own flag is what counts.
const PSEUDO: [&str; 7] = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts", "tmpfs"];

/// Sets flags, the read-only flag among them only if `with_read_only`, and the other options.
pub(crate) fn set_options(
    context: BorrowedFd<'_>,
    flags: SuperFlags,
    with_read_only: bool,
    data: &[(String, Option<String>)],
) -> Result<()> {
    for name in
        flags.fsconfig_names().filter(|name| with_read_only || !matches!(*name, "ro" | "rw"))
    {
        fsconfig_set_flag(context, name).with_context(|| format!("option {name:?}"))?;
    }
    for (key, value) in data {
        match value {
            Some(value) => fsconfig_set_string(context, key.as_str(), value.as_str())
                .with_context(|| format!("option \"{key}={value}\""))?,
            None => fsconfig_set_flag(context, key.as_str())
                .with_context(|| format!("option {key:?}"))?,
        }
    }
    Ok(())
}

/// Adds what the file system reports about a configuration that it refused (fsopen(2), "message
/// retrieval").
pub(crate) fn add_kernel_message(error: Error, context: BorrowedFd<'_>) -> Error {
    match kernel_message(context) {
        Some(message) => error.context(format!("the kernel says {message:?}")),
        None => error,
    }
}

fn kernel_message(context: BorrowedFd<'_>) -> Option<String> {
    let mut buffer = [0; 256];
    let length = rustix::io::read(context, &mut buffer).ok()?;
    let text = String::from_utf8_lossy(buffer.get(..length)?).trim().to_owned();
    Some(text.strip_prefix("e ").unwrap_or(&text).to_owned()).filter(|text| !text.is_empty())
}
