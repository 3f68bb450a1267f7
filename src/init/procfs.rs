//! The procfs of a pid namespace that is joined.
//!
//! A procfs shows the pid namespace of the process that makes it, and init joins the namespace only
//! at its end ([`super::birth`]). Since Linux 6.18 the namespace can be named instead (`pidns`,
//! fsconfig(2)). On an older kernel a process is cloned into the namespace, makes the mount and
//! ends: it has no root directory but the container's, no descriptor but a socket, and no
//! environment.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::{FsOpenFlags, fsconfig_set_fd, fsopen};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::lifetime::close_but;
use crate::protocol::{MAX, decode_error, encode_error};
use crate::sys::clone::clone3;
use crate::sys::fdpass;
use crate::{Context, Error, Kind, Result};

/// Makes a procfs of `pid_namespace` by `make`, which receives the namespace if that can be named.
/// `root` is the container's root directory.
pub(crate) fn make(
    pid_namespace: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    make: impl Fn(Option<BorrowedFd<'_>>) -> Result<OwnedFd>,
) -> Result<OwnedFd> {
    match can_be_named(pid_namespace) {
        Ok(true) => make(Some(pid_namespace)),
        Ok(false) => made_inside(pid_namespace, root, || make(None)),
        Err(errno) => Err(Error::from(errno).context("name the pid namespace of the procfs")),
    }
}

/// Whether the kernel knows the option; EINVAL if it does not.
fn can_be_named(pid_namespace: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    match fsconfig_set_fd(&context, "pidns", pid_namespace) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn made_inside(
    pid_namespace: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    make: impl Fn() -> Result<OwnedFd>,
) -> Result<OwnedFd> {
    let (own, other) = fdpass::pair().context("make a socket pair")?;
    let maker = || -> Result<i32> {
        setns(pid_namespace, CloneFlags::CLONE_NEWPID).context("join the pid namespace")?;
        nix::unistd::fchdir(root).context("enter the root file system")?;
        nix::unistd::chroot(".").context("chroot")?;
        close_but(0, &[other.as_raw_fd()])?;
        let inside = || {
            let sent = make().and_then(|mount| {
                Ok(fdpass::send_with_fd(other.as_fd(), b"m", Some(mount.as_fd()))?)
            });
            told(other.as_fd(), sent)
        };
        wait(&clone3(0, None, inside).context("clone into the pid namespace")?.pidfd)?;
        Ok(0)
    };
    let child = clone3(0, None, || match maker() {
        Ok(status) => status,
        Err(error) => told(other.as_fd(), Err(error)),
    })
    .context("clone the process that makes the procfs")?;
    drop(other);
    let mut buffer = [0; MAX];
    let received = fdpass::recv_with_fd(own.as_fd(), &mut buffer);
    wait(&child.pidfd)?;
    match received.context("receive the procfs")? {
        (_, Some(mount)) => {
            // A neighbour in the namespace that has CAP_SYS_PTRACE can take the socket, and send
            // another file system, in which no path is masked.
            let kind = rustix::fs::fstatfs(&mount).context("look at the procfs")?.f_type;
            if kind != rustix::fs::PROC_SUPER_MAGIC {
                let why = "what a process in the pid namespace sent is not a procfs";
                return Err(Error::new(Kind::System, why));
            }
            Ok(mount)
        }
        (length, None) => Err(decode_error(&buffer[..length])
            .unwrap_or_else(|| Error::new(Kind::System, "the process that makes the procfs died"))),
    }
}

fn told(socket: BorrowedFd<'_>, result: Result<()>) -> i32 {
    let Err(error) = result else { return 0 };
    // If the reader has ended, the end of file is enough.
    let _ = fdpass::send_with_fd(socket, &encode_error(&error), None);
    1
}

fn wait(pidfd: &OwnedFd) -> Result<()> {
    retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))
        .map(drop)
        .context("wait for the process that makes the procfs")
}
