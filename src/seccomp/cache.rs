//! A cache of compiled filters on disk: compiling a typical profile takes libseccomp many
//! milliseconds, reading the file a fraction of one.
//!
//! The cache decides what confines a container, so it is checked strictly: the directory must be
//! owned by the caller and closed to all other users, an entry must be a regular file of the caller
//! with one link, and it contains the whole key, which is compared byte by byte. The file name is
//! only a hash. If any check fails, the profile is compiled again.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::utsname::uname;
use oci_spec::runtime::LinuxSeccomp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::filter::Filter;
use super::profile::Profile;
use super::{build, names};
use crate::Result;
use crate::fs::write_atomic;
use crate::sys::seccomp::{INSTRUCTION, MAX_INSTRUCTIONS};

/// The version of the format; to be changed whenever the same profile compiles to another program.
const FORMAT: &str = concat!("bulkhead seccomp 2 ", env!("CARGO_PKG_VERSION"));

/// The maximum number of entries: more profiles than a machine uses. A typical entry is 20 KiB.
const ENTRIES: usize = 64;

/// The largest entry that is read, in bytes; real entries are much smaller.
const LARGEST: u64 = 1 << 20;

/// A new entry. It is saved only after the process with the filter exists, so that a failed create
/// leaves nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaved {
    dir: PathBuf,
    name: String,
    bytes: Vec<u8>,
}

impl Unsaved {
    /// Saves the entry. Creates the directory with mode 0700 if it is missing; its parent must
    /// exist. A failure is ignored: the next container only takes longer.
    pub fn save(&self) {
        match rustix::fs::mkdir(&self.dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(_) => return,
        }
        let Ok(dir) = open_dir(&self.dir) else { return };
        let mode = Mode::RUSR | Mode::WUSR;
        if write_atomic(dir.as_fd(), self.name.as_ref(), mode, &self.bytes).is_ok() {
            // Too many entries only take disk space; the next save prunes again.
            let _ = prune(&dir);
        }
    }
}

/// Compiles a profile for this machine and this kernel, or takes it from the cache in `dir`. Returns
/// the entry to save if the cache has none. Without `dir` nothing is cached. One line in `warnings`
/// lists the system calls that libseccomp does not know.
///
/// # Errors
/// The field that libseccomp does not support (an architecture), that this kernel does not support
/// (an action or flag), or that violates a rule of config-linux.md#seccomp.
pub fn compile_cached(
    profile: &LinuxSeccomp,
    dir: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<(Filter, Option<Unsaved>)> {
    // Needed for cached profiles too: the listener is not part of the key.
    let parsed = Profile::new(profile)?;
    let uncached = |warnings: &mut Vec<String>| build::build(&parsed, warnings);
    let Some((dir, key)) = dir.and_then(|dir| Some((dir, key(profile)?))) else {
        return Ok((uncached(warnings)?, None));
    };
    let name = format!("{:016x}", hash(&key));
    match open_dir(dir) {
        Ok(dir) => {
            if let Some((told, program)) = read(&dir, &name).and_then(|bytes| decode(&bytes, &key))
            {
                warnings.extend(told);
                // The flags are not stored: they follow from the profile.
                let (flags, notify) = (parsed.flags, parsed.notify);
                return Ok((Filter { program, flags, notify }, None));
            }
        }
        Err(Errno::NOENT) => {}
        Err(_) => return Ok((uncached(warnings)?, None)),
    }
    let mut told = Vec::new();
    let filter = uncached(&mut told)?;
    let bytes = encode(&key, &filter.program, &told);
    warnings.append(&mut told);
    Ok((filter, bytes.map(|bytes| Unsaved { dir: dir.to_owned(), name, bytes })))
}

/// Returns everything that the program depends on. The profile consists of lists and of fields in a
/// fixed order, so its serialisation is canonical. The listener's address is left out: it can
/// differ for each container and does not affect the program.
fn key(profile: &LinuxSeccomp) -> Option<Vec<u8>> {
    let mut profile = Cow::Borrowed(profile);
    if profile.listener_path().is_some() || profile.listener_metadata().is_some() {
        profile.to_mut().set_listener_path(None).set_listener_metadata(None);
    }
    let uname = uname().ok()?;
    // The supported actions and flags depend on the kernel, so on its release, and on its version,
    // since distributions rebuild a release.
    let host = [uname.release(), uname.version(), uname.machine()].map(|s| s.to_string_lossy());
    let mut key =
        format!("{FORMAT}\nlibseccomp {}\n{}\n", names::library_version(), host.join("\n"),)
            .into_bytes();
    serde_json::to_writer(&mut key, &*profile).ok()?;
    Some(key)
}

/// Returns the FNV-1a hash. It names a file and detects a file truncated by a crash; the checks of
/// the owner protect against attackers.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

/// Returns an entry: the hash of the rest, the lengths of key, warnings and program, then these
/// three.
fn encode(key: &[u8], program: &[u8], warnings: &[String]) -> Option<Vec<u8>> {
    let warnings = serde_json::to_vec(warnings).ok()?;
    let mut bytes = vec![0; 8];
    for part in [key, &warnings, program] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
    }
    for part in [key, &warnings, program] {
        bytes.extend_from_slice(part);
    }
    let (sum, rest) = bytes.split_first_chunk_mut::<8>()?;
    *sum = hash(rest).to_le_bytes();
    Some(bytes)
}

/// Returns the warnings and the program; `None` for an entry with another key, and for bytes that
/// are not a complete entry.
fn decode(bytes: &[u8], key: &[u8]) -> Option<(Vec<String>, Vec<u8>)> {
    let mut rest = bytes;
    let sum = number(&mut rest)?;
    if hash(rest) != sum {
        return None;
    }
    let [key_length, warnings, program] =
        [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
    if part(&mut rest, key_length)? != key {
        return None;
    }
    let warnings = serde_json::from_slice(part(&mut rest, warnings)?).ok()?;
    let program = part(&mut rest, program)?;
    let whole = program.len().is_multiple_of(INSTRUCTION)
        && (1..=MAX_INSTRUCTIONS).contains(&(program.len() / INSTRUCTION));
    (whole && rest.is_empty()).then(|| (warnings, program.to_vec()))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_le_bytes(*number))
}

fn part<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (part, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(part)
}

/// Opens the directory. Checks that the caller owns it and that no other user can access it.
fn open_dir(dir: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    if mine(&stat) && stat.st_mode & 0o077 == 0 { Ok(fd) } else { Err(Errno::PERM) }
}

fn mine(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

fn read(dir: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    // NONBLOCK: opening a FIFO must not block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&fd).ok()?;
    let size = u64::try_from(stat.st_size).ok()?;
    let good = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && mine(&stat)
        && stat.st_mode & 0o022 == 0
        && stat.st_nlink == 1
        && size <= LARGEST;
    if !good {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).ok()?.saturating_add(1));
    File::from(fd).take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Removes the oldest files until at most [`ENTRIES`] are left.
fn prune(dir: &OwnedFd) -> Result<(), Errno> {
    let mut files = Vec::new();
    for entry in Dir::read_from(dir.as_fd())? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        if let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            files.push((stat.st_mtime, stat.st_mtime_nsec, name.to_owned()));
        }
    }
    files.sort_unstable();
    let surplus = files.len().saturating_sub(ENTRIES);
    for (.., name) in files.into_iter().take(surplus) {
        rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
