//! The figures of v1 controllers.

use crate::Result;
use crate::cgroup::files::OpenDir;
use crate::cgroup::layout::Dir;

use super::figures::{Hugetlb, MemoryEntry, Stats};
use super::parse;

/// `USER_HZ`: the kernel shows CPU times in hundredths of a second, on every supported
/// architecture.
const TICK: u64 = 10_000_000;

/// Adds the figures of the controllers of `dir`.
pub fn add(dir: &Dir, stats: &mut Stats) -> Result<()> {
    type Reader = fn(&OpenDir<'_>, &mut Stats) -> Result<()>;
    let readers: [(&str, Reader); 7] = [
        ("cpu", cpu),
        ("cpuacct", cpuacct),
        ("cpuset", cpuset),
        ("memory", memory),
        ("pids", pids),
        ("blkio", blkio),
        ("hugetlb", hugetlb),
    ];
    let mut wanted = readers.iter().filter(|(name, _)| dir.has_controller(name)).peekable();
    if wanted.peek().is_none() {
        return Ok(());
    }
    let files = OpenDir::open(&dir.path)?;
    wanted.try_for_each(|(_, read)| read(&files, stats))
}

fn cpu(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    let pairs = files.keyed("cpu.stat")?;
    stats.cpu.throttling.periods = parse::value(&pairs, "nr_periods");
    stats.cpu.throttling.throttled_periods = parse::value(&pairs, "nr_throttled");
    stats.cpu.throttling.throttled_time = parse::value(&pairs, "throttled_time");
    Ok(())
}

fn cpuacct(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    usage.total = files.number_or_0("cpuacct.usage")?;
    let pairs = files.keyed("cpuacct.stat")?;
    usage.user = parse::value(&pairs, "user").saturating_mul(TICK);
    usage.kernel = parse::value(&pairs, "system").saturating_mul(TICK);
    usage.percpu = files.or_default("cpuacct.usage_percpu", parse::numbers)?;
    let modes = files.or_default("cpuacct.usage_all", by_mode)?;
    (usage.percpu_user, usage.percpu_kernel) = modes.into_iter().unzip();
    Ok(())
}

/// Parses a header and lines of `cpu user system`.
fn by_mode(text: &str) -> Option<Vec<(u64, u64)>> {
    let line = |line: &str| match parse::numbers(line)?[..] {
        [_, user, system, ..] => Some((user, system)),
        _ => None,
    };
    text.lines().skip(1).map(line).collect()
}

fn cpuset(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    let set = &mut stats.cpuset;
    set.cpus = files.or_default("cpuset.cpus", parse::list)?;
    set.mems = files.or_default("cpuset.mems", parse::list)?;
    for (file, value) in [
        ("cpuset.cpu_exclusive", &mut set.cpu_exclusive),
        ("cpuset.mem_hardwall", &mut set.mem_hardwall),
        ("cpuset.mem_exclusive", &mut set.mem_exclusive),
        ("cpuset.memory_migrate", &mut set.memory_migrate),
        ("cpuset.memory_spread_page", &mut set.memory_spread_page),
        ("cpuset.memory_spread_slab", &mut set.memory_spread_slab),
        ("cpuset.memory_pressure", &mut set.memory_pressure),
        ("cpuset.sched_load_balance", &mut set.sched_load_balance),
    ] {
        *value = files.number_or_0(file)?;
    }
    let level = |text: &str| text.trim().parse().ok();
    set.sched_relax_domain_level = files.or_default("cpuset.sched_relax_domain_level", level)?;
    Ok(())
}

fn memory(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = files.keyed("memory.stat")?.into_iter().collect();
    memory.cache = memory.raw.get("cache").copied().unwrap_or_default();
    let entry = |prefix: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: files.number_or_0(&format!("{prefix}.limit_in_bytes"))?,
            usage: files.number_or_0(&format!("{prefix}.usage_in_bytes"))?,
            max: files.number_or_0(&format!("{prefix}.max_usage_in_bytes"))?,
            failcnt: files.number_or_0(&format!("{prefix}.failcnt"))?,
        })
    };
    memory.usage = entry("memory")?;
    memory.swap = entry("memory.memsw")?;
    memory.kernel = entry("memory.kmem")?;
    memory.kernel_tcp = entry("memory.kmem.tcp")?;
    Ok(())
}

fn pids(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    stats.pids = super::v2::pids(files)?.unwrap_or_default();
    Ok(())
}

/// Which files exist depends on the I/O scheduler, and those of a scheduler that is not in use are
/// empty; the first set with figures counts.
fn blkio(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    let blkio = &mut stats.blkio;
    let read = |file: String| files.or_default(&file, parse::blkio);
    for prefix in ["blkio.bfq.", "blkio."] {
        let figure = |name: &str| read(format!("{prefix}{name}_recursive"));
        blkio.sectors_recursive = figure("sectors")?;
        blkio.io_service_time_recursive = figure("io_service_time")?;
        blkio.io_wait_time_recursive = figure("io_wait_time")?;
        blkio.io_merged_recursive = figure("io_merged")?;
        blkio.io_queued_recursive = figure("io_queued")?;
        blkio.io_time_recursive = figure("time")?;
        blkio.io_serviced_recursive = figure("io_serviced")?;
        if !blkio.io_serviced_recursive.is_empty() {
            blkio.io_service_bytes_recursive = figure("io_service_bytes")?;
            return Ok(());
        }
    }
    for suffix in ["_recursive", ""] {
        let figure = |name: &str| read(format!("blkio.throttle.{name}{suffix}"));
        blkio.io_serviced_recursive = figure("io_serviced")?;
        if !blkio.io_serviced_recursive.is_empty() {
            blkio.io_service_bytes_recursive = figure("io_service_bytes")?;
            return Ok(());
        }
    }
    Ok(())
}

fn hugetlb(files: &OpenDir<'_>, stats: &mut Stats) -> Result<()> {
    for size in super::v2::page_sizes()? {
        let entry = |middle: &str| -> Result<Option<Hugetlb>> {
            let file = |name: &str| format!("hugetlb.{size}{middle}.{name}");
            let Some(usage) = files.number(&file("usage_in_bytes"))? else { return Ok(None) };
            let max = files.number_or_0(&file("max_usage_in_bytes"))?;
            Ok(Some(Hugetlb { usage, max, failcnt: files.number_or_0(&file("failcnt"))? }))
        };
        let found = match entry(".rsvd")? {
            Some(reserved) => Some(reserved),
            None => entry("")?,
        };
        if let Some(entry) = found {
            stats.hugetlb.insert(size, entry);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::figures::BlkioEntry;
    use super::*;

    #[test]
    fn times_by_mode() {
        let text = "cpu user system\n0 10 20\n1 30 40\n";
        assert_eq!(by_mode(text), Some(vec![(10, 20), (30, 40)]));
        assert_eq!(by_mode("cpu user system\n0\n"), None);
    }

    #[test]
    fn figures_are_read_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("memory.stat", "cache 4096\nrss 1\n");
        write("memory.limit_in_bytes", "8192\n");
        write("memory.usage_in_bytes", "5000\n");
        write("memory.failcnt", "2\n");
        write("blkio.bfq.io_serviced_recursive", "Total 0\n");
        write("blkio.throttle.io_serviced", "8:0 Read 1\nTotal 1\n");
        write("blkio.throttle.io_service_bytes", "8:0 Read 512\nTotal 512\n");
        let dir = Dir {
            name: "memory".into(),
            options: vec!["memory".into(), "blkio".into()],
            root: dir.path().into(),
            path: dir.path().into(),
            made: false,
            above: 0,
        };
        let mut stats = Stats::default();
        add(&dir, &mut stats).unwrap();
        let usage = MemoryEntry { limit: 8192, usage: 5000, max: 0, failcnt: 2 };
        assert_eq!((stats.memory.cache, stats.memory.usage), (4096, usage));
        assert_eq!(stats.memory.swap, MemoryEntry::default());
        let entry = BlkioEntry { major: 8, minor: 0, op: "Read".into(), value: 512 };
        assert_eq!(stats.blkio.io_service_bytes_recursive, [entry]);
    }
}
