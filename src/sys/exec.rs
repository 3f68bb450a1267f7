//! execve(2).

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// The pointer arrays for execve(2), allocated in advance: the call must not allocate after a
/// clone, or once a seccomp filter is in force.
pub struct Exec<'a> {
    path: &'a CStr,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

impl<'a> Exec<'a> {
    pub fn new(path: &'a CStr, args: &'a [CString], env: &'a [CString]) -> Self {
        let pointers = |strings: &[CString]| {
            let mut pointers = Vec::with_capacity(strings.len() + 2);
            pointers.extend(strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]));
            pointers
        };
        Exec { path, argv: pointers(args), envp: pointers(env) }
    }

    pub fn path(&self) -> &'a CStr {
        self.path
    }

    /// Calls execve(2) with another variable in the environment. Returns only if it failed.
    pub fn run_with(&mut self, variable: &CStr) -> Errno {
        // In the place of the null pointer; the array has room for another.
        if let Some(last) = self.envp.last_mut() {
            *last = variable.as_ptr();
        }
        self.envp.push(std::ptr::null());
        let errno = self.run();
        self.envp.pop();
        if let Some(last) = self.envp.last_mut() {
            *last = std::ptr::null();
        }
        errno
    }

    /// Calls execve(2). Returns only if it failed.
    pub fn run(&self) -> Errno {
        // SAFETY: both arrays end with a null pointer, and the strings that they and `path` point
        // to are borrowed for the life of self.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        Errno::last()
    }

    /// Executes the open file `file`, execveat(2). Returns only if it failed.
    pub fn run_file(&self, file: BorrowedFd<'_>) -> Errno {
        // SAFETY: as in `run`; the empty path with AT_EMPTY_PATH names the descriptor.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                file.as_raw_fd(),
                c"".as_ptr(),
                self.argv.as_ptr(),
                self.envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        Errno::last()
    }
}
