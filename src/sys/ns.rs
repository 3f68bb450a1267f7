//! Namespaces: their type and owner, the loopback device, the NIS domain name.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::failure::to_nix;

// linux/nsfs.h: _IO(0xb7, nr); no argument.
const NS_GET_USERNS: libc::c_ulong = 0xb701;
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// Returns the CLONE_NEW* flag of the namespace `file`, ioctl_ns(2).
///
/// # Errors
/// ENOTTY: `file` is not a namespace.
pub fn namespace_type(file: BorrowedFd<'_>) -> nix::Result<i32> {
    query(file, NS_GET_NSTYPE)
}

/// Opens the user namespace that owns the namespace `file`, ioctl_ns(2).
pub fn owning_user_namespace(file: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let fd = query(file, NS_GET_USERNS)?;
    // SAFETY: the descriptor is new and close-on-exec, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn query(file: BorrowedFd<'_>, request: libc::c_ulong) -> nix::Result<i32> {
    // The type of a request differs between the C libraries.
    // SAFETY: the requests of ioctl_ns(2) that this module names take no argument.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), request as _) })
}

/// The part of `struct ifreq` that SIOCSIFFLAGS reads, in a struct of its full size.
#[repr(C)]
struct FlagsRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<FlagsRequest>() == size_of::<libc::ifreq>());

/// Sets the flags of the interface `lo` to UP through `socket` (any AF_INET socket of the
/// network namespace), netdevice(7).
pub fn loopback_up(socket: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let mut request = FlagsRequest { name: [0; libc::IFNAMSIZ], flags, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: SIOCSIFFLAGS reads an ifreq with a terminated name and its flags.
    Errno::result(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    })
    .map(drop)
}

/// Sets the NIS domain name, setdomainname(2).
pub fn set_domain_name(name: &[u8]) -> nix::Result<()> {
    rustix::system::setdomainname(name).map_err(to_nix)
}
