use oci_spec::runtime::LinuxResources;

use super::super::limits::checked;
use super::super::settings::settings;
use super::*;

/// Returns the form of `resources` in the files of a version, and as properties.
fn both(resources: &str, version: Version) -> (Vec<String>, Vec<String>) {
    let resources: LinuxResources = serde_json::from_str(resources).unwrap();
    let mut all = Vec::new();
    for limit in &checked(&resources).unwrap() {
        all.extend(settings(limit, version).unwrap());
    }
    let files = all.iter().flat_map(|setting| setting.files.first());
    let files = files.map(|file| format!("{}={}", file.name, file.content)).collect();
    (files, show(&properties(version, &all)))
}

fn show(properties: &[Property]) -> Vec<String> {
    let show = |property: &Property| match &property.value {
        Value::U64(INFINITY) => format!("{}=infinity", property.name),
        Value::U64(number) => format!("{}={number}", property.name),
        Value::Str(text) => format!("{}={text}", property.name),
        Value::Array(_, list) => {
            let bytes = list.iter().map(|value| match value {
                Value::Byte(byte) => format!("{byte:02x}"),
                other => panic!("{other:?}"),
            });
            format!("{}={}", property.name, bytes.collect::<String>())
        }
        other => panic!("{other:?}"),
    };
    properties.iter().map(show).collect()
}

/// A row: the resources; the files and the properties on v1; the files and the properties on v2.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

// Every special number, in all three forms.
const ROWS: &[Row] = &[
    (r#"{"cpu":{"shares":0,"quota":0,"period":0}}"#, &[], &[], &[], &[]),
    (
        r#"{"cpu":{"shares":1024}}"#,
        &["cpu.shares=1024"],
        &["CPUShares=1024"],
        &["cpu.weight=100"],
        &["CPUWeight=100"],
    ),
    (
        r#"{"cpu":{"shares":2}}"#,
        &["cpu.shares=2"],
        &["CPUShares=2"],
        &["cpu.weight=1"],
        &["CPUWeight=1"],
    ),
    (
        r#"{"cpu":{"shares":262144}}"#,
        &["cpu.shares=262144"],
        &["CPUShares=262144"],
        &["cpu.weight=10000"],
        &["CPUWeight=10000"],
    ),
    (
        r#"{"cpu":{"quota":50000,"period":100000}}"#,
        &["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"],
        &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=500000"],
        &["cpu.max=50000 100000"],
        &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=500000"],
    ),
    // Without a period the kernel's default applies. v2 has a single file, so its content names the
    // period.
    (
        r#"{"cpu":{"quota":25000}}"#,
        &["cpu.cfs_quota_us=25000"],
        &["CPUQuotaPerSecUSec=250000"],
        &["cpu.max=25000 100000"],
        &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=250000"],
    ),
    // Whole percents, rounded up: 12.345 % is 13 %.
    (
        r#"{"cpu":{"quota":12345,"period":100000}}"#,
        &["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=12345"],
        &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=130000"],
        &["cpu.max=12345 100000"],
        &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=130000"],
    ),
    (
        r#"{"cpu":{"quota":-1}}"#,
        &["cpu.cfs_quota_us=-1"],
        &["CPUQuotaPerSecUSec=infinity"],
        &["cpu.max=max 100000"],
        &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=infinity"],
    ),
    (
        r#"{"cpu":{"period":50000}}"#,
        &["cpu.cfs_period_us=50000"],
        &["CPUQuotaPeriodUSec=50000", "CPUQuotaPerSecUSec=infinity"],
        &["cpu.max=max 50000"],
        &["CPUQuotaPeriodUSec=50000", "CPUQuotaPerSecUSec=infinity"],
    ),
    (
        r#"{"cpu":{"idle":1,"shares":512}}"#,
        &["cpu.shares=512", "cpu.idle=1"],
        &["CPUShares=512"],
        &["cpu.weight=59", "cpu.idle=1"],
        &["CPUWeight=0"],
    ),
    (r#"{"cpu":{"idle":0}}"#, &["cpu.idle=0"], &[], &["cpu.idle=0"], &[]),
    (
        r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
        &["cpuset.cpus=0-2,9", "cpuset.mems=0"],
        &[],
        &["cpuset.cpus=0-2,9", "cpuset.mems=0"],
        &["AllowedCPUs=0702", "AllowedMemoryNodes=01"],
    ),
    (r#"{"memory":{"limit":0,"swap":0}}"#, &[], &[], &[], &[]),
    (
        r#"{"memory":{"limit":1000,"swap":3000}}"#,
        &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=3000"],
        &["MemoryLimit=1000"],
        &["memory.swap.max=2000", "memory.max=1000"],
        &["MemorySwapMax=2000", "MemoryMax=1000"],
    ),
    (
        r#"{"memory":{"limit":1000,"swap":1000}}"#,
        &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=1000"],
        &["MemoryLimit=1000"],
        &["memory.swap.max=0", "memory.max=1000"],
        &["MemorySwapMax=0", "MemoryMax=1000"],
    ),
    (
        r#"{"memory":{"limit":1000,"swap":-1}}"#,
        &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=-1"],
        &["MemoryLimit=1000"],
        &["memory.swap.max=max", "memory.max=1000"],
        &["MemorySwapMax=infinity", "MemoryMax=1000"],
    ),
    (
        r#"{"memory":{"limit":-1}}"#,
        &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
        &["MemoryLimit=infinity"],
        &["memory.swap.max=max", "memory.max=max"],
        &["MemorySwapMax=infinity", "MemoryMax=infinity"],
    ),
    (
        r#"{"memory":{"reservation":500}}"#,
        &["memory.soft_limit_in_bytes=500"],
        &[],
        &["memory.low=500"],
        &["MemoryLow=500"],
    ),
    (r#"{"pids":{"limit":0}}"#, &["pids.max=1"], &["TasksMax=1"], &["pids.max=1"], &["TasksMax=1"]),
    (
        r#"{"pids":{"limit":-1}}"#,
        &["pids.max=max"],
        &["TasksMax=infinity"],
        &["pids.max=max"],
        &["TasksMax=infinity"],
    ),
    (r#"{"pids":{"limit":7}}"#, &["pids.max=7"], &["TasksMax=7"], &["pids.max=7"], &["TasksMax=7"]),
    (
        r#"{"blockIO":{"weight":500}}"#,
        &["blkio.weight=500"],
        &["BlockIOWeight=500"],
        &["io.bfq.weight=500"],
        &["IOWeight=4950"],
    ),
    // Left to the files.
    (
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}]},
            "hugepageLimits":[{"pageSize":"2MB","limit":4}]}"#,
        &[
            "blkio.throttle.read_bps_device=8:0 5",
            "hugetlb.2MB.limit_in_bytes=4",
            "hugetlb.2MB.rsvd.limit_in_bytes=4",
        ],
        &[],
        &["io.max=8:0 rbps=5", "hugetlb.2MB.max=4", "hugetlb.2MB.rsvd.max=4"],
        &[],
    ),
];

#[test]
fn one_rule_for_files_and_units() {
    for (resources, v1_files, v1_units, v2_files, v2_units) in ROWS {
        let (files, units) = both(resources, Version::V1);
        assert_eq!(
            (files.as_slice(), units.as_slice()),
            (&v1_files.map_strings()[..], &v1_units.map_strings()[..]),
            "v1: {resources}"
        );
        let (files, units) = both(resources, Version::V2);
        assert_eq!(
            (files.as_slice(), units.as_slice()),
            (&v2_files.map_strings()[..], &v2_units.map_strings()[..]),
            "v2: {resources}"
        );
    }
}

trait MapStrings {
    fn map_strings(&self) -> Vec<String>;
}

impl MapStrings for &[&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn unified_files_have_properties_too() {
    let units = |file: &str, value: &str| {
        let text = format!(r#"{{"unified":{{{file:?}:{value:?}}}}}"#);
        both(&text, Version::V2).1
    };
    for (file, value, property) in [
        ("memory.high", "1000", "MemoryHigh=1000"),
        ("memory.min", "5", "MemoryMin=5"),
        ("memory.low", " 5\n", "MemoryLow=5"),
        ("memory.max", "max", "MemoryMax=infinity"),
        ("memory.swap.max", "0", "MemorySwapMax=0"),
        ("memory.zswap.max", "4096", "MemoryZSwapMax=4096"),
        ("memory.oom.group", "1", "OOMPolicy=kill"),
        ("memory.oom.group", "0", "OOMPolicy=continue"),
        ("pids.max", "0", "TasksMax=1"),
        ("cpu.weight", "77", "CPUWeight=77"),
        ("cpu.idle", "1", "CPUWeight=0"),
        ("cpuset.cpus", "15", "AllowedCPUs=0080"),
    ] {
        assert_eq!(units(file, value), [property], "{file}");
    }
    assert_eq!(
        units("cpu.max", "50000 200000"),
        ["CPUQuotaPeriodUSec=200000", "CPUQuotaPerSecUSec=250000"]
    );
    assert_eq!(units("cpu.max", "50000"), ["CPUQuotaPerSecUSec=500000"]);
    assert_eq!(units("cpu.max", "1"), ["CPUQuotaPerSecUSec=10000"]);
    // The kernel reports the error in these.
    for (file, value) in [
        ("cpu.max", "x"),
        ("cpu.max", "1 0"),
        ("cpu.max", "1 x"),
        ("memory.max", "10M"),
        ("pids.max", "-5"),
        ("cpuset.cpus", "3-1"),
        ("cpuset.cpus", "a"),
        ("cpuset.cpus", "99999999999"),
        ("cpuset.cpus", "0-4294967295"),
        ("cpuset.cpus", ","),
        ("memory.oom.group", "2"),
        ("cpu.weight.nice", "1"),
        ("io.max", "8:0 rbps=5"),
        ("io.weight", "8:0 50"),
        ("hugetlb.2MB.max", "4"),
    ] {
        assert!(units(file, value).is_empty(), "{file}={value}: {:?}", units(file, value));
    }
}

fn device_list(rules: &str) -> Option<Vec<String>> {
    let rules: LinuxResources = serde_json::from_str(&format!(r#"{{"devices":{rules}}}"#)).unwrap();
    let rules = Ruleset::new(rules.devices().as_deref().unwrap_or_default(), &[]).unwrap();
    match devices(&rules).as_slice() {
        [] => None,
        [policy, allow] => {
            assert_eq!(policy, &Property::new("DevicePolicy", Value::str("strict")));
            let Value::Array(types, list) = &allow.value else { panic!("{allow:?}") };
            assert_eq!((allow.name.as_str(), types.as_str()), ("DeviceAllow", "(ss)"));
            let show = |value: &Value| match value {
                Value::Struct(pair) => {
                    let words: Vec<_> = pair.iter().filter_map(Value::as_str).collect();
                    words.join(" ")
                }
                other => panic!("{other:?}"),
            };
            Some(list.iter().map(show).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn device_rules_are_a_list_of_what_is_allowed() {
    let defaults = device_list(r#"[{"allow":false,"access":"rwm"}]"#).unwrap();
    for line in ["char-* m", "block-* m", "/dev/char/1:3 rwm", "/dev/char/5:2 rwm", "char-136 rwm"]
    {
        assert!(defaults.iter().any(|have| have == line), "{line}: {defaults:?}");
    }
    let more = r#"[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"b","major":8,"minor":1,"access":"r"}]"#;
    assert!(device_list(more).unwrap().contains(&"/dev/block/8:1 r".to_owned()));
    // Rules that systemd cannot express have no property.
    for rules in [
        r#"[{"allow":true,"access":"rwm"}]"#,
        r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":1,"access":"r"}]"#,
        r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","minor":1,"access":"r"}]"#,
        r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":4,"access":"rw"},
            {"allow":false,"type":"c","major":4,"minor":2,"access":"r"}]"#,
    ] {
        assert_eq!(device_list(rules), None, "{rules}");
    }
}

#[test]
fn what_systemd_would_undo_on_v1_is_known() {
    for (rules, kept) in [
        (r#"[]"#, true),
        (r#"[{"allow":false,"access":"rwm"}]"#, true),
        (r#"[{"allow":true,"access":"rwm"}]"#, true),
        (r#"[{"allow":true,"type":"c","major":4,"access":"rw"}]"#, true),
        (
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":1,"access":"r"}]"#,
            false,
        ),
        (r#"[{"allow":true,"type":"c","minor":1,"access":"r"}]"#, false),
    ] {
        let text = format!(r#"{{"devices":{rules}}}"#);
        let resources: LinuxResources = serde_json::from_str(&text).unwrap();
        let list = resources.devices().as_deref().unwrap_or_default();
        let list = DeviceList::new(&Ruleset::new(list, &[]).unwrap()).unwrap();
        assert_eq!(must_keep(&list).is_ok(), kept, "{rules}");
    }
}
