use super::super::limits::checked;
use super::super::setting::ControlFile;
use super::*;

fn all(json: &str, version: Version) -> Result<Vec<Setting>> {
    let mut out = Vec::new();
    for limit in &checked(&serde_json::from_str(json).unwrap())? {
        let settings = settings(limit, version)?;
        let wanted = controller(limit, version);
        let mut controllers = settings.iter().map(Setting::controller);
        assert!(controllers.all(|controller| Some(controller) == wanted), "{json}");
        out.extend(settings);
    }
    Ok(out)
}

/// Formats settings as `file=value`, alternatives with `|`, optional files with `?`.
fn lines(json: &str, version: Version) -> Vec<String> {
    let settings = all(json, version).unwrap_or_else(|error| panic!("{json}: {error}"));
    let line = |file: &ControlFile| format!("{}={}", file.name, file.content);
    settings
        .iter()
        .map(|setting| {
            let line = setting.files.iter().map(line).collect::<Vec<_>>().join(" | ");
            if setting.optional { format!("{line}?") } else { line }
        })
        .collect()
}

#[track_caller]
fn v1(json: &str, expected: &[&str]) {
    assert_eq!(lines(json, Version::V1), expected, "{json}");
}

#[track_caller]
fn v2(json: &str, expected: &[&str]) {
    assert_eq!(lines(json, Version::V2), expected, "{json}");
}

#[track_caller]
fn refused(json: &str, version: Version, message: &str) {
    let error = all(json, version).unwrap_err().to_string();
    assert!(error.contains(message), "{json}: {error}");
}

#[test]
fn shares_become_weight() {
    for (shares, weight) in [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 4),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (8192, 532),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(cpu_weight(shares), weight, "{shares}");
    }
    let weights: Vec<u64> = (0..=262_144).map(cpu_weight).collect();
    assert!(weights.is_sorted());
    v2(r#"{"cpu":{"shares":1024}}"#, &["cpu.weight=100"]);
    v1(r#"{"cpu":{"shares":1024}}"#, &["cpu.shares=1024"]);
    refused(r#"{"cpu":{"shares":1}}"#, Version::V1, "minimum allowed cpu-shares is 2");
    refused(r#"{"cpu":{"shares":262145}}"#, Version::V1, "maximum allowed cpu-shares is 262144");
}

#[test]
fn block_weight_is_a_line_between_the_ends() {
    for (weight, expected) in [(10, 1), (11, 11), (100, 910), (500, 4950), (1000, 10_000)] {
        assert_eq!(io_weight(weight), expected, "{weight}");
    }
}

#[test]
fn bandwidth() {
    let json = r#"{"cpu":{"quota":5000,"period":10000,"burst":100}}"#;
    v1(json, &["cpu.cfs_period_us=10000", "cpu.cfs_quota_us=5000", "cpu.cfs_burst_us=100"]);
    v2(json, &["cpu.max=5000 10000", "cpu.max.burst=100"]);
    v2(r#"{"cpu":{"quota":5000}}"#, &["cpu.max=5000 100000"]);
    v2(r#"{"cpu":{"period":5000}}"#, &["cpu.max=max 5000"]);
    v2(r#"{"cpu":{"quota":-1,"burst":0}}"#, &["cpu.max=max 100000", "cpu.max.burst=0?"]);
    v1(r#"{"cpu":{"quota":-1,"burst":0}}"#, &["cpu.cfs_quota_us=-1", "cpu.cfs_burst_us=0?"]);
    v1(r#"{"cpu":{"period":5000}}"#, &["cpu.cfs_period_us=5000"]);
}

#[test]
fn other_cpu_controls() {
    v1(r#"{"cpu":{"idle":1}}"#, &["cpu.idle=1"]);
    v2(r#"{"cpu":{"idle":0}}"#, &["cpu.idle=0?"]);
    let lists = r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#;
    v1(lists, &["cpuset.cpus=0-1", "cpuset.mems=0"]);
    v2(lists, &["cpuset.cpus=0-1", "cpuset.mems=0"]);
    let realtime = r#"{"cpu":{"realtimeRuntime":95,"realtimePeriod":100}}"#;
    v1(realtime, &["cpu.rt_period_us=100", "cpu.rt_runtime_us=95"]);
    refused(realtime, Version::V2, "cpu.realtimeRuntime: cgroup v2 has no equivalent");
}

#[test]
fn memory() {
    v1(
        r#"{"memory":{"limit":100,"swap":300,"reservation":50}}"#,
        &[
            "memory.limit_in_bytes=100",
            "memory.memsw.limit_in_bytes=300",
            "memory.soft_limit_in_bytes=50",
        ],
    );
    v2(
        r#"{"memory":{"limit":100,"swap":300,"reservation":50}}"#,
        &["memory.swap.max=200", "memory.max=100", "memory.low=50"],
    );
    v2(r#"{"memory":{"limit":100}}"#, &["memory.max=100"]);
    v2(r#"{"memory":{"limit":100,"swap":100}}"#, &["memory.swap.max=0?", "memory.max=100"]);
    v2(r#"{"memory":{"limit":100,"swap":-1}}"#, &["memory.swap.max=max?", "memory.max=100"]);
    v2(r#"{"memory":{"limit":-1}}"#, &["memory.swap.max=max?", "memory.max=max"]);
    v2(r#"{"memory":{"reservation":-1}}"#, &["memory.low=max"]);
    v1(r#"{"memory":{"reservation":-1}}"#, &["memory.soft_limit_in_bytes=-1"]);
    v1(
        r#"{"memory":{"limit":-1}}"#,
        &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1?"],
    );
}

#[test]
fn memory_controls_of_v1_alone() {
    v1(
        r#"{"memory":{"swappiness":0,"disableOOMKiller":true,"useHierarchy":true}}"#,
        &["memory.swappiness=0", "memory.oom_control=1", "memory.use_hierarchy=1"],
    );
    v1(r#"{"memory":{"kernelTCP":7}}"#, &["memory.kmem.tcp.limit_in_bytes=7"]);
    v2(r#"{"memory":{"useHierarchy":true}}"#, &[]);
    for (json, field) in [
        (r#"{"memory":{"swappiness":60}}"#, "memory.swappiness"),
        (r#"{"memory":{"disableOOMKiller":true}}"#, "memory.disableOOMKiller"),
        (r#"{"memory":{"kernelTCP":1}}"#, "memory.kernelTCP"),
        (r#"{"blockIO":{"leafWeight":10}}"#, "blockIO.leafWeight"),
        (r#"{"network":{"classID":1}}"#, "network.classID"),
        (r#"{"network":{"priorities":[{"name":"a","priority":1}]}}"#, "network.priorities"),
    ] {
        refused(json, Version::V2, &format!("linux.resources.{field}: cgroup v2 has no equival"));
    }
}

#[test]
fn check_before_update_looks_at_the_usage() {
    for (version, usage) in
        [(Version::V1, "memory.usage_in_bytes"), (Version::V2, "memory.current")]
    {
        let json = r#"{"memory":{"limit":100,"checkBeforeUpdate":true}}"#;
        assert_eq!(all(json, version).unwrap()[0].floor, Some(usage));
        let json = r#"{"memory":{"limit":100}}"#;
        assert_eq!(all(json, version).unwrap()[0].floor, None);
    }
}

#[test]
fn pids() {
    for version in [v1, v2] {
        version(r#"{"pids":{"limit":0}}"#, &["pids.max=1"]);
        version(r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]);
        version(r#"{"pids":{"limit":12}}"#, &["pids.max=12"]);
    }
}

#[test]
fn block_io() {
    v1(r#"{"blockIO":{"weight":500}}"#, &["blkio.weight=500 | blkio.bfq.weight=500"]);
    v2(r#"{"blockIO":{"weight":500}}"#, &["io.bfq.weight=500 | io.weight=4950"]);
    let device = r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":500}]}}"#;
    v1(device, &["blkio.weight_device=8:0 500 | blkio.bfq.weight_device=8:0 500"]);
    v2(device, &["io.bfq.weight=8:0 500 | io.weight=8:0 4950"]);
    let leaf = r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":300}]}}"#;
    v1(leaf, &["blkio.leaf_weight_device=8:0 300"]);
    refused(leaf, Version::V2, "weightDevice: cgroup v2 has no equivalent");
    let throttle = r#"{"blockIO":{
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
        "throttleWriteBpsDevice":[{"major":8,"minor":1,"rate":0}],
        "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":1}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":3,"rate":2}]}}"#;
    v1(
        throttle,
        &[
            "blkio.throttle.read_bps_device=8:0 600",
            "blkio.throttle.write_bps_device=8:1 0",
            "blkio.throttle.read_iops_device=8:2 1",
            "blkio.throttle.write_iops_device=8:3 2",
        ],
    );
    v2(
        throttle,
        &["io.max=8:0 rbps=600", "io.max=8:1 wbps=max", "io.max=8:2 riops=1", "io.max=8:3 wiops=2"],
    );
}

#[test]
fn the_rest() {
    let huge = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4}]}"#;
    v1(huge, &["hugetlb.2MB.limit_in_bytes=4", "hugetlb.2MB.rsvd.limit_in_bytes=4?"]);
    v2(huge, &["hugetlb.2MB.max=4", "hugetlb.2MB.rsvd.max=4?"]);
    let rdma = r#"{"rdma":{"mlx":{"hcaHandles":3,"hcaObjects":4},"rxe":{"hcaObjects":1}}}"#;
    v1(rdma, &["rdma.max=mlx hca_handle=3 hca_object=4", "rdma.max=rxe hca_object=1"]);
    v2(rdma, &["rdma.max=mlx hca_handle=3 hca_object=4", "rdma.max=rxe hca_object=1"]);
    v1(
        r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
        &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"],
    );
}

#[test]
fn unified_is_written_line_by_line() {
    v2(
        r#"{"unified":{"io.max":"8:0 rbps=1\n8:1 rbps=2\n","cgroup.max.depth":"3","cpuset.cpus":""}}"#,
        &["cgroup.max.depth=3", "cpuset.cpus=\n", "io.max=8:0 rbps=1", "io.max=8:1 rbps=2"],
    );
}
