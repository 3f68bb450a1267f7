//! The program's entry point in the place of Rust's, and its source of random numbers.
//!
//! Rust's entry point reads /proc/self/maps, allocates a signal stack and ignores SIGPIPE before
//! `main`: some twenty system calls that a process of a few milliseconds does not need, and twice
//! as many if it executes itself again.

use std::alloc::{GlobalAlloc, Layout};

/// dlmalloc in the place of musl's allocator, which makes a system call for many allocations.
#[cfg(target_env = "musl")]
const MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
#[cfg(not(target_env = "musl"))]
const MEMORY: std::alloc::System = std::alloc::System;

/// The allocator of the program, which ends without memory: Rust would print several lines and dump core.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: every call is passed on to an allocator; that of the results that is null is not returned.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        or_end(unsafe { MEMORY.alloc(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        or_end(unsafe { MEMORY.alloc_zeroed(layout) })
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        or_end(unsafe { MEMORY.realloc(memory, layout, size) })
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { MEMORY.dealloc(memory, layout) }
    }
}

#[inline]
fn or_end(memory: *mut u8) -> *mut u8 {
    if memory.is_null() { out_of_memory() } else { memory }
}

/// Ends the program as an error of a command does. What a command has made stays, as after SIGKILL, for
/// `delete --force`; init ends with the runtime.
#[cold]
fn out_of_memory() -> ! {
    const LINE: &[u8] =
        b"bulkhead: allocate memory: cannot allocate memory; raise the limit on memory\n";
    // SAFETY: reads a constant; the exit makes no use of memory.
    unsafe {
        libc::write(libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len());
        libc::_exit(bulkhead::cli::failure_status().into())
    }
}

/// Ends a process that panics, with a line on standard error: abort(3) sends SIGABRT to the thread ID that
/// the C library remembers, which in a process of clone3(2) is that of the runtime. What a command has made
/// stays, as after SIGKILL.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    use std::io::Write;
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let payload = panic.payload();
    let why = payload.downcast_ref::<String>().map(String::as_str);
    let why = why.or(payload.downcast_ref().copied()).unwrap_or("panicked").replace('\n', " ");
    // A standard error that cannot be written to must not start another panic.
    let _ =
        writeln!(std::io::stderr(), "bulkhead: internal error at {place}: {why}; please report it");
    // SAFETY: ends the process, without the handlers of atexit(3).
    unsafe { libc::_exit(bulkhead::cli::failure_status().into()) }
}

/// The entry point for the C library's start-up code.
// SAFETY: no other symbol of that name is linked: the crate is `no_main`.
#[unsafe(no_mangle)]
extern "C" fn main(argc: i32, argv: *const *const u8) -> i32 {
    // SAFETY: the C library passes on what the kernel gave it.
    unsafe { bulkhead::remember_arguments(argc, argv) };
    std::panic::set_hook(Box::new(panicked));
    i32::from(bulkhead::cli::main())
}

/// Replaces the C library's getrandom(2), which the standard library finds by its weak symbol and
/// seeds its hash maps with. If a sandbox refuses the call, the standard library panics; this
/// function returns the 16 random bytes that the kernel gives to a program at its start
/// (getauxval(3), AT_RANDOM). They suffice for a seed, and no key is generated here.
// SAFETY: the C library's symbol is weak or not linked; this one has its signature and meaning.
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    // SAFETY: `length` bytes at `buffer` are the caller's contract, as for the C library's function.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    if got >= 0 || length > 16 {
        return got as isize;
    }
    // SAFETY: reads the auxiliary vector, which never changes.
    let random = unsafe { libc::getauxval(libc::AT_RANDOM) } as *const u8;
    if random.is_null() {
        return -1;
    }
    // SAFETY: the kernel has put 16 bytes there, `length` is at most that, and the buffer is another
    // object.
    unsafe { std::ptr::copy_nonoverlapping(random, buffer, length) };
    length as isize
}
