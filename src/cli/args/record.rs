//! Arguments of `record`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::lifecycle::{AFTER_BUNDLE, CreateArgs};

#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead record --output profile web        run it, and write a profile

Recording is no isolation: every system call is permitted while it lasts, and
each takes much longer. Exercise all that the program does, since a call that
was not recorded fails under the profile. Capabilities are not recorded.

Exit status: that of the process, or 128 plus the number of the signal that
killed it; 1 for an error.")]
pub struct RecordArgs {
    /// The arguments of `create`.
    #[command(flatten)]
    pub create: CreateArgs,

    /// Directory for the results.
    ///
    /// It is made if it does not exist. seccomp.json is a linux.seccomp object that permits the
    /// recorded system calls alone, and syscalls.txt the list of them with the number of times each
    /// was made. Existing files are never overwritten.
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    #[arg(display_order = AFTER_BUNDLE)]
    pub output: PathBuf,

    /// Leave out the profile of the configuration.
    ///
    /// Without this option a configuration with a profile is refused.
    #[arg(long)]
    pub without_profile: bool,
}
