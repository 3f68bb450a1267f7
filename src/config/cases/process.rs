//! The rules of a process, and the members that are not supported yet.

use serde_json::{Value, json};

use super::{host, outcome, refused, taken, userns};
use crate::config::TerminalRequest;

#[test]
fn process_arguments() {
    refused(&[
        (json!({"/process/args": null}), "process.args: at least one argument is required"),
        (json!({"/process/args": []}), "process.args: at least one argument is required"),
        (json!({"/process/args": [""]}), "process.args[0]: \"\": must name the file to execute"),
        (
            json!({"/process/env/1": "NOVALUE"}),
            "process.env[1]: \"NOVALUE\": must be of the form NAME=value",
        ),
        (
            json!({"/process/env/0": "=x"}),
            "process.env[0]: \"=x\": the name before the \"=\" is empty",
        ),
        (json!({"/process/cwd": "tmp"}), "process.cwd: \"tmp\": must be an absolute path"),
        (json!({"/process/cwd": ""}), "process.cwd: \"\": must be an absolute path"),
    ]);
    taken(&[
        json!({"/process/args": ["a", ""]}),
        json!({"/process/env": null}),
        json!({"/process/env": ["A=1\n2", "A=3"]}),
        json!({"/process/cwd": "/a/../b"}),
    ]);
}

#[test]
fn process_terminal() {
    let on = json!({"/process/terminal": true});
    let off = json!({});
    for (changes, detached, socket, expected) in [
        (&on, false, false, "passes"),
        (&on, true, true, "passes"),
        (&off, true, false, "passes"),
        (&off, false, false, "passes"),
        (
            &on,
            true,
            false,
            "process.terminal: true: the runtime does not stay to serve the terminal: give \
             --console-socket",
        ),
        (
            &on,
            false,
            true,
            "process.terminal: true: --console-socket needs create or --detach: otherwise the \
             runtime itself serves the terminal",
        ),
        (&off, true, true, "process.terminal: false: --console-socket needs a terminal"),
        (&off, false, true, "process.terminal: false: --console-socket needs a terminal"),
        (
            &json!({"/process": null}),
            true,
            true,
            "process.terminal: false: --console-socket needs a terminal",
        ),
    ] {
        let terminal = TerminalRequest { console_socket: socket, detached };
        assert_eq!(outcome(changes, terminal, &host(true)), expected);
    }
    let size = |height: u64, terminal: bool| {
        json!({"/process/consoleSize": {"height": height, "width": 80},
               "/process/terminal": terminal})
    };
    refused(&[(size(65536, true), "process.consoleSize.height: 65536: must be from 0 to 65535")]);
    taken(&[size(65535, true), size(65536, false)]);
}

#[test]
fn process_ids() {
    refused(&[
        (
            json!({"/process/user/uid": 4_294_967_295_u32}),
            "process.user.uid: 4294967295: is not an id (it means -1)",
        ),
        (
            json!({"/process/user/gid": 4_294_967_295_u32}),
            "process.user.gid: 4294967295: is not an id (it means -1)",
        ),
        (
            json!({"/process/user/additionalGids/1": 4_294_967_295_u32}),
            "process.user.additionalGids[1]: 4294967295: is not an id (it means -1)",
        ),
        (
            userns(json!({"/process/user/uid": 10})),
            "process.user.uid: 10: is not mapped in the container's user namespace",
        ),
        (
            userns(json!({"/process/user/gid": 10})),
            "process.user.gid: 10: is not mapped in the container's user namespace",
        ),
        (
            userns(json!({"/process/user/additionalGids": [9, 10]})),
            "process.user.additionalGids[1]: 10: is not mapped in the container's user namespace",
        ),
        (
            json!({"/process/user/umask": 512}),
            "process.user.umask: 512: must be from 0 to 511 (0777 in octal)",
        ),
    ]);
    taken(&[
        json!({"/process/user/uid": 4_294_967_294_u32}),
        json!({"/process/user/umask": 511}),
        userns(json!({"/process/user/uid": 9})),
        // A joined namespace has mappings of its own.
        userns(json!({"/linux/namespaces/6": {"type": "user", "path": "/proc/1/ns/user"},
                      "/process/user/uid": 10})),
    ]);
}

#[test]
fn process_limits() {
    let limit = |typ: &str, soft: u64| json!({"type": typ, "soft": soft, "hard": 5});
    refused(&[
        (
            json!({"/process/rlimits/1": limit("RLIMIT_NOFILE", 1)}),
            "process.rlimits[1].type: \"RLIMIT_NOFILE\": is listed twice",
        ),
        (
            json!({"/process/rlimits/1": limit("RLIMIT_CORE", 6)}),
            "process.rlimits[1].soft: 6: is above the hard limit of 5",
        ),
        (
            json!({"/process/oomScoreAdj": 1001}),
            "process.oomScoreAdj: 1001: must be from -1000 to 1000",
        ),
        (
            json!({"/process/oomScoreAdj": -1001}),
            "process.oomScoreAdj: -1001: must be from -1000 to 1000",
        ),
        (
            json!({"/process/ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}),
            "process.ioPriority.priority: 8: must be from 0 to 7",
        ),
        (
            json!({"/process/execCPUAffinity": {"initial": "3-1"}}),
            "process.execCPUAffinity.initial: \"3-1\": not a list of numbers and ranges such as \
             \"0-3,7\"",
        ),
        (
            json!({"/process/execCPUAffinity": {"final": "32768"}}),
            "process.execCPUAffinity.final: \"32768\": the last number is 32767",
        ),
    ]);
    taken(&[
        json!({"/process/rlimits/1": limit("RLIMIT_CORE", 5)}),
        json!({"/process/oomScoreAdj": -1000}),
        json!({"/process/oomScoreAdj": 1000}),
        json!({"/process/execCPUAffinity": {"initial": "7", "final": "0-3,7,8191"}}),
    ]);
}

#[test]
fn scheduler() {
    let with = |more: Value| {
        let mut scheduler = json!({"policy": "SCHED_OTHER"});
        scheduler.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"/process/scheduler": scheduler})
    };
    refused(&[
        (with(json!({"nice": 20})), "process.scheduler.nice: 20: must be from -20 to 19"),
        (with(json!({"nice": -21})), "process.scheduler.nice: -21: must be from -20 to 19"),
        (
            with(json!({"priority": 1})),
            "process.scheduler.priority: 1: is only valid with SCHED_FIFO and SCHED_RR",
        ),
        (
            with(json!({"policy": "SCHED_FIFO"})),
            "process.scheduler.priority: 0: must be from 1 to 99",
        ),
        (
            with(json!({"policy": "SCHED_RR", "priority": 100})),
            "process.scheduler.priority: 100: must be from 1 to 99",
        ),
        (
            with(json!({"period": 5})),
            "process.scheduler.period: 5: is only valid with SCHED_DEADLINE",
        ),
    ]);
    let deadline = |runtime: u64, deadline: u64, period: u64| {
        with(json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline,
                    "period": period}))
    };
    let order = "(SCHED_DEADLINE: 1024 <= runtime <= deadline <= period, in ns)";
    for (times, wrong) in [
        ((1023, 2048, 2048), "runtime: 1023: must be at least 1024"),
        ((2048, 1024, 4096), "deadline: 1024: is below the runtime of 2048"),
        ((2048, 4096, 4095), "period: 4095: is below the deadline of 4096"),
        ((2048, 1 << 63, 0), "deadline: 9223372036854775808: is above 9223372036854775807"),
    ] {
        let error = format!("process.scheduler.{wrong} {order}");
        refused(&[(deadline(times.0, times.1, times.2), &error)]);
    }
    taken(&[
        with(json!({"nice": -20})),
        with(json!({"policy": "SCHED_RR", "priority": 99})),
        deadline(1024, 1024, 1024),
        deadline(1024, 2048, 0),
    ]);
}

#[test]
fn labels() {
    refused(&[
        (
            json!({"/process/apparmorProfile": "a\nb"}),
            "process.apparmorProfile: \"a\\nb\": must be one line without a NUL byte",
        ),
        (
            json!({"/process/selinuxLabel": "a\0"}),
            "process.selinuxLabel: \"a\\0\": must be one line without a NUL byte",
        ),
        (
            json!({"/linux/mountLabel": "a\n"}),
            "linux.mountLabel: \"a\\n\": must be one line without a NUL byte",
        ),
    ]);
    taken(&[
        json!({"/process/apparmorProfile": "", "/process/selinuxLabel": "", "/linux/mountLabel": ""}),
        json!({"/process/apparmorProfile": "unconfined"}),
    ]);
}
