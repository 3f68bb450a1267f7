//! `update`: other limits for a container that is there.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Global, UpdateArgs, environment};
use crate::config::Changes;
use crate::{Context, Error, Kind, Result, log};

/// More than any real `linux.resources`.
const MAX_BYTES: u64 = 16 << 20;

/// Changes the limits.
pub fn run(global: &Global, args: &UpdateArgs) -> Result<i32> {
    let container = environment::runtime(global)?.container(&args.id)?;
    container.change(&changes(args)?).map(|()| 0)
}

fn changes(args: &UpdateArgs) -> Result<Changes> {
    for (name, value) in
        [("--l3-cache-schema", &args.l3_cache_schema), ("--mem-bw-schema", &args.mem_bw_schema)]
    {
        if set(value).is_some() {
            return Err(Error::unsupported(format!("{name} (Intel RDT)")));
        }
    }
    let mut warnings = Vec::new();
    let changes = match args.resources.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        Some(_) if has_limits(&options(args)?) => {
            let why = "--resources cannot be used with options for limits such as --memory";
            return Err(Error::new(Kind::Invalid, why));
        }
        Some(path) => {
            let name = if path == Path::new("-") {
                "standard input".into()
            } else {
                path.to_string_lossy()
            };
            let raw = read(path).with_context(|| format!("read {name}"))?;
            Changes::parse(&raw, &name, &mut warnings)?
        }
        None => {
            let text = options(args)?.to_string();
            Changes::parse(text.as_bytes(), "options", &mut warnings)?
        }
    };
    warnings.iter().for_each(log::warn);
    Ok(changes)
}

/// Whatever kind of file it is: a shell may hand over a pipe.
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

/// The options as a `linux.resources` object.
fn options(args: &UpdateArgs) -> Result<Value> {
    let (mut memory, mut cpu) = (Map::new(), Map::new());
    let (mut pids, mut block_io) = (Map::new(), Map::new());
    for (option, value, key) in [
        ("--memory", &args.memory, "limit"),
        ("--memory-swap", &args.memory_swap, "swap"),
        ("--memory-reservation", &args.memory_reservation, "reservation"),
        ("--kernel-memory", &args.kernel_memory, "kernel"),
        ("--kernel-memory-tcp", &args.kernel_memory_tcp, "kernelTCP"),
    ] {
        if let Some(text) = set(value) {
            let why = "must be a number of bytes such as 512M, or -1";
            let bytes = bytes(text).ok_or_else(|| Error::invalid(option, text, why))?;
            memory.insert(key.to_owned(), bytes.into());
        }
    }
    let unsigned = [
        ("--cpu-period", &args.cpu_period, "period"),
        ("--cpu-burst", &args.cpu_burst, "burst"),
        ("--cpu-rt-period", &args.cpu_rt_period, "realtimePeriod"),
        ("--cpu-share", &args.cpu_share, "shares"),
    ];
    for (option, value, key) in unsigned {
        if let Some(text) = set(value) {
            cpu.insert(key.to_owned(), number::<u64>(option, text)?.into());
        }
    }
    let signed = [
        ("--cpu-quota", &args.cpu_quota, "quota"),
        ("--cpu-rt-runtime", &args.cpu_rt_runtime, "realtimeRuntime"),
        ("--cpu-idle", &args.cpu_idle, "idle"),
    ];
    for (option, value, key) in signed {
        if let Some(text) = set(value) {
            cpu.insert(key.to_owned(), number::<i64>(option, text)?.into());
        }
    }
    for (value, key) in [(&args.cpuset_cpus, "cpus"), (&args.cpuset_mems, "mems")] {
        if let Some(text) = set(value) {
            cpu.insert(key.to_owned(), text.into());
        }
    }
    if let Some(text) = set(&args.blkio_weight) {
        block_io.insert("weight".to_owned(), number::<u16>("--blkio-weight", text)?.into());
    }
    if let Some(text) = set(&args.pids_limit) {
        pids.insert("limit".to_owned(), number::<i64>("--pids-limit", text)?.into());
    }
    Ok(json!({"memory": memory, "cpu": cpu, "pids": pids, "blockIO": block_io}))
}

fn has_limits(resources: &Value) -> bool {
    let parts = resources.as_object().into_iter().flat_map(Map::values);
    parts.filter_map(Value::as_object).any(|part| !part.is_empty())
}

/// An empty option is as good as none: scripts write `--memory "$MEMORY"`.
fn set(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::invalid(option, text, "must be a number in range"))
}

/// A number of bytes as people write it: `10M`, `1.5 GiB`, `4096`, all units by 1024; or -1.
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
