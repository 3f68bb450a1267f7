use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cgroup::SubCgroup;
use super::process::Command;
use crate::config::Listen;
use crate::spawn::child::Parent;
use crate::terminal::signals::Ignored;

pub struct ExecRequest<'a> {
    pub parent: Parent<'a>,
    /// What the user chooses.
    pub options: &'a Options,
    /// The runtime does not stay in the foreground.
    pub detached: bool,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
}

/// The process to start, and the options of its user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Options {
    /// The file that describes the process (config.md, "Process"), in place of `command`.
    pub process_file: Option<PathBuf>,
    /// The content of such a file, in the place of `process_file`.
    pub process_json: Option<String>,
    /// The container's own process, with changes.
    pub command: Command,
    /// Cgroups below the container's own, which the process enters in place of those.
    pub cgroups: Vec<SubCgroup>,
    /// Accept a paused container: the process waits until the container is resumed, and so does the
    /// call.
    pub ignore_paused: bool,
    /// The socket that receives the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// A connected socket that receives the master, in the place of `console_socket`.
    #[serde(skip)]
    pub console: Option<Arc<OwnedFd>>,
    /// The socket that receives a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// The file for the process id, written once the program runs.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors from 3 up the process gets. The caller has opened them, or reserved
    /// their numbers.
    pub preserve_fds: u32,
    /// Descriptors of socket activation, which come before the preserved ones.
    #[serde(skip)]
    pub listen: Listen,
}
