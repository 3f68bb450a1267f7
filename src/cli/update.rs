//! `update`: changes the limits of an existing container.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::args::{Global, UpdateArgs};
use super::environment;
use crate::config::{Changes, intel_rdt};
use crate::container::update::update;
use crate::state::Id;
use crate::{Context, Error, Kind, Result, log};

/// The maximum size of a file: larger than any real `linux.resources`.
const MAX_BYTES: u64 = 16 << 20;

/// Sets the limits, and stores them for later commands.
pub fn run(global: &Global, args: &UpdateArgs) -> Result<()> {
    let (store, id) = (environment::store(global)?, Id::new(&args.id)?);
    let changes = changes(args)?;
    let schemata = intel_rdt::schemata(
        ("--l3-cache-schema", set(&args.l3_cache_schema)),
        ("--mem-bw-schema", set(&args.mem_bw_schema)),
    )?;
    update(store.load(&id)?, &changes, &schemata)
}

fn changes(args: &UpdateArgs) -> Result<Changes> {
    let options = options(args)?;
    let Some(path) = args.resources.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(Changes::new(&options));
    };
    if options != LinuxResources::default() {
        let why = "--resources cannot be used with options for limits such as --memory";
        return Err(Error::new(Kind::Invalid, why));
    }
    let name =
        if path == Path::new("-") { "standard input".into() } else { path.to_string_lossy() };
    let raw = read(path).with_context(|| format!("read {name}"))?;
    let mut warnings = Vec::new();
    let changes = Changes::parse(&raw, &name, &mut warnings)?;
    warnings.iter().for_each(log::warn);
    Ok(changes)
}

/// Reads a file of any type, since a shell may pass a pipe.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    let limit = MAX_BYTES + 1;
    match path == Path::new("-") {
        true => std::io::stdin().lock().take(limit).read_to_end(&mut raw)?,
        false => File::open(path)?.take(limit).read_to_end(&mut raw)?,
    };
    if raw.len() as u64 > MAX_BYTES {
        return Err(Error::new(Kind::Invalid, format!("is larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(raw)
}

/// Returns the options as a resources object.
fn options(args: &UpdateArgs) -> Result<LinuxResources> {
    let (mut memory, mut cpu) = (LinuxMemory::default(), LinuxCpu::default());
    memory
        .set_limit(size("--memory", &args.memory)?)
        .set_swap(size("--memory-swap", &args.memory_swap)?)
        .set_reservation(size("--memory-reservation", &args.memory_reservation)?)
        .set_kernel_tcp(size("--kernel-memory-tcp", &args.kernel_memory_tcp)?);
    #[allow(deprecated)] // The specification deprecates it, but engines set it.
    memory.set_kernel(size("--kernel-memory", &args.kernel_memory)?);
    cpu.set_shares(number("--cpu-share", &args.cpu_share)?)
        .set_quota(number("--cpu-quota", &args.cpu_quota)?)
        .set_period(number("--cpu-period", &args.cpu_period)?)
        .set_burst(number("--cpu-burst", &args.cpu_burst)?)
        .set_realtime_runtime(number("--cpu-rt-runtime", &args.cpu_rt_runtime)?)
        .set_realtime_period(number("--cpu-rt-period", &args.cpu_rt_period)?)
        .set_idle(number("--cpu-idle", &args.cpu_idle)?)
        .set_cpus(set(&args.cpuset_cpus).map(str::to_owned))
        .set_mems(set(&args.cpuset_mems).map(str::to_owned));
    let mut resources = LinuxResources::default();
    resources
        .set_memory(Some(memory).filter(|memory| *memory != LinuxMemory::default()))
        .set_cpu(Some(cpu).filter(|cpu| *cpu != LinuxCpu::default()));
    if let Some(weight) = number("--blkio-weight", &args.blkio_weight)? {
        let mut block_io = LinuxBlockIo::default();
        block_io.set_weight(Some(weight));
        resources.set_block_io(Some(block_io));
    }
    if let Some(limit) = number("--pids-limit", &args.pids_limit)? {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    Ok(resources)
}

/// Treats an empty option as unset: scripts write `--memory "$MEMORY"`.
fn set(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn number<T: std::str::FromStr>(option: &str, value: &Option<String>) -> Result<Option<T>> {
    let parse = |text: &str| {
        text.parse().map_err(|_| Error::invalid(option, text, "must be a number in range"))
    };
    set(value).map(parse).transpose()
}

pub(super) fn size(option: &str, value: &Option<String>) -> Result<Option<i64>> {
    let parse = |text: &str| {
        let why = "must be a number of bytes such as 512M, or -1";
        bytes(text).ok_or_else(|| Error::invalid(option, text, why))
    };
    set(value).map(parse).transpose()
}

/// Parses a number of bytes such as `10M`, `1.5 GiB` or `4096`, with units in powers of 1024; or
/// -1.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let factor = 1_i64 << shift;
    if number.contains('.') {
        let exact: f64 = number.parse().ok()?;
        let bytes = exact * factor as f64;
        return (bytes < i64::MAX as f64).then_some(bytes as i64);
    }
    number.parse::<i64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, wanted) in [
            ("-1", Some(-1)),
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("10M", Some(10 << 20)),
            ("1g", Some(1 << 30)),
            ("512kb", Some(512 << 10)),
            ("1.5GiB", Some(3 << 29)),
            ("32 MB", Some(32 << 20)),
            ("7b", Some(7)),
            ("2T", Some(2 << 40)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("9000P", None),
            ("1e6", None),
            ("-2", None),
            ("M", None),
            ("1.2.3M", None),
            ("10X", None),
            ("10MM", None),
            ("+5", None),
            ("99999999999999999999.0P", None),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
    }
}
