//! `checkpoint`: saves a running container. Also the options for CRIU that `restore` has too.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::args::{self, CheckpointArgs, CriuArgs, Global};
use super::environment;
use crate::checkpoint::{CgroupMode, Dump, NetworkLock, PageServer, Settings};
use crate::container::CheckpointOptions;
use crate::container::checkpoint::checkpoint;
use crate::spawn::Parent;
use crate::state::Id;
use crate::sys::fds;
use crate::terminal::signals::SignalGuard;
use crate::{Context, Error, Kind, Result};

/// Saves the container.
pub fn run(global: &Global, args: &CheckpointArgs) -> Result<()> {
    let status = status_number(args.status_fd).map(status).transpose()?;
    let page_server = args.page_server.as_deref().filter(|address| !address.is_empty());
    let settings = Settings {
        tcp_skip_in_flight: args.tcp_skip_in_flight,
        link_remap: args.link_remap,
        page_server: page_server.map(parse_page_server).transpose()?,
        ..settings(&args.criu)?
    };
    let dump = Dump {
        parent_images: args.parent_path.clone().filter(|path| !path.as_os_str().is_empty()),
        pre_dump: args.pre_dump,
        leave_running: args.leave_running,
        status,
    };
    let options = CheckpointOptions { settings, dump };
    let (store, id) = (environment::store(global)?, Id::new(&args.id)?);
    // CRIU has a session of its own and goes on after a signal for the runtime, which has to repair
    // the options of the cgroup file system afterwards.
    let _signals = SignalGuard::block()?;
    checkpoint(&store, &id, &options, Parent::Caller)
}

/// Returns the settings of the options that `checkpoint` and `restore` share.
pub fn settings(args: &CriuArgs) -> Result<Settings> {
    let given = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    Ok(Settings {
        program: program("criu")?,
        // Variables such as CRIU_CONFIG_FILE would change what CRIU does.
        environment: std::env::vars_os().filter(|(name, _)| name == "PATH").collect(),
        images: given(&args.image_path).unwrap_or_else(|| "checkpoint".into()),
        work: given(&args.work_path),
        tcp_established: args.tcp_established,
        ext_unix_sk: args.ext_unix_sk,
        shell_job: args.shell_job,
        file_locks: args.file_locks,
        lazy_pages: args.lazy_pages,
        auto_dedup: args.auto_dedup,
        cgroup_mode: args.manage_cgroups_mode.map(|mode| match mode {
            args::CgroupMode::Soft => CgroupMode::Soft,
            args::CgroupMode::Full => CgroupMode::Full,
            args::CgroupMode::Strict => CgroupMode::Strict,
            args::CgroupMode::Props => CgroupMode::Props,
            args::CgroupMode::None => CgroupMode::None,
            args::CgroupMode::Ignore => CgroupMode::Ignore,
        }),
        network_lock: args.network_lock.map(|lock| match lock {
            args::NetworkLock::Iptables => NetworkLock::Iptables,
            args::NetworkLock::Nftables => NetworkLock::Nftables,
            args::NetworkLock::Skip => NetworkLock::Skip,
        }),
        ..Settings::default()
    })
}

/// Finds a program in `$PATH`.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/sbin:/usr/bin"));
    let is_program = |path: &PathBuf| {
        let mode = std::fs::metadata(path).map(|file| (file.is_file(), file.permissions().mode()));
        mode.is_ok_and(|(is_file, mode)| is_file && mode & 0o111 != 0)
    };
    // A relative directory could be anything that the caller did not mean.
    let directories = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    let found = directories.map(|directory| directory.join(name)).find(is_program);
    let why = || format!("{name:?}: executable file not found in $PATH");
    let missing = || Error::new(Kind::System, why());
    found.ok_or_else(missing)
}

/// Parses `ADDRESS:PORT`; an IPv6 address is in brackets.
fn parse_page_server(text: &str) -> Result<PageServer> {
    let invalid = || Error::invalid("--page-server", text, "must be ADDRESS:PORT");
    let (address, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    let is_open = bare.is_none() && address.contains(':');
    let address = bare.unwrap_or(address);
    match port.parse() {
        Ok(port) if port != 0 && !address.is_empty() && !is_open => {
            Ok(PageServer { address: address.to_owned(), port })
        }
        _ => Err(invalid()),
    }
}

/// Returns the number of `--status-fd`; -1 is runc's default and means none.
fn status_number(number: Option<i32>) -> Option<i32> {
    number.filter(|number| *number != -1)
}

/// Checks that the descriptor of `--status-fd` is open. Must run before this process opens a file,
/// which could get that number.
pub fn check_status(number: Option<i32>) -> Result<()> {
    match status_number(number) {
        Some(number) if !fds::is_open(number) => Err(not_open(number)),
        _ => Ok(()),
    }
}

fn not_open(number: i32) -> Error {
    Error::invalid("--status-fd", number, "not an open descriptor")
}

/// Takes the descriptor of `--status-fd` over.
fn status(number: i32) -> Result<Arc<OwnedFd>> {
    let refuse = |why: &str| Error::invalid("--status-fd", number, why);
    let status = fds::take(number).map_err(|_| not_open(number))?;
    let flags = rustix::fs::fcntl_getfl(&status).context("--status-fd")?;
    let access = flags & rustix::fs::OFlags::RWMODE;
    if access == rustix::fs::OFlags::RDONLY {
        return Err(refuse("not writable"));
    }
    Ok(Arc::new(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_page_servers() {
        for (text, address, port) in
            [("1.2.3.4:80", "1.2.3.4", 80), ("[::1]:9", "::1", 9), ("host:65535", "host", 65535)]
        {
            let server = parse_page_server(text).unwrap();
            assert_eq!((server.address.as_str(), server.port), (address, port));
        }
        for text in ["", "host", ":80", "host:", "host:0", "host:65536", "::1:80", "host:x"] {
            let error = parse_page_server(text).unwrap_err().to_string();
            assert!(error.starts_with("--page-server: ") && error.contains("ADDRESS:PORT"));
        }
    }
}
