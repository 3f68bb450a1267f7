//! Credentials: capability sets, session keyrings.

use std::ffi::CStr;

use super::check;

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const KEYCTL_SETPERM: libc::c_int = 5;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets of capset(2), one bit a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// CapEff
    pub effective: u64,
    /// CapPrm
    pub permitted: u64,
    /// CapInh
    pub inheritable: u64,
}

/// The calling thread's sets, capget(2).
pub fn capget() -> nix::Result<Caps> {
    let mut header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 fills two Data elements, which is what `data` holds.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |f: fn(&Data) -> u32| u64::from(f(&data[0])) | u64::from(f(&data[1])) << 32;
    Ok(Caps {
        effective: join(|d| d.effective),
        permitted: join(|d| d.permitted),
        inheritable: join(|d| d.inheritable),
    })
}

/// Sets all three at once, capset(2): no moment in which they disagree.
pub fn capset(caps: Caps) -> nix::Result<()> {
    let mut header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (caps.effective >> shift) as u32,
        permitted: (caps.permitted >> shift) as u32,
        inheritable: (caps.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads two Data elements, which is what `data` holds.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })?;
    Ok(())
}

/// Joins a new session keyring of that name, keyctl(2) KEYCTL_JOIN_SESSION_KEYRING. Returns its
/// serial number.
pub fn join_session_keyring(name: &CStr) -> nix::Result<i32> {
    // SAFETY: `name` is a C string that outlives the call.
    let serial = check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
    })?;
    Ok(serial as i32)
}

/// Sets the permission mask of a key, keyctl(2) KEYCTL_SETPERM.
pub fn set_key_permissions(serial: i32, mask: u32) -> nix::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, serial, mask) })?;
    Ok(())
}

/// Drops one capability from the bounding set, prctl(2) PR_CAPBSET_DROP. EINVAL: the kernel knows
/// no capability of that number.
pub fn drop_bounding(capability: u32) -> nix::Result<()> {
    let number = libc::c_ulong::from(capability);
    // SAFETY: integers only.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
    check(result.into())?;
    Ok(())
}

/// Raises one capability in the ambient set, prctl(2) PR_CAP_AMBIENT.
pub fn raise_ambient(capability: u32) -> nix::Result<()> {
    let (raise, number) = (libc::PR_CAP_AMBIENT_RAISE, libc::c_ulong::from(capability));
    // SAFETY: integers only.
    let result = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise as libc::c_ulong, number, 0, 0) };
    check(result.into())?;
    Ok(())
}
