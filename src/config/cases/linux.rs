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
             the write syscall: the runtime itself needs it",
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
