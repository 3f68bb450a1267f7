//! Namespaces and what lives in them: type of a namespace file, the loopback device, the NIS
//! domain name.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

// linux/nsfs.h: _IO(0xb7, nr); no argument.
const NS_GET_USERNS: libc::c_ulong = 0xb701;
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// The CLONE_NEW* flag of the namespace that `file` is, ioctl_ns(2).
///
/// # Errors
/// ENOTTY if it is no namespace file.
pub fn namespace_type(file: BorrowedFd<'_>) -> nix::Result<i32> {
    // SAFETY: NS_GET_NSTYPE takes no argument.
    Ok(check(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) }.into())? as i32)
}

/// The user namespace that owns the namespace `file`, ioctl_ns(2).
pub fn owning_user_namespace(file: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    // SAFETY: NS_GET_USERNS takes no argument and returns a new descriptor.
    let fd = check(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_USERNS) }.into())? as i32;
    // SAFETY: the descriptor is new and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets the flags of the interface `lo` to UP through `socket` (any AF_INET socket of the
/// network namespace), netdevice(7).
pub fn loopback_up(socket: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: ifreq is plain data; all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq with a terminated name and its flags.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    check(result.into())?;
    Ok(())
}

/// setdomainname(2).
pub fn set_domain_name(name: &[u8]) -> nix::Result<()> {
    // SAFETY: pointer and length belong to one slice.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into())?;
    Ok(())
}
