//! The descriptors of the caller that a new process gets.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Context, Result};

/// The standard descriptors of a new process, and those from 3 on. Shared, so that options can be
/// used for several containers.
#[derive(Debug, Clone, Default)]
pub struct Descriptors {
    /// Standard input, output and error; `None` means that of the worker.
    pub standard: [Option<Arc<OwnedFd>>; 3],
    /// Descriptors 3, 4 and so on.
    pub preserved: Vec<Arc<OwnedFd>>,
    /// The socket that receives the master of the terminal.
    pub console: Option<Arc<OwnedFd>>,
}

impl Descriptors {
    /// Returns the descriptors that are given, the standard descriptors first, the console last.
    pub(super) fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        self.standard.iter().flatten().chain(&self.preserved).chain(&self.console).map(|fd| &**fd)
    }
}

/// Defines the methods that [`CreateOptions`](super::CreateOptions) and
/// [`ExecOptions`](super::ExecOptions) share.
macro_rules! descriptor_methods {
    () => {
        /// Sets standard input. Default: that of the program when it started its fork server, or
        /// the program's own without one. Not used if the process has a terminal.
        #[must_use]
        pub fn stdin(mut self, fd: impl Into<OwnedFd>) -> Self {
            self.descriptors.standard[0] = Some(Arc::new(fd.into()));
            self
        }

        /// Sets standard output. The default is as for [`stdin`](Self::stdin).
        #[must_use]
        pub fn stdout(mut self, fd: impl Into<OwnedFd>) -> Self {
            self.descriptors.standard[1] = Some(Arc::new(fd.into()));
            self
        }

        /// Sets standard error. The default is as for [`stdin`](Self::stdin).
        #[must_use]
        pub fn stderr(mut self, fd: impl Into<OwnedFd>) -> Self {
            self.descriptors.standard[2] = Some(Arc::new(fd.into()));
            self
        }

        /// Adds a descriptor. The first becomes 3 in the process, the next 4, and so on; at most
        /// 240.
        #[must_use]
        pub fn preserve_fd(mut self, fd: impl Into<OwnedFd>) -> Self {
            self.descriptors.preserved.push(Arc::new(fd.into()));
            self
        }

        /// Sends the master of the terminal to the Unix socket `path` (SCM_RIGHTS). Required if
        /// the process has a terminal, unless [`console`](Self::console) is called.
        #[must_use]
        pub fn console_socket(mut self, path: impl Into<PathBuf>) -> Self {
            self.options.console_socket = Some(path.into());
            self
        }

        /// Sends the master of the terminal over `socket` (SCM_RIGHTS), a connected Unix socket,
        /// before the call returns. It comes before [`console_socket`](Self::console_socket).
        #[must_use]
        pub fn console(mut self, socket: impl Into<OwnedFd>) -> Self {
            self.descriptors.console = Some(Arc::new(socket.into()));
            self
        }

        /// Sends a pidfd of the process to the Unix socket `path` (SCM_RIGHTS).
        #[must_use]
        pub fn pidfd_socket(mut self, path: impl Into<PathBuf>) -> Self {
            self.options.pidfd_socket = Some(path.into());
            self
        }

        /// Writes the process id to the file `path`, in decimal, without a newline.
        #[must_use]
        pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
            self.options.pid_file = Some(path.into());
            self
        }

        fn make_absolute(&self, options: &mut Options) -> Result<()> {
            absolute(&mut options.console_socket)?;
            absolute(&mut options.pidfd_socket)?;
            absolute(&mut options.pid_file)?;
            options.preserve_fds =
                u32::try_from(self.descriptors.preserved.len()).unwrap_or(u32::MAX);
            Ok(())
        }
    };
}
pub(super) use descriptor_methods;

/// Makes a path absolute.
pub(super) fn absolute(path: &mut Option<PathBuf>) -> Result<()> {
    if let Some(path) = path {
        *path = std::path::absolute(&*path).with_context(|| format!("{path:?}"))?;
    }
    Ok(())
}
