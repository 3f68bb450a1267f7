//! The Linux security modules that are active, lsm_list_modules(2).

use nix::errno::Errno;

/// The number of the system call, which the C library does not know; the same on all architectures.
const LIST_MODULES: libc::c_long = 461;

/// Returns the identifiers of the active modules in the order in which the kernel asks them
/// (`LSM_ID_*` of `linux/lsm.h`). `ENOSYS` before Linux 6.8.
pub fn modules() -> Result<Vec<u64>, Errno> {
    // More than the kernel has; with more it fails with E2BIG.
    let mut ids = [0_u64; 64];
    let mut size: u32 = size_of_val(&ids) as u32;
    // SAFETY: the kernel writes at most `size` bytes to the array, and the size; both outlive the call.
    let count = Errno::result(unsafe {
        libc::syscall(LIST_MODULES, ids.as_mut_ptr(), &raw mut size, 0_u32)
    })?;
    let count = usize::try_from(count).unwrap_or_default();
    Ok(ids.iter().copied().take(count).collect())
}
