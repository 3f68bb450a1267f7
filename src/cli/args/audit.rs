//! Arguments of `audit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// Lines for humans.
    Text,
    /// A JSON object.
    Json,
    /// SARIF 2.1.0, which code hosts and editors show.
    Sarif,
}

/// The least severity that makes `audit` fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Only critical findings.
    Critical,
    /// Findings of high severity or worse.
    High,
    /// Findings of medium severity or worse.
    Medium,
    /// Any finding.
    Low,
    /// No finding.
    Never,
}

#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead audit                    the bundle in the current directory
  bulkhead audit web                the running container web
  bulkhead audit ./config.json --fail-on medium
  bulkhead audit - < config.json    a configuration on standard input
  bulkhead audit --format sarif --bundle /srv/web > audit.sarif
  bulkhead audit --fix              write config.hardened.json beside it

Exit status: 0 if no finding is as severe as --fail-on, 2 if one is, 1 for an
error.

A configuration is audited whether or not this runtime can run it. A running
container is audited by what the kernel reports about it; what could not be
read is listed. audit.md in the documentation lists the rules.")]
pub struct AuditArgs {
    /// A config.json, a container ID, or - for standard input.
    ///
    /// A word with a slash is a file. Any other word is a container of that ID, if there is one, and
    /// a file in the working directory otherwise. A directory is a bundle.
    #[arg(value_name = "TARGET", value_hint = ValueHint::FilePath, conflicts_with = "bundle")]
    pub target: Option<String>,

    /// Bundle directory [default: current directory].
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bundle: Option<PathBuf>,

    /// Output format: text, json or sarif.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    #[arg(hide_possible_values = true)]
    pub format: AuditFormat,

    /// Exit with status 2 for findings of this severity or worse.
    ///
    /// SEVERITY is critical, high, medium, low or never.
    #[arg(long, value_name = "SEVERITY", default_value = "high", hide_possible_values = true)]
    pub fail_on: FailOn,

    /// Write a hardened copy of the file beside it.
    ///
    /// config.json becomes config.hardened.json, in which findings of medium severity and worse are
    /// closed where a change is known. The rest is listed, and each change with what it can break. The
    /// file itself is never changed.
    #[arg(long)]
    pub fix: bool,

    /// Let --fix replace an existing file.
    #[arg(long, requires = "fix")]
    pub overwrite: bool,

    /// Leave a rule out, by its ID such as BH-NS-NETWORK.
    ///
    /// Can be given several times.
    #[arg(long, value_name = "RULE")]
    pub ignore: Vec<String>,
}
