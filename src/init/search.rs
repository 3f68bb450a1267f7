//! Finds the file that a process executes, by PATH inside the container's root and as the user of
//! the process; and HOME.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::config::Process;
use crate::{Error, Kind, Result};

/// The search path of execvp(3) if the environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Returns the environment, with HOME from the container's own /etc/passwd if it has none, as
/// login(1) would set it.
pub(crate) fn with_home(process: &Process) -> Vec<CString> {
    let mut env = process.env.clone();
    let place = env.iter().position(|e| e.as_bytes().starts_with(b"HOME="));
    if place.is_some_and(|i| env.get(i).is_some_and(|e| e.as_bytes() != b"HOME=")) {
        return env;
    }
    let home = home_of(process.identity.uid).unwrap_or_else(|| "/".into());
    if let Ok(home) = CString::new(format!("HOME={home}")) {
        match place.and_then(|i| env.get_mut(i)) {
            Some(entry) => *entry = home,
            None => env.push(home),
        }
    }
    env
}

/// Returns the sixth field of the line of /etc/passwd whose third is `uid`. The file belongs to the
/// image and can have any content; only a limited length is read.
fn home_of(uid: u32) -> Option<String> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/etc/passwd")
        .ok()?;
    // Files of procfs have no size, and a read can consume data (kmsg).
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() == 0 {
        return None;
    }
    let mut text = Vec::new();
    file.take(1 << 20).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| {
        line.split(':').nth(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid)
    })?;
    line.split(':').nth(5).filter(|home| !home.is_empty()).map(str::to_owned)
}

/// Looks args[0] up as execvp(3) does, so that a missing program fails the create. Engines turn the
/// error texts into exit codes 126 and 127.
pub(crate) fn find(process: &Process, env: &[CString]) -> Result<CString> {
    let Some(name) = process.args.first() else {
        return Err(Error::invalid_field("process.args", "empty"));
    };
    let text = name.to_string_lossy();
    let fail = |why: String| Error::new(Kind::System, why).context(format!("exec: {text:?}"));
    if name.as_bytes().contains(&b'/') {
        let path = process.cwd.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
        return match executable(&path) {
            Ok(()) => Ok(name.clone()),
            Err(errno) => Err(fail(failure(errno, &path))),
        };
    }
    let path = env.iter().find_map(|e| e.as_bytes().strip_prefix(b"PATH="));
    let mut refused = None;
    for dir in path.unwrap_or(DEFAULT_PATH).split(|b| *b == b':') {
        let dir = process.cwd.join(std::ffi::OsStr::from_bytes(dir));
        let candidate: PathBuf = dir.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
        match executable(&candidate) {
            Ok(()) => {
                return CString::new(candidate.into_os_string().into_encoded_bytes())
                    .map_err(|_| fail("its path holds a NUL".into()));
            }
            Err(Errno::EACCES) => refused = Some(candidate),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(path) => fail(failure(Errno::EACCES, &path)),
        None => fail("executable file not found in $PATH".into()),
    })
}

fn executable(path: &Path) -> nix::Result<()> {
    let stat = nix::sys::stat::stat(path)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    // With the effective capabilities: access(2) ignores all capabilities of a user other than
    // root.
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

fn failure(errno: Errno, path: &Path) -> String {
    match errno {
        // execve(2) fails with EACCES here, too, and some engines know only EACCES as 126.
        Errno::EISDIR => "is a directory: permission denied".into(),
        Errno::EACCES => "permission denied".into(),
        errno => format!("stat {}: {}", path.display(), Error::from(errno)),
    }
}
