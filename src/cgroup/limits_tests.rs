use super::*;

fn parse(json: &str) -> Result<Vec<Limit>> {
    limits(&serde_json::from_str(json).unwrap())
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
        r#"{"cpu":{"cpus":"","mems":" "}}"#,
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
        // No limit on memory lifts that on swap too, unless there is one.
        (r#"{"memory":{"limit":-1}}"#, memory(max, max)),
        (r#"{"memory":{"limit":-1,"swap":0}}"#, memory(max, max)),
        (r#"{"memory":{"limit":-1,"swap":5}}"#, memory(max, of(5))),
        (r#"{"memory":{"swap":-1}}"#, memory(None, max)),
        (r#"{"memory":{"reservation":-1}}"#, vec![Limit::MemoryReservation(Amount::Max)]),
    ] {
        assert_eq!(ok(json), expected, "{json}");
    }
    refused(r#"{"memory":{"limit":100,"swap":99}}"#, "memory.swap: 99: ");
    refused(r#"{"memory":{"swap":99}}"#, "cannot be set without linux.resources.memory.limit");
    refused(r#"{"memory":{"limit":-2}}"#, "memory.limit: -2: ");
    refused(r#"{"memory":{"reservation":-9}}"#, "memory.reservation: -9: ");
    refused(r#"{"memory":{"kernel":-9}}"#, "memory.kernel: -9: ");
    refused(r#"{"memory":{"swappiness":101}}"#, "must be 0 to 100");
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
    refused(r#"{"cpu":{"quota":10,"burst":11}}"#, "cpu.burst: 11: ");
    assert_eq!(ok(r#"{"cpu":{"idle":1}}"#), [Limit::CpuIdle(true)]);
    assert_eq!(ok(r#"{"cpu":{"idle":0}}"#), [Limit::CpuIdle(false)]);
    refused(r#"{"cpu":{"idle":2}}"#, "cpu.idle: 2: must be 0 or 1");
    refused(r#"{"cpu":{"idle":-1}}"#, "must be 0 or 1");
    assert_eq!(
        ok(r#"{"cpu":{"realtimeRuntime":-1,"realtimePeriod":5}}"#),
        [Limit::CpuRealtime { runtime: Some(-1), period: Some(5) }]
    );
}

#[test]
fn lists_of_cpus() {
    assert_eq!(ok(r#"{"cpu":{"cpus":"0-3,7"}}"#), [Limit::Cpus("0-3,7".to_owned())]);
    assert_eq!(ok(r#"{"cpu":{"mems":"0\n"}}"#), [Limit::Mems("0".to_owned())]);
    for bad in ["0-", "-1", "a", "3-1", "0,,1", "0\\n1", "+1", "0 1", "99999999999"] {
        refused(&format!(r#"{{"cpu":{{"cpus":"{bad}"}}}}"#), "cpu.cpus: ");
    }
}

#[test]
fn block_io() {
    assert_eq!(ok(r#"{"blockIO":{"weight":10}}"#), [Limit::IoWeight(10)]);
    assert_eq!(ok(r#"{"blockIO":{"leafWeight":1000}}"#), [Limit::IoLeafWeight(1000)]);
    refused(r#"{"blockIO":{"weight":9}}"#, "must be 10 to 1000");
    refused(r#"{"blockIO":{"weight":1001}}"#, "must be 10 to 1000");
    refused(r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}"#, "\"8:0\": must set weight");
    refused(r#"{"blockIO":{"weightDevice":[{"major":-8,"minor":0,"weight":10}]}}"#, "\"-8:0\"");
    let device = Device { major: 8, minor: 16 };
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
    for bad in ["", "MB", "2", "2M", "2TB", "../x/2MB", "-2MB", "2 MB", "2MB.rsvd"] {
        let json = format!(r#"{{"hugepageLimits":[{{"pageSize":"{bad}","limit":1}}]}}"#);
        refused(&json, "linux.resources.hugepageLimits: ");
    }
    refused(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":-1}]}"#, "must not be negative");
}

#[test]
fn names_are_one_word() {
    refused(r#"{"network":{"priorities":[{"name":"eth0 1","priority":1}]}}"#, "is not a name");
    refused(r#"{"rdma":{"a\nb":{"hcaHandles":1}}}"#, "is not a name");
    refused(r#"{"rdma":{"mlx5":{}}}"#, "must set hcaHandles or hcaObjects");
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
