//! The program's entry point in place of the one that Rust makes.
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
