//! The command line and the environment of a process, as the kernel shows them.
//!
//! The kernel reads both from the memory of the process (proc_pid_cmdline(5), proc_pid_environ(5)),
//! which a clone copies. A container must not learn the runtime's command line from its init.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static ARGV: AtomicPtr<*mut libc::c_char> = AtomicPtr::new(std::ptr::null_mut());
static ARGC: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static mut environ: *mut *mut libc::c_char;
}

/// Stores where the arguments of the program are. Called by the entry point before anything else.
///
/// # Safety
/// `argv` must be the array that the kernel passed to the program: `argc` pointers to C strings in
/// writable memory that lives as long as the process.
pub unsafe fn remember(argc: i32, argv: *const *const u8) {
    ARGC.store(usize::try_from(argc).unwrap_or(0), Ordering::Relaxed);
    ARGV.store(argv.cast_mut().cast(), Ordering::Relaxed);
}

/// Returns the arguments of the program: those that [`remember`] stored, or else the standard
/// library's, which knows none with musl if the entry point is not Rust's. None after [`hide`].
pub fn arguments() -> Vec<OsString> {
    let (argv, argc) = (ARGV.load(Ordering::Relaxed), ARGC.load(Ordering::Relaxed));
    if argv.is_null() {
        return std::env::args_os().collect();
    }
    // SAFETY: `remember` promises `argc` pointers to C strings.
    let argument = |at| unsafe { CStr::from_ptr(*argv.add(at)) };
    (0..argc).map(|at| OsStr::from_bytes(argument(at).to_bytes()).to_owned()).collect()
}

/// Erases the environment that the kernel passed to the calling process, and replaces the command
/// line with `title` if [`remember`] was called.
///
/// For a cloned child, which has one thread: the environment is gone for the child as well.
pub fn hide(title: &[u8]) {
    // SAFETY: the caller's only thread is here, so nothing else reads or writes the environment. The
    // array ends with a null pointer, and its entries are C strings. The kernel has put those between
    // the random bytes and the name of the executable on the stack, which is writable; a string that
    // the program has added can be in read-only memory, and the kernel does not show it.
    unsafe {
        let (low, high) = (libc::getauxval(libc::AT_RANDOM), libc::getauxval(libc::AT_EXECFN));
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            if (low..high).contains(&((*entry) as libc::c_ulong)) {
                libc::memset((*entry).cast(), 0, libc::strlen(*entry));
            }
            entry = entry.add(1);
        }
        if !environ.is_null() {
            *environ = std::ptr::null_mut();
        }
    }
    // Only once: afterwards the lengths of the strings are lost.
    let (argv, argc) = (ARGV.load(Ordering::Relaxed), ARGC.swap(0, Ordering::Relaxed));
    if argv.is_null() || argc == 0 {
        return;
    }
    // SAFETY: `remember` promises `argc` pointers to C strings. The kernel lays the strings out one
    // behind the other, so the block reaches from the first to the NUL of the last.
    unsafe {
        let first: *mut u8 = (*argv).cast();
        let last = *argv.add(argc - 1);
        let end: *mut u8 = last.add(libc::strlen(last)).cast();
        let Ok(length) = usize::try_from(end.offset_from(first)) else { return };
        let shown = title.len().min(length);
        std::ptr::copy_nonoverlapping(title.as_ptr(), first, shown);
        std::ptr::write_bytes(first.add(shown), 0, length - shown);
        // The kernel shows the first string alone if the block does not end with a NUL.
        if shown < length {
            end.write(1);
        }
    }
}
