//! The rules of sysctl, devices, resources, seccomp and hooks.

use serde_json::{Value, json};

use super::{refused, taken, userns};

#[test]
fn sysctl() {
    let sysctl = |name: &str, value: &str| json!({"/linux/sysctl": {name: value}});
    let without = |index: usize, name: &str| {
        json!({format!("/linux/namespaces/{index}"): {"type": "time"},
               "/hostname": "", "/linux/sysctl": {name: "1"}})
    };
    for name in
        ["vm.swappiness", "kernel.core_pattern", "kernel.msgmaxx", "fs.file-max", "fs/mqueue"]
    {
        refused(&[(
            sysctl(name, "1"),
            &format!("linux.sysctl: {name:?}: does not belong to a namespace of the container"),
        )]);
    }
    for name in
        ["net/../kernel/x", "net//x", "net.", ".net", "net./.x", "net.//.x", "net", "", "a..b"]
    {
        refused(&[(
            sysctl(name, "1"),
            &format!("linux.sysctl: {name:?}: not the name of a sysctl"),
        )]);
    }
    refused(&[
        (
            without(1, "net.ipv4.ip_forward"),
            "linux.sysctl: \"net.ipv4.ip_forward\": would change the host; it needs a network \
             namespace",
        ),
        (
            without(2, "kernel/shm_rmid_forced"),
            "linux.sysctl: \"kernel/shm_rmid_forced\": would change the host; it needs an ipc \
             namespace",
        ),
        (
            without(2, "fs.mqueue.msg_max"),
            "linux.sysctl: \"fs.mqueue.msg_max\": would change the host; it needs an ipc namespace",
        ),
        (
            without(3, "kernel.domainname"),
            "linux.sysctl: \"kernel.domainname\": would change the host; it needs a uts namespace",
        ),
        (
            sysctl("user.max_user_namespaces", "1"),
            "linux.sysctl: \"user.max_user_namespaces\": would change the host; it needs a user \
             namespace",
        ),
        (
            sysctl("kernel.hostname", "x"),
            "linux.sysctl: \"kernel.hostname\": set the field \"hostname\" instead",
        ),
        (
            json!({"/linux/sysctl": {"kernel.domainname": "x"}, "/domainname": "y"}),
            "linux.sysctl.kernel.domainname: \"x\": conflicts with the field \"domainname\", which \
             is \"y\"",
        ),
        (
            sysctl("net.core.somaxconn", "1\n2"),
            "linux.sysctl.net.core.somaxconn: \"1\\n2\": must be one line without a NUL byte",
        ),
        (
            json!({"/linux/sysctl": {"net.core.somaxconn": "1", "net/core/somaxconn": "2"}}),
            "linux.sysctl: \"net/core/somaxconn\": is given twice, in two notations",
        ),
    ]);
    for name in
        ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"]
    {
        taken(&[sysctl(&format!("kernel.{name}"), "1"), sysctl(&format!("kernel/{name}"), "1")]);
    }
    taken(&[
        sysctl("fs.mqueue.msg_max", "1"),
        sysctl("net.ipv4.conf.eth0/1.rp_filter", ""),
        sysctl("net/ipv4/conf/eth0.1/rp_filter", "0"),
        sysctl("kernel.domainname", "x"),
        json!({"/linux/sysctl": {"kernel.domainname": "x"}, "/domainname": "x"}),
        userns(sysctl("user.max_user_namespaces", "1")),
    ]);
}

fn device(more: Value) -> Value {
    let mut device = json!({"path": "/dev/x", "type": "c", "major": 10, "minor": 229});
    device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"/linux/devices": [device]})
}

#[test]
fn devices() {
    refused(&[
        (
            device(json!({"path": "dev/x"})),
            "linux.devices[0].path: \"dev/x\": must be an absolute path",
        ),
        (device(json!({"path": ""})), "linux.devices[0].path: \"\": must be an absolute path"),
        (
            device(json!({"path": "/dev/../x"})),
            "linux.devices[0].path: \"/dev/../x\": must not contain \"..\"",
        ),
        (device(json!({"path": "/."})), "linux.devices[0].path: \"/.\": must name a file"),
        (device(json!({"type": "a"})), "linux.devices[0].type: \"a\": must be c, b, u or p"),
        (device(json!({"major": -1})), "linux.devices[0].major: -1: must be from 0 to 4095"),
        (device(json!({"major": 4096})), "linux.devices[0].major: 4096: must be from 0 to 4095"),
        (device(json!({"minor": -1})), "linux.devices[0].minor: -1: must be from 0 to 1048575"),
        (
            device(json!({"minor": 1_048_576})),
            "linux.devices[0].minor: 1048576: must be from 0 to 1048575",
        ),
        (
            device(json!({"fileMode": 0o10_000})),
            "linux.devices[0].fileMode: 4096: has bits beyond the permissions (07777, 4095 in \
             decimal)",
        ),
        (
            device(json!({"fileMode": 0o060_666})),
            "linux.devices[0].fileMode: 25014: has bits beyond the permissions (07777, 4095 in \
             decimal)",
        ),
        (
            device(json!({"uid": u32::MAX})),
            "linux.devices[0].uid: 4294967295: is not an id (it means -1)",
        ),
        (
            device(json!({"gid": u32::MAX})),
            "linux.devices[0].gid: 4294967295: is not an id (it means -1)",
        ),
        (
            json!({"/linux/devices": [
                {"path": "/dev/x", "type": "c", "major": 1, "minor": 3},
                {"path": "/dev/a", "type": "p"},
                {"path": "/dev//x/", "type": "c", "major": 1, "minor": 5},
            ]}),
            "linux.devices[2].path: \"/dev//x/\": is listed twice, for different devices",
        ),
    ]);
    taken(&[
        device(json!({"major": 4095, "minor": 1_048_575, "fileMode": 0o7777, "uid": 0, "gid": 5})),
        device(json!({"type": "u", "fileMode": 0o020_666})),
        device(json!({"type": "b", "fileMode": 0o060_660})),
        device(json!({"path": "/somewhere/else"})),
        json!({"/linux/devices": [{"path": "/dev/fifo", "type": "p", "fileMode": 0o010_600}]}),
        json!({"/linux/devices": [
            {"path": "/dev/x", "type": "c", "major": 1, "minor": 3},
            {"path": "/dev/x/", "type": "c", "major": 1, "minor": 3},
        ]}),
    ]);
}

#[test]
fn device_rules() {
    let rule = |more: Value| json!({"/linux/resources/devices/1": more});
    refused(&[
        (
            rule(json!({"allow": true, "type": "p"})),
            "linux.resources.devices[1].type: \"p\": must be a, c or b",
        ),
        (
            rule(json!({"allow": true, "type": "u"})),
            "linux.resources.devices[1].type: \"u\": must be a, c or b",
        ),
        (
            rule(json!({"allow": true, "major": -2})),
            "linux.resources.devices[1].major: -2: must be from 0 to 4095",
        ),
        (
            rule(json!({"allow": true, "minor": 1_048_576})),
            "linux.resources.devices[1].minor: 1048576: must be from 0 to 1048575",
        ),
        (
            rule(json!({"allow": true, "access": "rwx"})),
            "linux.resources.devices[1].access: \"rwx\": must be made of r, w and m",
        ),
    ]);
    taken(&[
        rule(json!({"allow": true, "type": "c", "major": -1, "minor": -1, "access": "rwm"})),
        rule(json!({"allow": true, "type": "a", "access": "m"})),
    ]);
}

#[test]
fn memory() {
    let memory = |more: Value| json!({"/linux/resources/memory": more});
    for field in ["limit", "reservation", "swap", "kernel", "kernelTCP"] {
        refused(&[(
            memory(json!({field: -2})),
            &format!("linux.resources.memory.{field}: -2: must be a number of bytes, or -1"),
        )]);
    }
    refused(&[
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
    taken(&[
        memory(json!({"limit": 10, "swap": 10, "reservation": 20, "swappiness": 100})),
        memory(json!({"limit": 10, "swap": -1})),
        memory(json!({"limit": 10, "swap": 0})),
        memory(json!({"limit": -1, "swap": -1, "kernel": -1})),
        memory(json!({})),
    ]);
}

#[test]
fn cpu_and_pids() {
    let cpu = |more: Value| json!({"/linux/resources/cpu": more});
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
        refused(&[
            (cpu(json!({"cpus": list})), &format!("linux.resources.cpu.cpus: {list:?}: {why}")),
            (cpu(json!({"mems": list})), &format!("linux.resources.cpu.mems: {list:?}: {why}")),
        ]);
    }
    refused(&[
        (cpu(json!({"idle": 2})), "linux.resources.cpu.idle: 2: must be 0 or 1"),
        (cpu(json!({"idle": -1})), "linux.resources.cpu.idle: -1: must be 0 or 1"),
        (
            cpu(json!({"burst": 2, "quota": 1})),
            "linux.resources.cpu.burst: 2: is above the quota of 1",
        ),
        (
            json!({"/linux/resources/pids": {"limit": -2}}),
            "linux.resources.pids.limit: -2: must be a number of tasks, or -1",
        ),
    ]);
    taken(&[
        cpu(json!({"cpus": "0-3,7", "mems": "0", "idle": 1, "burst": 1, "quota": 1})),
        cpu(json!({"cpus": "", "burst": 2, "quota": -1})),
        json!({"/linux/resources/pids": {"limit": -1}}),
        json!({"/linux/resources/pids": {"limit": 0}}),
    ]);
}

#[test]
fn block_io() {
    let own = "linux.resources.blockIO";
    let block = |more: Value| json!({"/linux/resources/blockIO": more});
    let device = |more: Value| {
        let mut device = json!({"major": 8, "minor": 0, "weight": 10, "rate": 1});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        device
    };
    let range = "must be from 10 to 1000, or 0";
    refused(&[
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
        refused(&[(
            block(json!({name: [device(json!({"major": 4096}))]})),
            &format!("{own}.{name}[0].major: 4096: must be from 0 to 4095"),
        )]);
        taken(&[block(json!({name: [device(json!({}))]}))]);
    }
    taken(&[block(json!({"weight": 0, "leafWeight": 1000,
                         "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}))]);
}

#[test]
fn other_resources() {
    let huge = |size: &str, limit: i64| json!({"/linux/resources/hugepageLimits": [{"pageSize": size, "limit": limit}]});
    for size in ["", "MB", "2M", "2TB", "2mb", "-2MB", "2 MB", "02MB", "0MB", "2MB/x", "../2MB"] {
        refused(&[(
            huge(size, 1),
            &format!(
                "linux.resources.hugepageLimits[0].pageSize: {size:?}: must be a number and KB, \
                 MB or GB, such as \"2MB\""
            ),
        )]);
    }
    refused(&[
        (huge("2MB", -1), "linux.resources.hugepageLimits[0].limit: -1: must not be negative"),
        (
            json!({"/linux/resources/rdma": {"mlx": {}}}),
            "linux.resources.rdma.mlx: needs hcaHandles or hcaObjects",
        ),
        (
            json!({"/linux/resources/rdma": {"a b": {"hcaHandles": 1}}}),
            "linux.resources.rdma: \"a b\": not the name of a device",
        ),
    ]);
    for key in ["", ".", "..", "a/b", "/x", "../memory.max"] {
        refused(&[(
            json!({"/linux/resources/unified": {"memory.max": "1", key: "1"}}),
            &format!("linux.resources.unified: {key:?}: must be the name of one file"),
        )]);
    }
    taken(&[
        huge("64KB", 0),
        huge("1GB", i64::MAX),
        json!({"/linux/resources/rdma": {"mlx": {"hcaObjects": 1}}}),
        json!({"/linux/resources/unified": {"io.max": "8:0 rbps=1\n8:1 rbps=1"}}),
    ]);
}

#[test]
fn seccomp() {
    let own = "linux.seccomp.syscalls[0]";
    let rule = |more: Value| {
        let mut rule = json!({"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"/linux/seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}})
    };
    let arg =
        |index: u64| rule(json!({"args": [{"index": index, "value": 0, "op": "SCMP_CMP_EQ"}]}));
    let default = |more: Value| json!({"/linux/seccomp": more});
    let none = "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE return a number";
    refused(&[
        (rule(json!({"names": []})), &format!("{own}.names: must hold at least one name")),
        (rule(json!({"names": ["a", ""]})), &format!("{own}.names[1]: \"\": must not be empty")),
        (arg(6), &format!("{own}.args[0].index: 6: must be from 0 to 5")),
        (rule(json!({"errnoRet": 4095})), &format!("{own}.errnoRet: 4095: must be from 0 to 4094")),
        (
            rule(json!({"errnoRet": 65536, "action": "SCMP_ACT_TRACE"})),
            &format!("{own}.errnoRet: 65536: must be from 0 to 65535"),
        ),
        (
            rule(json!({"errnoRet": 1, "action": "SCMP_ACT_KILL"})),
            &format!("{own}.errnoRet: 1: {none}"),
        ),
        (
            default(json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1})),
            &format!("linux.seccomp.defaultErrnoRet: 1: {none}"),
        ),
        (
            default(json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"})),
            "linux.seccomp.defaultAction: \"SCMP_ACT_NOTIFY\": cannot be the default: nobody \
             could answer for the calls of the runtime itself",
        ),
        (
            default(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "syscalls":
                [{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}]})),
            "linux.seccomp.syscalls[0].names[1]: \"write\": SCMP_ACT_NOTIFY cannot be used for \
             it: the runtime itself needs it",
        ),
        (
            rule(json!({"action": "SCMP_ACT_NOTIFY"})),
            &format!("{own}.action: \"SCMP_ACT_NOTIFY\": needs linux.seccomp.listenerPath"),
        ),
        (
            default(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m"})),
            "linux.seccomp.listenerMetadata: \"m\": needs linux.seccomp.listenerPath",
        ),
    ]);
    taken(&[
        arg(5),
        rule(json!({"errnoRet": 4094})),
        rule(json!({"errnoRet": 65535, "action": "SCMP_ACT_TRACE"})),
        rule(json!({"names": ["write"], "action": "SCMP_ACT_KILL"})),
        default(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38})),
        default(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s",
            "listenerMetadata": "m",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]})),
    ]);
}

#[test]
fn hooks() {
    for name in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        let hook = |more: Value| {
            let mut hook = json!({"path": "/bin/true"});
            hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"/hooks": {name: [{"path": "/bin/true"}, hook]}})
        };
        let own = format!("hooks.{name}[1]");
        refused(&[
            (
                hook(json!({"path": "bin/true"})),
                &format!("{own}.path: \"bin/true\": must be an absolute path"),
            ),
            (hook(json!({"path": ""})), &format!("{own}.path: \"\": must be an absolute path")),
            (hook(json!({"timeout": 0})), &format!("{own}.timeout: 0: must be above 0")),
            (hook(json!({"timeout": -1})), &format!("{own}.timeout: -1: must be above 0")),
            (
                hook(json!({"env": ["A=1", "B"]})),
                &format!("{own}.env[1]: \"B\": must be of the form NAME=value"),
            ),
        ]);
        taken(&[hook(json!({"timeout": 1, "env": ["A="], "args": []}))]);
    }
}
