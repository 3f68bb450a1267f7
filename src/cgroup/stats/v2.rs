//! The figures of v2 controllers.

use crate::cgroup::files::OpenDir;
use crate::cgroup::layout::Dir;
use crate::cgroup::walk;
use crate::{Context, Result};

use super::figures::{BlkioEntry, Hugetlb, MemoryEntry, Pids, Stats};
use super::parse;

/// Adds the figures of `dir`, except those of controllers for which `has_v1` is true.
pub fn add(dir: &Dir, has_v1: impl Fn(&str) -> bool, stats: &mut Stats) -> Result<()> {
    let files = &OpenDir::open(&dir.path)?;
    if !has_v1("cpuacct") {
        cpu(files, stats)?;
    }
    if !has_v1("cpuset") {
        stats.cpuset.cpus = files.or_default("cpuset.cpus.effective", parse::list)?;
        stats.cpuset.mems = files.or_default("cpuset.mems.effective", parse::list)?;
    }
    if !has_v1("memory") {
        memory(files, stats)?;
    }
    if !has_v1("pids") {
        stats.pids = match pids(files)? {
            Some(pids) => pids,
            // Count the processes without the controller.
            None => Pids { current: walk::all_processes(&dir.path)?.len() as u64, limit: 0 },
        };
    }
    if !has_v1("blkio") {
        let io = files.or_default("io.stat", io_stat)?;
        (stats.blkio.io_service_bytes_recursive, stats.blkio.io_serviced_recursive) = io;
    }
    if !has_v1("hugetlb") {
        hugetlb(files, stats)?;
    }
    stats.cpu.psi = files.parsed("cpu.pressure", parse::psi)?;
    stats.memory.psi = files.parsed("memory.pressure", parse::psi)?;
    stats.blkio.psi = files.parsed("io.pressure", parse::psi)?;
    Ok(())
}

fn cpu(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    let pairs = files.keyed("cpu.stat")?;
    let value = |key| parse::value(&pairs, key);
    let nanoseconds = |key| value(key).saturating_mul(1000);
    stats.cpu.usage.total = nanoseconds("usage_usec");
    stats.cpu.usage.user = nanoseconds("user_usec");
    stats.cpu.usage.kernel = nanoseconds("system_usec");
    stats.cpu.throttling.periods = value("nr_periods");
    stats.cpu.throttling.throttled_periods = value("nr_throttled");
    stats.cpu.throttling.throttled_time = nanoseconds("throttled_usec");
    Ok(())
}

fn memory(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = files.keyed("memory.stat")?.into_iter().collect();
    memory.cache = memory.raw.get("file").copied().unwrap_or_default();
    let entry = |prefix: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: files.number_or_0(&format!("{prefix}.max"))?,
            usage: files.number_or_0(&format!("{prefix}.current"))?,
            max: files.number_or_0(&format!("{prefix}.peak"))?,
            failcnt: 0,
        })
    };
    memory.usage = entry("memory")?;
    // v1 counts memory plus swap; their common peak is not known.
    let swap = entry("memory.swap")?;
    memory.swap = MemoryEntry {
        limit: swap.limit.saturating_add(memory.usage.limit),
        usage: swap.usage.saturating_add(memory.usage.usage),
        max: 0,
        failcnt: 0,
    };
    Ok(())
}

/// Reads the files that both versions have; `None` without the controller.
pub fn pids(files: &OpenDir<'_>) -> Result<Option<Pids>> {
    let Some(current) = files.number("pids.current")? else { return Ok(None) };
    let limit = files.number_or_0("pids.max")?;
    Ok(Some(Pids { current, limit: if limit == u64::MAX { 0 } else { limit } }))
}

/// Parses lines of `8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...` into the bytes and the operations of v1.
fn io_stat(text: &str) -> Option<(Vec<BlkioEntry>, Vec<BlkioEntry>)> {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        // A removed device may have no number.
        let Some((major, minor)) = words.next().and_then(|name| name.split_once(':')) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                _ => continue,
            };
            list.push(BlkioEntry {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                op: op.to_owned(),
                value: value.parse().ok()?,
            });
        }
    }
    Some((bytes, operations))
}

fn hugetlb(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    for size in page_sizes()? {
        let usage = match files.number(&format!("hugetlb.{size}.rsvd.current"))? {
            Some(reserved) => Some(reserved),
            None => files.number(&format!("hugetlb.{size}.current"))?,
        };
        let Some(usage) = usage else { continue };
        let events = files.keyed(&format!("hugetlb.{size}.events"))?;
        let failcnt = parse::value(&events, "max");
        stats.hugetlb.insert(size, Hugetlb { usage, max: 0, failcnt });
    }
    Ok(())
}

/// Returns the sizes of huge pages as in the names of cgroup files.
pub fn page_sizes() -> Result<Vec<String>> {
    let dir = "/sys/kernel/mm/hugepages";
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("read {dir}"))?,
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| page_size(name.to_str()?)).collect())
}

/// Converts `hugepages-2048kB` to `2MB`.
fn page_size(name: &str) -> Option<String> {
    let kilobytes = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
    let kilobytes: u64 = kilobytes.parse().ok()?;
    Some(match kilobytes {
        gigabytes if gigabytes >= 1 << 20 => format!("{}GB", gigabytes >> 20),
        megabytes if megabytes >= 1 << 10 => format!("{}MB", megabytes >> 10),
        kilobytes => format!("{kilobytes}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_pages() {
        for (name, size) in [
            ("hugepages-64kB", Some("64KB")),
            ("hugepages-2048kB", Some("2MB")),
            ("hugepages-1048576kB", Some("1GB")),
            ("hugepages", None),
        ] {
            assert_eq!(page_size(name).as_deref(), size, "{name}");
        }
    }

    #[test]
    fn figures_are_read_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_throttled 4\n");
        write("memory.stat", "anon 1\nfile 2048\n");
        write("memory.current", "4096\n");
        write("memory.max", "max\n");
        write("memory.swap.current", "100\n");
        write("memory.swap.max", "0\n");
        write("pids.current", "3\n");
        write("pids.max", "max\n");
        write("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n253:1 \n");
        write("cpuset.cpus.effective", "0-1\n");
        write("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n");
        let dir = Dir {
            name: String::new(),
            options: Vec::new(),
            root: dir.path().into(),
            path: dir.path().into(),
            made: false,
            above: 0,
        };
        let mut stats = Stats::default();
        add(&dir, |_| false, &mut stats).unwrap();
        let usage = &stats.cpu.usage;
        assert_eq!((usage.total, usage.user, usage.kernel), (30_000, 20_000, 10_000));
        assert_eq!(stats.cpu.throttling.throttled_periods, 4);
        assert_eq!(stats.cpu.psi.unwrap().some.total, 9);
        assert_eq!((stats.memory.cache, stats.memory.usage.limit), (2048, u64::MAX));
        assert_eq!((stats.memory.swap.usage, stats.memory.swap.limit), (4196, u64::MAX));
        assert_eq!(stats.pids, Pids { current: 3, limit: 0 });
        assert_eq!(stats.blkio.io_serviced_recursive.len(), 2);
        assert_eq!(stats.blkio.io_service_bytes_recursive[1].value, 2);
        assert_eq!(stats.cpuset.cpus, [0, 1]);
        assert_eq!(stats.memory.psi, None);
        // Figures that v1 has are left to v1.
        let mut stats = Stats::default();
        add(&dir, |_| true, &mut stats).unwrap();
        assert_eq!(stats.cpu.usage.total, 0);
        assert!(stats.cpu.psi.is_some());
    }
}
