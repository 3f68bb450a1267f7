//! Limits that a program runs into, under cgroup v1 and v2: what it gets is measured.

use std::fs;
use std::time::Duration;

use crate::support::*;

/// The figure after a key, in a file of several lines.
fn figure(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
}

/// CPU time that a container has had.
fn cpu_time(c: &Container) -> Duration {
    match controller("cpu").unwrap().0 {
        Version::V1 => {
            Duration::from_nanos(control(c, "cpuacct", "cpuacct.usage", "").parse().unwrap())
        }
        Version::V2 => {
            Duration::from_micros(figure(&control(c, "cpu", "", "cpu.stat"), "usage_usec"))
        }
    }
}

/// A container that takes what it gets of the first CPU, with these limits besides.
fn busy(cpu: Value) -> Container {
    let mut c = Container::with_script("while :; do :; done");
    c.set("/linux/resources/cpu", cpu);
    c.set("/linux/resources/cpu/cpus", json!("0"));
    c.run_detached();
    c
}

/// How many times as much CPU time the first gets as the second, over a while.
fn ratio(first: &Container, second: &Container) -> f64 {
    let before = (cpu_time(first), cpu_time(second));
    std::thread::sleep(Duration::from_secs(2));
    let got = (cpu_time(first) - before.0, cpu_time(second) - before.1);
    got.0.as_secs_f64() / got.1.as_secs_f64().max(0.001)
}

// Proves: linux.resources.cpu.{quota, burst, period}
#[test]
fn a_quota_holds() {
    let version = need!("cpu");
    let mut c = Container::with_script("while :; do :; done");
    c.set("/linux/resources/cpu", json!({"quota": 5000, "period": 50_000, "burst": 1000}));
    c.run_detached();
    let burst = control(&c, "cpu", "cpu.cfs_burst_us", "cpu.max.burst");
    assert_eq!(burst, "1000");
    let throttled = || figure(&control(&c, "cpu", "cpu.stat", "cpu.stat"), "nr_throttled");
    wait_until("throttled", || throttled() >= 10);
    let (start, before) = (std::time::Instant::now(), cpu_time(&c));
    std::thread::sleep(Duration::from_secs(1));
    let used = cpu_time(&c) - before;
    // A tenth, and what was saved up or is accounted late.
    let fifth = start.elapsed() / 5;
    assert!(used < fifth, "{used:?} of {fifth:?}");
    c.rt.call(&["update", "--cpu-quota=-1", &c.id]).ok();
    let expected = if version == Version::V1 { "-1" } else { "max 50000" };
    assert_eq!(control(&c, "cpu", "cpu.cfs_quota_us", "cpu.max"), expected);
    let before = throttled();
    std::thread::sleep(Duration::from_millis(500));
    // A period that had begun before may still end so.
    assert!(throttled() <= before + 1);
}

// Proves: linux.resources.cpu.shares
#[test]
fn who_has_more_shares_gets_more() {
    need!("cpu");
    need!("cpuset");
    let (rich, poor) = (busy(json!({"shares": 4096})), busy(json!({"shares": 128})));
    let times = ratio(&rich, &poor);
    assert!(times > 4.0, "{times:.1} times as much");
    // An update turns it round.
    rich.rt.call(&["update", "--cpu-share", "128", &rich.id]).ok();
    poor.rt.call(&["update", "--cpu-share", "4096", &poor.id]).ok();
    let times = ratio(&poor, &rich);
    assert!(times > 4.0, "{times:.1} times as much");
}

// Proves: linux.resources.cpu.idle
#[test]
fn who_is_idle_gets_what_is_left() {
    need!("cpu");
    need!("cpuset");
    if !kernel_at_least(5, 15) {
        skip!("cpu.idle is of Linux 5.15");
    }
    let (other, idle) = (busy(json!({"shares": 512})), busy(json!({"idle": 1})));
    assert_eq!(control(&idle, "cpu", "cpu.idle", "cpu.idle"), "1");
    let times = ratio(&other, &idle);
    assert!(times > 10.0, "{times:.1} times as much");
}

/// 40 MiB in 24 MiB of memory: with 32 MiB of swap they fit, with 8 MiB or none they do not.
// Proves: linux.resources.memory.swap
#[test]
fn swap_is_limited_too() {
    let version = need!("memory");
    if fs::read_to_string("/proc/swaps").unwrap().lines().count() < 2 {
        skip!("the machine has no swap");
    }
    for (swap, fits) in [(32_u64, true), (8, false), (0, false)] {
        let mut c = Container::with_script(
            "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; echo filled=$?\n\
             exec sleep 600",
        );
        c.set("/linux/resources/memory", json!({"limit": 24 << 20, "swap": (24 + swap) << 20}));
        let ran = c.run_detached();
        let code = said(&ran.wait_for("filled="), "filled").to_owned();
        assert_eq!(code, if fits { "0" } else { "137" }, "{swap} MiB of swap");
        if version == Version::V2 {
            let used: u64 = control(&c, "memory", "", "memory.swap.current").parse().unwrap();
            assert!(used <= swap << 20, "{used} bytes of swap");
            assert_eq!(used > 8 << 20, fits, "{used} bytes of swap");
        }
    }
}

/// So many huge pages of 2 MB more than there were, while this lives.
struct HugePages(u64);

impl HugePages {
    const FILE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

    fn new(count: u64) -> Option<HugePages> {
        let now = || fs::read_to_string(Self::FILE).ok()?.trim().parse::<u64>().ok();
        let pages = HugePages(now()?);
        fs::write(Self::FILE, (pages.0 + count).to_string()).ok()?;
        (now()? == pages.0 + count).then_some(pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        fs::write(Self::FILE, self.0.to_string()).unwrap();
    }
}

// Proves: linux.resources.hugepageLimits[].{pageSize, limit}
#[test]
fn huge_pages_over_the_limit_are_refused() {
    need!("hugetlb");
    let Some(_pages) = HugePages::new(6) else { skip!("no huge pages of 2 MB can be had here") };
    let mut c = Container::with_script("exec sleep 600");
    c.mount("/mnt", "hugetlbfs", "hugetlbfs", &["pagesize=2M"]);
    c.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4 << 20}]));
    c.run_detached();
    let allocate = |size: &str| {
        let words = ["busybox", "fallocate", "-l", size, "/mnt/file"];
        c.exec(&[], &words).code() == Some(0)
    };
    assert!(!allocate("6M"), "three pages");
    c.exec_sh("rm -f /mnt/file");
    assert!(allocate("4M"), "two pages");
    let used = control(&c, "hugetlb", "hugetlb.2MB.usage_in_bytes", "hugetlb.2MB.current");
    assert_eq!(used, (4 << 20).to_string());
    let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 6 << 20}]});
    let file = c.file("resources.json", &resources.to_string());
    c.rt.call(&["update", "--resources", file.to_str().unwrap(), &c.id]).ok();
    assert!(allocate("6M"), "three pages, after an update");
    c.exec_sh("rm -f /mnt/file");
    c.delete_force().ok();
}

/// cgroup v1 has them wait, in place of killing them.
// Proves: linux.resources.memory.disableOOMKiller
#[test]
fn who_may_not_be_killed_waits_for_memory() {
    if need!("memory") != Version::V1 {
        skip!("cgroup v2 has no such control");
    }
    // Memory that the program itself touches: a system call that has none would only fail.
    let mut c = Container::with_script("exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'");
    let mib = 1 << 20;
    let memory = json!({"limit": 24 * mib, "swap": 24 * mib, "disableOOMKiller": true});
    c.set("/linux/resources/memory", memory);
    c.run_detached();
    let control = || control(&c, "memory", "memory.oom_control", "");
    assert_eq!(figure(&control(), "oom_kill_disable"), 1);
    wait_until("out of memory", || figure(&control(), "under_oom") == 1);
    assert_eq!(figure(&control(), "oom_kill"), 0);
    assert_eq!(c.status(), "running");
    c.delete_force().ok();
    c.assert_gone();
}
