//! `events`: its figures against the cgroup's files, its stream against the container's life.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::*;

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// `data` of one report.
fn stats(c: &Container) -> Value {
    let ran = c.rt.call(&["events", "--stats", &c.id]).ok();
    let mut all = lines(&ran.stdout);
    assert_eq!(all.len(), 1, "{ran:#?}");
    let one = all.remove(0);
    assert_eq!((&one["type"], &one["id"]), (&json!("stats"), &json!(c.id)));
    one["data"].clone()
}

fn read(c: &Container, name: &str, v1: &str, v2: &str) -> Option<String> {
    controller(name)?;
    let text = fs::read_to_string(cgroup_file(c.process(), name, v1, v2)).ok()?;
    Some(text.trim().to_owned())
}

#[test]
fn a_report_has_the_figures_of_the_cgroup() {
    let mut c = Container::with_script(
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; exec sleep 600",
    );
    if controller("memory").is_some() {
        c.set("/linux/resources/memory", json!({"limit": 64 << 20}));
    }
    if controller("pids").is_some() {
        c.set("/linux/resources/pids", json!({"limit": 77}));
    }
    c.run_detached().wait_for("done");
    let data = stats(&c);
    for key in
        ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"]
    {
        assert!(data.get(key).is_some(), "no {key} in {data:#}");
    }
    // Counted on either version, with or without a limit.
    let cpu = &data["cpu"]["usage"];
    assert!(cpu["total"].as_u64().unwrap() > 1_000_000, "{cpu}");
    assert!(cpu["user"].as_u64().is_some() && cpu["kernel"].as_u64().is_some(), "{cpu}");
    assert!(data["pids"]["current"].as_u64().unwrap() >= 1, "{data:#}");
    if controller("pids").is_some() {
        assert_eq!(data["pids"], json!({"current": 1, "limit": 77}));
    }
    if let Some((version, _)) = controller("memory") {
        let memory = &data["memory"];
        assert_eq!(memory["usage"]["limit"], 64 << 20);
        assert!(memory["usage"]["usage"].as_u64().unwrap() > 0, "{memory}");
        let raw = memory["raw"].as_object().unwrap();
        let key = if version == Version::V1 { "rss" } else { "anon" };
        assert!(raw[key].is_u64(), "{memory}");
    }
    if let Some(usage) = read(&c, "cpuacct", "cpuacct.usage", "none") {
        let usage: u64 = usage.parse().unwrap();
        let total = cpu["total"].as_u64().unwrap();
        assert!(total <= usage && usage < total + 1_000_000_000, "{total} and {usage}");
        let percpu: u64 =
            cpu["percpu"].as_array().unwrap().iter().map(|one| one.as_u64().unwrap()).sum();
        assert_eq!(percpu, total);
    }
    if let Some(list) = read(&c, "cpuset", "cpuset.cpus", "cpuset.cpus.effective") {
        let first: u64 = list.split([',', '-']).next().unwrap().parse().unwrap();
        assert_eq!(data["cpuset"]["cpus"][0], first);
    }
}

#[test]
fn huge_pages_are_reported_where_they_are_counted() {
    let sizes: Vec<u64> = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name["hugepages-".len()..name.len() - 2].parse().unwrap())
        .collect();
    if controller("hugetlb").is_none() || !sizes.contains(&2048) {
        skip!("no hugetlb controller or no pages of 2 MB");
    }
    let mut c = asleep();
    c.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4 << 20}]));
    c.run_detached();
    assert_eq!(stats(&c)["hugetlb"]["2MB"], json!({"failcnt": 0}));
}

#[test]
fn a_created_and_a_paused_container_have_figures_and_a_stopped_one_has_none() {
    let c = asleep();
    c.rt.call(&["events", "--stats", &c.id]).refused(&["container does not exist"]);
    c.create().ok();
    assert!(stats(&c)["pids"]["current"].as_u64() >= Some(1));
    c.start().ok();
    c.rt.call(&["pause", &c.id]).ok();
    assert!(stats(&c)["pids"]["current"].as_u64() >= Some(1));
    c.rt.call(&["resume", &c.id]).ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.rt.call(&["events", "--stats", &c.id]).refused(&["container not running"]);
    c.rt.call(&["events", &c.id]).refused(&["container not running"]);
}

#[test]
fn the_stream_has_a_report_each_interval_and_ends_with_the_container() {
    let c = asleep();
    c.run_detached();
    let start = Instant::now();
    let stream = c.rt.spawn(c.rt.command(&["events", "--interval", "100ms", &c.id]));
    wait_until("three reports", || stream.stdout().lines().count() >= 3);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    c.kill("KILL").ok();
    let ran = stream.wait().ok();
    for line in lines(&ran.stdout) {
        assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(c.id)));
        assert!(line["data"]["cpu"].is_object());
    }
}

#[test]
fn the_stream_ends_at_once_however_long_the_interval() {
    let c = asleep();
    c.run_detached();
    let stream = c.rt.spawn(c.rt.command(&["events", "--interval=1h", &c.id]));
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    c.kill("KILL").ok();
    let ran = stream.wait().ok();
    assert!(start.elapsed() < *QUICK);
    assert_eq!(ran.stdout, "");
}

#[test]
fn bad_intervals_are_refused() {
    let c = asleep();
    c.run_detached();
    for (interval, why) in [
        ("0", "greater than 0"),
        ("0s", "greater than 0"),
        ("-1s", "greater than 0"),
        ("5", "100ms"),
    ] {
        c.rt.call(&["events", "--interval", interval, &c.id]).refused(&[
            "--interval",
            interval,
            why,
        ]);
    }
}

#[test]
fn running_out_of_memory_is_an_event() {
    if controller("memory").is_none() {
        skip!("no memory controller here");
    }
    // A child dies of it, not the container.
    let mut c = Container::with_script(
        "while [ ! -e /go ]; do sleep 0.01; done; \
         (exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'); echo over; exec sleep 600",
    );
    c.set("/linux/resources/memory", json!({"limit": 16 << 20, "swap": 16 << 20}));
    let ran = c.run_detached();
    let stream = c.rt.spawn(c.rt.command(&["events", "--interval", "20ms", &c.id]));
    // The watch is set before the first report.
    wait_until("a report", || !stream.stdout().is_empty());
    fs::write(c.rootfs().join("go"), "").unwrap();
    ran.wait_for("over");
    let oom = json!({"type": "oom", "id": c.id});
    wait_until("an oom event", || lines(&stream.stdout()).contains(&oom));
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    stream.wait().ok();
}
