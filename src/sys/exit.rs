//! The end of a cloned child.

/// Ends the process with `status`, _exit(2): without the exit handlers and the buffers that a
/// clone has copied from its parent. Async-signal-safe.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes no pointers and does not return.
    unsafe { libc::_exit(status) }
}
