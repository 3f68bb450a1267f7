use serde_json::{Value, json};

use super::*;

fn parse(json: &str) -> Result<Vec<Limit>> {
    checked(&serde_json::from_str(json).unwrap())
}

fn ok(json: &str) -> Vec<Limit> {
    parse(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn refused(json: &str, message: &str) {
    match parse(json) {
        Ok(limits) => panic!("{json}: {limits:?}"),
        Err(error) => {
            assert!(error.to_string().contains(message), "{json}: {error}");
            assert!(error.to_string().starts_with("linux.resources."), "{json}: {error}");
        }
    }
}

#[test]
fn what_is_not_set_is_no_limit() {
    for json in [
        "{}",
        r#"{"cpu":{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,"realtimePeriod":0}}"#,
        r#"{"cpu":{"cpus":"","mems":""}}"#,
        r#"{"memory":{"limit":0,"reservation":0,"swap":0,"kernel":0,"kernelTCP":0}}"#,
        r#"{"memory":{"kernel":-1,"kernelTCP":-1}}"#,
        r#"{"memory":{"disableOOMKiller":false,"useHierarchy":false,"checkBeforeUpdate":true}}"#,
        r#"{"blockIO":{"weight":0,"leafWeight":0,"weightDevice":[]}}"#,
        r#"{"network":{}}"#,
        r#"{"network":{"classID":0,"priorities":[]}}"#,
        r#"{"hugepageLimits":[],"rdma":{},"unified":{},"devices":[{"allow":false,"access":"rwm"}]}"#,
    ] {
        assert_eq!(ok(json), [], "{json}");
    }
}

#[test]
fn pids_has_a_zero() {
    assert_eq!(ok(r#"{"pids":{"limit":0}}"#), [Limit::Pids(Amount::Of(1))]);
    assert_eq!(ok(r#"{"pids":{"limit":7}}"#), [Limit::Pids(Amount::Of(7))]);
    assert_eq!(ok(r#"{"pids":{"limit":-1}}"#), [Limit::Pids(Amount::Max)]);
}

#[test]
fn memory_and_swap() {
    let memory = |limit, total| vec![Limit::Memory { limit, total, check: false }];
    let of = |bytes| Some(Amount::Of(bytes));
    let max = Some(Amount::Max);
    for (json, expected) in [
        (r#"{"memory":{"limit":100}}"#, memory(of(100), None)),
        (r#"{"memory":{"limit":100,"swap":0}}"#, memory(of(100), None)),
        (r#"{"memory":{"limit":100,"swap":100}}"#, memory(of(100), of(100))),
        (r#"{"memory":{"limit":100,"swap":300}}"#, memory(of(100), of(300))),
        (r#"{"memory":{"limit":100,"swap":-1}}"#, memory(of(100), max)),
        // Unlimited memory implies unlimited swap, unless swap has a limit.
        (r#"{"memory":{"limit":-1}}"#, memory(max, max)),
        (r#"{"memory":{"limit":-1,"swap":0}}"#, memory(max, max)),
        (r#"{"memory":{"swap":-1}}"#, memory(None, max)),
        (r#"{"memory":{"reservation":-1}}"#, vec![Limit::MemoryReservation(Amount::Max)]),
    ] {
        assert_eq!(ok(json), expected, "{json}");
    }
    assert_eq!(ok(r#"{"memory":{"swappiness":0}}"#), [Limit::Swappiness(0)]);
    assert_eq!(ok(r#"{"memory":{"disableOOMKiller":true}}"#), [Limit::OomKillerOff]);
    assert_eq!(ok(r#"{"memory":{"kernelTCP":1}}"#), [Limit::TcpMemory(1)]);
}

#[test]
fn cpu() {
    assert_eq!(ok(r#"{"cpu":{"shares":1}}"#), [Limit::CpuShares(1)]);
    assert_eq!(
        ok(r#"{"cpu":{"quota":-1,"period":50000,"burst":0}}"#),
        [Limit::CpuBandwidth { quota: Some(Amount::Max), period: Some(50_000), burst: Some(0) }]
    );
    assert_eq!(
        ok(r#"{"cpu":{"quota":9223372036854775807}}"#),
        [Limit::CpuBandwidth {
            quota: Some(Amount::Of(i64::MAX.unsigned_abs())),
            period: None,
            burst: None
        }]
    );
    assert_eq!(ok(r#"{"cpu":{"quota":10,"burst":10}}"#).len(), 1);
    assert_eq!(ok(r#"{"cpu":{"quota":-1,"burst":10}}"#).len(), 1);
    assert_eq!(ok(r#"{"cpu":{"idle":1}}"#), [Limit::CpuIdle(true)]);
    assert_eq!(ok(r#"{"cpu":{"idle":0}}"#), [Limit::CpuIdle(false)]);
    assert_eq!(
        ok(r#"{"cpu":{"realtimeRuntime":-1,"realtimePeriod":5}}"#),
        [Limit::CpuRealtime { runtime: Some(-1), period: Some(5) }]
    );
}

#[test]
fn lists_of_cpus() {
    let list = |text: &str| List::parse(text).unwrap();
    assert_eq!(ok(r#"{"cpu":{"cpus":"0-3,7"}}"#), [Limit::Cpus(list("0-3,7"))]);
    assert_eq!(ok(r#"{"cpu":{"mems":"0"}}"#), [Limit::Mems(list("0"))]);
}

#[test]
fn block_io() {
    assert_eq!(ok(r#"{"blockIO":{"weight":10}}"#), [Limit::IoWeight(10)]);
    assert_eq!(ok(r#"{"blockIO":{"leafWeight":1000}}"#), [Limit::IoLeafWeight(1000)]);
    let device = DeviceNumber { major: 8, minor: 16 };
    assert_eq!(
        ok(r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":5}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#),
        [
            Limit::IoThrottle { device, kind: Throttle::ReadBytes, rate: Amount::Of(5) },
            Limit::IoThrottle { device, kind: Throttle::WriteOperations, rate: Amount::Max },
        ]
    );
}

#[test]
fn huge_pages() {
    assert_eq!(
        ok(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#),
        [Limit::HugePages { size: "2MB".to_owned(), bytes: 0 }]
    );
}

#[test]
fn names_are_one_word() {
    refused(
        r#"{"network":{"priorities":[{"name":"eth0 1","priority":1}]}}"#,
        "linux.resources.network.priorities[0].name: \"eth0 1\": not the name",
    );
    refused(r#"{"rdma":{"a\nb":{"hcaHandles":1}}}"#, "not the name of a device");
    assert_eq!(
        ok(r#"{"rdma":{"b":{"hcaHandles":1},"a":{"hcaObjects":2}},"network":{"classID":1}}"#),
        [
            Limit::NetClass(1),
            Limit::Rdma { device: "a".to_owned(), handles: None, objects: Some(2) },
            Limit::Rdma { device: "b".to_owned(), handles: Some(1), objects: None },
        ]
    );
}

#[test]
fn unified_keys_are_file_names_and_come_last() {
    for bad in ["", "a/b.c", "../memory.max", ".hidden.x", "memory", "cgroup.procs", "a.b\\n"] {
        refused(&format!(r#"{{"unified":{{"{bad}":"1"}}}}"#), "linux.resources.unified: ");
    }
    let unified =
        |file: &str, value: &str| Limit::Unified { file: file.into(), value: value.into() };
    assert_eq!(
        ok(r#"{"unified":{"pids.max":"5","io.max":"a\nb"},"pids":{"limit":3}}"#),
        [Limit::Pids(Amount::Of(3)), unified("io.max", "a\nb"), unified("pids.max", "5")]
    );
}

fn outcome(resources: &Value) -> String {
    match checked(&serde_json::from_value(resources.clone()).unwrap()) {
        Ok(_) => "passes".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn rejects(cases: &[(Value, &str)]) {
    for (resources, expected) in cases {
        assert_eq!(outcome(resources), *expected, "{resources}");
    }
}

#[track_caller]
fn accepts(cases: &[Value]) {
    for resources in cases {
        assert_eq!(outcome(resources), "passes", "{resources}");
    }
}

#[test]
fn memory_is_checked() {
    let memory = |more: Value| json!({"memory": more});
    for field in ["limit", "reservation", "swap", "kernel", "kernelTCP"] {
        rejects(&[(
            memory(json!({field: -2})),
            &format!("linux.resources.memory.{field}: -2: must be a number of bytes, or -1"),
        )]);
    }
    rejects(&[
        (
            memory(json!({"limit": 10, "swap": 9})),
            "linux.resources.memory.swap: 9: is below the memory limit of 10, which it includes",
        ),
        (memory(json!({"swap": 9})), "linux.resources.memory.swap: 9: needs a memory limit"),
        (
            memory(json!({"swap": 9, "limit": -1})),
            "linux.resources.memory.swap: 9: needs a memory limit",
        ),
        (
            memory(json!({"swappiness": 101})),
            "linux.resources.memory.swappiness: 101: must be from 0 to 100",
        ),
    ]);
    accepts(&[
        memory(json!({"limit": 10, "swap": 10, "reservation": 20, "swappiness": 100})),
        memory(json!({"limit": 10, "swap": -1})),
        memory(json!({"limit": 10, "swap": 0})),
        memory(json!({"limit": -1, "swap": -1, "kernel": -1})),
        memory(json!({})),
    ]);
}

#[test]
fn cpu_and_pids_are_checked() {
    let cpu = |more: Value| json!({"cpu": more});
    for list in [
        "0-",
        "-1",
        "a",
        ",",
        "1,",
        ",1",
        "1,,2",
        "3-1",
        "1-2-3",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "4294967296",
        "\u{0661}",
    ] {
        let why = "not a list of numbers and ranges such as \"0-3,7\"";
        rejects(&[
            (cpu(json!({"cpus": list})), &format!("linux.resources.cpu.cpus: {list:?}: {why}")),
            (cpu(json!({"mems": list})), &format!("linux.resources.cpu.mems: {list:?}: {why}")),
        ]);
    }
    rejects(&[
        (cpu(json!({"idle": 2})), "linux.resources.cpu.idle: 2: must be 0 or 1"),
        (cpu(json!({"idle": -1})), "linux.resources.cpu.idle: -1: must be 0 or 1"),
        (
            cpu(json!({"burst": 2, "quota": 1})),
            "linux.resources.cpu.burst: 2: is above the quota of 1",
        ),
        (
            json!({"pids": {"limit": -2}}),
            "linux.resources.pids.limit: -2: must be a number of tasks, or -1",
        ),
    ]);
    accepts(&[
        cpu(json!({"cpus": "0-3,7", "mems": "0", "idle": 1, "burst": 1, "quota": 1})),
        cpu(json!({"cpus": "", "burst": 2, "quota": -1})),
        json!({"pids": {"limit": -1}}),
        json!({"pids": {"limit": 0}}),
    ]);
}

#[test]
fn block_io_is_checked() {
    let own = "linux.resources.blockIO";
    let block = |more: Value| json!({"blockIO": more});
    let device = |more: Value| {
        let mut device = json!({"major": 8, "minor": 0, "weight": 10, "rate": 1});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        device
    };
    let range = "must be from 10 to 1000, or 0";
    rejects(&[
        (block(json!({"weight": 9})), &format!("{own}.weight: 9: {range}")),
        (block(json!({"leafWeight": 1001})), &format!("{own}.leafWeight: 1001: {range}")),
        (
            block(json!({"weightDevice": [device(json!({})), {"major": 8, "minor": 0}]})),
            &format!("{own}.weightDevice[1]: needs weight or leafWeight"),
        ),
        (
            block(json!({"weightDevice": [device(json!({"weight": 1}))]})),
            &format!("{own}.weightDevice[0].weight: 1: {range}"),
        ),
        (
            block(json!({"weightDevice": [device(json!({"leafWeight": 1}))]})),
            &format!("{own}.weightDevice[0].leafWeight: 1: {range}"),
        ),
        (
            block(json!({"weightDevice": [device(json!({"minor": -1}))]})),
            &format!("{own}.weightDevice[0].minor: -1: must be from 0 to 1048575"),
        ),
    ]);
    for name in [
        "throttleReadBpsDevice",
        "throttleWriteBpsDevice",
        "throttleReadIOPSDevice",
        "throttleWriteIOPSDevice",
    ] {
        rejects(&[(
            block(json!({name: [device(json!({"major": 4096}))]})),
            &format!("{own}.{name}[0].major: 4096: must be from 0 to 4095"),
        )]);
        accepts(&[block(json!({name: [device(json!({}))]}))]);
    }
    accepts(&[block(json!({"weight": 0, "leafWeight": 1000,
                         "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}))]);
}

#[test]
fn other_resources_are_checked() {
    let huge =
        |size: &str, limit: i64| json!({"hugepageLimits": [{"pageSize": size, "limit": limit}]});
    for size in ["", "MB", "2M", "2TB", "2mb", "-2MB", "2 MB", "02MB", "0MB", "2MB/x", "../2MB"] {
        rejects(&[(
            huge(size, 1),
            &format!(
                "linux.resources.hugepageLimits[0].pageSize: {size:?}: must be a number and KB, \
                 MB or GB, such as \"2MB\""
            ),
        )]);
    }
    rejects(&[
        (huge("2MB", -1), "linux.resources.hugepageLimits[0].limit: -1: must not be negative"),
        (json!({"rdma": {"mlx": {}}}), "linux.resources.rdma.mlx: needs hcaHandles or hcaObjects"),
        (
            json!({"rdma": {"a b": {"hcaHandles": 1}}}),
            "linux.resources.rdma: \"a b\": not the name of a device",
        ),
    ]);
    for key in ["", ".", "..", "a/b", "/x", "../memory.max"] {
        rejects(&[(
            json!({"unified": {"memory.max": "1", key: "1"}}),
            &format!("linux.resources.unified: {key:?}: must be the name of one file"),
        )]);
    }
    accepts(&[
        huge("64KB", 0),
        huge("1GB", i64::MAX),
        json!({"rdma": {"mlx": {"hcaObjects": 1}}}),
        json!({"unified": {"io.max": "8:0 rbps=1\n8:1 rbps=1"}}),
    ]);
}

#[test]
fn interfaces_are_checked() {
    let why = "not the name of a network device (1 to 15 bytes without space, / and :)";
    for name in ["", ".", "..", "a/b", "a b", "a:b", "a\tb", "abcdefghijklmnop"] {
        rejects(&[(
            json!({"network": {"priorities": [{"name": name, "priority": 1}]}}),
            &format!("linux.resources.network.priorities[0].name: {name:?}: {why}"),
        )]);
    }
}
