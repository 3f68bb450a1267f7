//! The program's entry point in the place of Rust's, and its source of random numbers.
//!
//! Rust's entry point reads /proc/self/maps, allocates a signal stack and ignores SIGPIPE before
//! `main`: some twenty system calls that a process of a few milliseconds does not need, and twice
//! as many if it executes itself again.

/// The allocator, in the place of musl's, which makes a system call for many allocations.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// The entry point for the C library's start-up code.
// SAFETY: no other symbol of that name is linked: the crate is `no_main`.
#[unsafe(no_mangle)]
extern "C" fn main(argc: i32, argv: *const *const u8) -> i32 {
    // SAFETY: the C library passes on what the kernel gave it.
    unsafe { bulkhead::remember_arguments(argc, argv) };
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
