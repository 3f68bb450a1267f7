//! Credentials: capability sets and session keyrings.

use std::ffi::CStr;

use nix::errno::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::failure::to_nix;
use super::integers::{Call, call};

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const KEYCTL_SETPERM: libc::c_int = 5;

/// The three sets of capset(2), with a bit for each capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// Returns the calling thread's sets, capget(2).
pub fn capget() -> nix::Result<Caps> {
    let sets = capabilities(None).map_err(to_nix)?;
    Ok(Caps {
        effective: sets.effective.bits(),
        permitted: sets.permitted.bits(),
        inheritable: sets.inheritable.bits(),
    })
}

/// Sets all three sets at once (capset(2)), so that they never disagree.
pub fn capset(caps: Caps) -> nix::Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(caps.effective),
        permitted: CapabilitySet::from_bits_retain(caps.permitted),
        inheritable: CapabilitySet::from_bits_retain(caps.inheritable),
    };
    set_capabilities(None, sets).map_err(to_nix)
}

/// Drops a capability from the bounding set, prctl(2) PR_CAPBSET_DROP.
///
/// # Errors
/// EINVAL: the kernel has no capability of that number.
pub fn drop_bounding(capability: u32) -> nix::Result<()> {
    remove_capability_from_bounding_set(single(capability)?).map_err(to_nix)
}

/// Raises a capability in the ambient set, prctl(2) PR_CAP_AMBIENT.
pub fn raise_ambient(capability: u32) -> nix::Result<()> {
    configure_capability_in_ambient_set(single(capability)?, true).map_err(to_nix)
}

fn single(capability: u32) -> nix::Result<CapabilitySet> {
    let bit = 1_u64.checked_shl(capability).ok_or(Errno::EINVAL)?;
    Ok(CapabilitySet::from_bits_retain(bit))
}

/// Joins a new session keyring of that name, keyctl(2) KEYCTL_JOIN_SESSION_KEYRING. Returns its
/// serial number.
pub fn join_session_keyring(name: &CStr) -> nix::Result<i32> {
    // SAFETY: `name` is a C string that outlives the call.
    let serial = Errno::result(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
    })?;
    Ok(serial as i32)
}

/// Sets the permission mask of a key, keyctl(2) KEYCTL_SETPERM.
pub fn set_key_permissions(serial: i32, mask: u32) -> nix::Result<()> {
    call(Call::Keyctl, KEYCTL_SETPERM, serial.cast_unsigned(), mask).map(drop)
}
