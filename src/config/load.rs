//! Reads and parses config.json and process.json.
//!
//! One walk over the keys (`members`) and one pass of serde. The text is parsed again only if that
//! fails (`reparse`), if it may hold a NUL byte, or if the limit of processes reads as 0.
//!
//! The oci-spec crate cannot represent, or loses, the following:
//! * Unknown capabilities: the crate fails; the specification requires a warning. They are dropped
//!   with a warning. Lower case and a missing "CAP_" are accepted, as the crate does.
//! * Required members that the crate reads as 0, or by a default of its own, if they are missing:
//!   refused by `members` (`devices[].major`, `rlimits[].soft`, `ioPriority.class`, `rate`, ...).
//!   These keep their default, as in runc: `user.uid`, `user.gid` (0), `uidMappings[].containerID`
//!   (0), `ioPriority.priority` (0), `resources.devices[].allow` (false, so deny), `consoleSize` (0 x 0).
//! * `process` without `user`: the crate fails; runc and crun run the process as root. So does
//!   `document`.
//! * `resources.pids` without `limit`: the crate reads 0, which would be a limit. Removed.
//! * `hugepageLimits[].limit` is unsigned in the specification, signed in the crate. Larger values
//!   become `i64::MAX`, which no kernel can count to.
//! * `scheduler.flags`: the crate has two wrong names (`SCHED_FLAG_RESET_ON_FORK`,
//!   `SCHED_FLAG_DL_OVERRUN`). Translated.
//! * `execCPUAffinity` with an empty string means unset; the crate fails. Read as unset
//!   (`document`).
//! * Deprecated members of `intelRdt` (`enableCMT`, `enableMBM`): dropped by the crate, and no longer
//!   in the specification, which has `enableMonitoring` in their place.
//! * A key given twice: refused by the crate in objects of the specification. In maps with free
//!   keys (annotations, sysctl, unified, rdma) the last value counts, as in runc.
//! * A NUL byte in a string: the crate keeps it; the kernel would cut the string there. Refused.
//! * Members for other platforms (`windows`, `vm`, `process.commandLine`, ...) are ignored.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{Config, ProcessConfig};
use super::members::MisspeltKey;
use super::{annotations, keys, members, reparse, version};
use crate::{Context, Error, Kind, Result};

/// The maximum size of a file: larger than any real configuration, and small enough to read into
/// memory.
pub const MAX_BYTES: u64 = 16 << 20;

/// A parsed config.json.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub spec: Spec,
    /// The bytes as read, for the snapshot: later edits of the file have no effect. Keys in another
    /// case are replaced by those of the specification ([`members::correct`]).
    pub raw: Vec<u8>,
    /// Warnings that the specification asks for in the place of errors.
    pub warnings: Vec<String>,
}

/// A parsed process.json, as `exec --process` takes it.
#[derive(Debug, Clone)]
pub struct LoadedProcess {
    /// The process.
    pub process: Process,
    /// Warnings that the specification asks for in the place of errors.
    pub warnings: Vec<String>,
}

/// Reads and parses a config.json.
pub fn load(path: &Path) -> Result<Loaded> {
    parse(load_bytes(path)?, &path.to_string_lossy())
}

/// Reads the bytes of the config.json of a bundle.
pub fn load_bytes(path: &Path) -> Result<Vec<u8>> {
    read(path, Fifo::Refused).map_err(|error| match error.errno() {
        Some(nix::errno::Errno::ENOENT) => {
            error.advice("name the bundle with --bundle, or write one with 'bulkhead spec'")
        }
        _ => error,
    })
}

/// Reads the bytes of a config.json or process.json. It may be a FIFO, since shells pass `<(...)` as one.
pub fn read_config(path: &Path) -> Result<Vec<u8>> {
    read(path, Fifo::Taken)
}

/// Returns the keys of a config.json that are not what their writer meant; none if it is no JSON
/// text.
pub fn misspelt(raw: &[u8]) -> Vec<MisspeltKey> {
    text(raw).map(members::misspelt).unwrap_or_default()
}

/// Parses a configuration; `name` is the name of the text in errors.
pub fn parse(mut raw: Vec<u8>, name: &str) -> Result<Loaded> {
    let mut warnings = Vec::new();
    let spec = parse_corrected(&mut raw, &mut warnings).context(name)?;
    Ok(Loaded { spec, raw, warnings })
}

/// Parses a configuration that [`parse`] has returned before. Drops its warnings, which were given
/// then.
pub fn parse_stored(text: &str) -> Result<Spec> {
    parse_text(text, &mut Vec::new())
}

/// Parses a process.json; `name` is the name of the text in errors. A process without a user runs as root.
pub fn parse_process(raw: &[u8], name: &str) -> Result<LoadedProcess> {
    let mut warnings = Vec::new();
    let read = |warnings: &mut Vec<String>| -> Result<Process> {
        let text = members::correct(text(raw)?, keys::PROCESS, "process", false, warnings)?;
        let process = decode::<ProcessConfig>(&text, "process", warnings)?;
        if text.contains(NUL) {
            no_nul("process", &value(&text)?)?;
        }
        Ok(process.into())
    };
    let process = read(&mut warnings).context(name)?;
    Ok(LoadedProcess { process, warnings })
}

fn parse_corrected(raw: &mut Vec<u8>, warnings: &mut Vec<String>) -> Result<Spec> {
    let corrected = members::correct(text(raw)?, keys::CONFIG, "", false, warnings)?;
    if let Cow::Owned(corrected) = corrected {
        *raw = corrected.into_bytes();
    }
    parse_text(text(raw)?, warnings)
}

/// Parses a configuration whose keys `members::correct` has checked.
pub(super) fn parse_text(text: &str, warnings: &mut Vec<String>) -> Result<Spec> {
    let mut spec: Spec = decode::<Config>(text, "", warnings)?.into();
    version::check(spec.version())?;
    if text.contains(NUL) {
        let value = value(text)?;
        for part in USED {
            value.get(part).map_or(Ok(()), |found| no_nul(part, found))?;
        }
    }
    let linux = spec.linux_mut().as_mut();
    if let Some(resources) = linux.and_then(|linux| linux.resources_mut().as_mut())
        && resources.pids().is_some_and(|pids| pids.limit() == 0)
        && value(text)?.pointer("/linux/resources/pids/limit").is_none()
    {
        resources.set_pids(None);
    }
    annotations::apply(&mut spec, warnings);
    Ok(spec)
}

fn value(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| reparse::explain(text, &error, ""))
}

/// The parts of a configuration whose strings reach the kernel.
const USED: &[&str] = &["process", "root", "hostname", "domainname", "mounts", "hooks", "linux"];

/// How JSON writes a NUL byte.
const NUL: &str = "\\u0000";

/// Refuses a NUL byte. It ends a C string: the kernel would see another value than the checked
/// value.
fn no_nul(field: &str, value: &Value) -> Result<()> {
    const WHY: &str = "a NUL byte cannot be passed to the kernel";
    match value {
        Value::String(text) if text.contains('\0') => Err(Error::invalid(field, text, WHY)),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .try_for_each(|(index, element)| no_nul(&format!("{field}[{index}]"), element)),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            if key.contains('\0') {
                return Err(Error::invalid(field, key, WHY));
            }
            // Opaque data for the seccomp agent; it travels as JSON.
            if key == "listenerMetadata" {
                return Ok(());
            }
            no_nul(&format!("{field}.{key}"), member)
        }),
        _ => Ok(()),
    }
}

fn decode<T: DeserializeOwned>(text: &str, root: &str, warnings: &mut Vec<String>) -> Result<T> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => reparse::reparse(text, &error, root, warnings),
    }
}

/// Returns the JSON text. Refuses what the specification excludes: other encodings than UTF-8, a
/// byte order mark, values other than an object.
pub(super) fn text(raw: &[u8]) -> Result<&str> {
    let bad = |why: String| Err(Error::new(Kind::Invalid, why));
    if raw.starts_with(b"\xef\xbb\xbf") {
        return bad("starts with a byte order mark; save it as UTF-8 without one".to_owned());
    }
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text,
        Err(error) => {
            let good = raw.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + good.iter().filter(|b| **b == b'\n').count();
            let column = 1 + good.iter().rev().take_while(|b| **b != b'\n').count();
            return bad(format!("line {line} column {column}: not UTF-8"));
        }
    };
    let inside = raw.trim_ascii();
    if inside.is_empty() {
        return bad("is empty; it must hold a JSON object".to_owned());
    }
    // serde accepts an array for a struct and takes its elements for the members in order.
    if inside.starts_with(b"[") || inside == b"null" {
        return bad("must hold a JSON object, not an array or null".to_owned());
    }
    Ok(text)
}

/// Whether a file may be a FIFO. A FIFO in a bundle could block the runtime forever.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fifo {
    Refused,
    Taken,
}

/// Reads a regular file of at most [`MAX_BYTES`], or a FIFO if allowed. Refuses all other files
/// without blocking.
fn read(path: &Path, fifo: Fifo) -> Result<Vec<u8>> {
    let refuse = |what: &str| {
        let name = path.to_string_lossy();
        Err(Error::new(Kind::Invalid, format!("{name}: is {what}, not a regular file")))
    };
    // O_NONBLOCK: opening a FIFO without a writer must not block. std adds O_CLOEXEC.
    let nonblock = if fifo == Fifo::Refused { libc::O_NONBLOCK } else { 0 };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblock | libc::O_NOCTTY)
        .open(path)
        .with_context(|| format!("open {}", path.display()));
    let mut file = match file {
        Err(error) if error.errno() == Some(nix::errno::Errno::ENXIO) => {
            return refuse("a socket or a device");
        }
        other => other?,
    };
    let meta = file.metadata().with_context(|| format!("stat {}", path.display()))?;
    let kind = meta.file_type();
    if kind.is_dir() {
        return refuse("a directory");
    } else if kind.is_fifo() && fifo == Fifo::Refused {
        return refuse("a FIFO");
    } else if !kind.is_file() && !kind.is_fifo() {
        return refuse("a device");
    }
    let mut raw = Vec::new();
    if meta.len() <= MAX_BYTES {
        // A little more than the size, so that the end of the file is found without another
        // allocation.
        raw.reserve_exact(usize::try_from(meta.len()).unwrap_or(0).saturating_add(64));
        (&mut file)
            .take(MAX_BYTES + 1)
            .read_to_end(&mut raw)
            .with_context(|| format!("read {}", path.display()))?;
    }
    // Check the size again: the file may have grown, and files of procfs have a size of 0.
    if meta.len() > MAX_BYTES || raw.len() as u64 > MAX_BYTES {
        return Err(Error::new(
            Kind::Invalid,
            format!("{}: is larger than {} MiB", path.display(), MAX_BYTES >> 20),
        ));
    }
    Ok(raw)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
