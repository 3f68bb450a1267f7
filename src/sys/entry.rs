//! The program's entry point in place of the one that Rust makes, and its source of random numbers.
//!
//! Rust's own reads /proc/self/maps, makes a signal stack and ignores SIGPIPE before `main`: some
//! twenty system calls that a process which lives for milliseconds has no use of, twice where it
//! executes itself again.

/// What the C library's start-up code calls. The arguments are read through `std::env`, which the
/// C library fills on its own.
// SAFETY: no other symbol of that name is linked: the crate is `no_main`.
#[unsafe(no_mangle)]
extern "C" fn main(argc: i32, argv: *const *const u8) -> i32 {
    // SAFETY: the C library passes on what the kernel gave it.
    unsafe { bulkhead::sys::title::remember(argc, argv) };
    i32::from(bulkhead::cli::main())
}

/// getrandom(2) in place of the C library's function, which the standard library finds by its weak
/// symbol and seeds its hash maps with. Where the call fails, in a sandbox that refuses it, the
/// standard library panics; here the 16 random bytes are taken that the kernel has given to this
/// program at its start (getauxval(3), AT_RANDOM). They do for a seed, and no key is made here.
// SAFETY: the C library's symbol is weak or not linked; this one has its signature and meaning.
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    // SAFETY: the caller vouches for `length` bytes at `buffer`, as for the C library's function.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    if got >= 0 || length > 16 {
        return got as isize;
    }
    // SAFETY: reads the auxiliary vector, which nobody changes.
    let random = unsafe { libc::getauxval(libc::AT_RANDOM) } as *const u8;
    if random.is_null() {
        return -1;
    }
    // SAFETY: the kernel has put 16 bytes there, `length` is at most that, and the buffer is another
    // object.
    unsafe { std::ptr::copy_nonoverlapping(random, buffer, length) };
    length as isize
}
