//! The runtime's own executable, protected against its containers (CVE-2019-5736).
//!
//! Until its execve(2) a container's init runs this program, and so does a container whose program
//! is `/proc/self/exe` or a script or loader that names it. Through /proc/PID/exe the container's
//! root could then open the file for writing. So the program executes itself once more from a
//! read-only mount of its file that is attached nowhere: the kernel refuses to write through it,
//! and when its last descriptor has closed, not even a privileged container can make it writable.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::fs::copy_bytes;
use crate::mount::tree;
use crate::sys::exec::Exec;
use crate::sys::mount::Change;
use crate::sys::title;
use crate::{Context, Error, Kind, Result};

const EXE: &str = "/proc/self/exe";

/// Protects the executable if any argument is the name of a command that makes a container. The
/// argument need not be the command: an unneeded protection costs little.
pub(crate) fn protect_if(makes_container: impl Fn(&str) -> bool) -> Result<()> {
    let asked = title::arguments().iter().any(|arg| arg.to_str().is_some_and(&makes_container));
    if asked { protect_executable() } else { Ok(()) }
}

/// Keeps containers from overwriting the executable of the calling program (CVE-2019-5736): executes
/// the program again, with the same arguments and environment, from a read-only mount of its file.
/// Returns at once if the executable is protected already. A program that runs with privileges calls
/// this function first in `main`, before it opens a file or starts a thread: until its own program
/// runs, a process of a container is a copy of the program that creates it.
///
/// # Errors
/// The executable cannot be protected.
pub fn protect_executable() -> Result<()> {
    let exe = rustix::fs::openat(CWD, EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let exe = exe.with_context(|| format!("open {EXE}"))?;
    if !can_be_overwritten(&exe)? {
        return Ok(());
    }
    let copy = match read_only_mount(&exe) {
        Ok(mount) => mount,
        // Without the right to mount: a copy in memory that is sealed.
        Err(error) if error.errno() == Some(nix::errno::Errno::EPERM) => sealed_copy(exe)?,
        Err(error) => return Err(error.context("protect the runtime's executable")),
    };
    Err(execute(&copy)).context("execute the runtime's protected executable")
}

/// Whether the executable can be overwritten from a container: not on a read-only mount or in a
/// sealed file, and not if this user may not write to it, because then no user of its containers
/// may.
fn can_be_overwritten(exe: &OwnedFd) -> Result<bool> {
    let flags = rustix::fs::fstatvfs(exe).with_context(|| format!("look at {EXE}"))?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Ok(false);
    }
    if !nix::unistd::geteuid().is_root() {
        let stat = rustix::fs::fstat(exe).with_context(|| format!("look at {EXE}"))?;
        let others = Mode::WGRP.union(Mode::WOTH);
        let mode = Mode::from_raw_mode(stat.st_mode);
        if stat.st_uid != nix::unistd::geteuid().as_raw() && !mode.intersects(others) {
            return Ok(false);
        }
    }
    match rustix::fs::fcntl_get_seals(exe) {
        Ok(seals) => Ok(!seals.contains(SealFlags::WRITE)),
        // Only a memfd or a file on tmpfs can have seals.
        Err(Errno::INVAL) => Ok(true),
        Err(errno) => Err(Error::from(errno).context(format!("look at {EXE}"))),
    }
}

fn read_only_mount(exe: &OwnedFd) -> Result<OwnedFd> {
    let mount = tree::clone_file(exe, false)?;
    let change = Change { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: libc::MS_PRIVATE };
    tree::set(mount.as_fd(), false, change)?;
    Ok(mount)
}

fn sealed_copy(exe: OwnedFd) -> Result<OwnedFd> {
    let copy = || -> Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Since Linux 6.3 the creator of a memfd states whether it will be executed.
        let memory = match rustix::fs::memfd_create("bulkhead", flags | MemfdFlags::EXEC) {
            Err(Errno::INVAL) => rustix::fs::memfd_create("bulkhead", flags)?,
            answer => answer?,
        };
        let (mut from, mut to) = (std::fs::File::from(exe), std::fs::File::from(memory));
        copy_bytes(&mut from, &mut to)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&to, seals)?;
        Ok(to.into())
    };
    copy().context("copy the runtime's executable to memory")
}

fn execute(file: &OwnedFd) -> Error {
    let strings = |list: Vec<std::ffi::OsString>| -> Option<Vec<CString>> {
        list.into_iter().map(|s| CString::new(s.into_vec()).ok()).collect()
    };
    let env = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    let args = title::arguments();
    if args.is_empty() {
        // The program would run without its command line, and do something else.
        return Error::new(Kind::System, "the arguments of the program are not known");
    }
    let (Some(args), Some(env)) = (strings(args), strings(env.collect())) else {
        return Error::from(nix::errno::Errno::EINVAL);
    };
    Error::from(Exec::new(c"", &args, &env).run_file(file.as_fd()))
}
