//! The outermost objects of a configuration, as they are deserialized.
//!
//! The types of the oci-spec crate are used for all members but `process.execCPUAffinity`: the
//! crate checks that member with a regular expression, which adds a quarter to the size of the
//! binary. Members for other platforms are not read.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime::{
    Box as ConsoleSize, ExecCPUAffinity, Hooks, Linux, LinuxCapabilities, LinuxIOPriority, Mount,
    PosixRlimit, Process, Root, Scheduler, Spec, User,
};
use serde::Deserialize;

/// A config.json.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "struct Spec")]
pub struct Config {
    // `version::check` reports a missing version.
    #[serde(default)]
    oci_version: String,
    root: Option<Root>,
    mounts: Option<Vec<Mount>>,
    process: Option<ProcessConfig>,
    hostname: Option<String>,
    domainname: Option<String>,
    hooks: Option<Hooks>,
    annotations: Option<HashMap<String, String>>,
    linux: Option<Linux>,
}

/// A process.json, or the member `process` of a config.json.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "struct Process")]
pub struct ProcessConfig {
    terminal: Option<bool>,
    console_size: Option<ConsoleSize>,
    // A process without a user runs as root, as in runc and crun; hand-written files rely on it.
    #[serde(default)]
    user: User,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    cwd: PathBuf,
    capabilities: Option<LinuxCapabilities>,
    rlimits: Option<Vec<PosixRlimit>>,
    no_new_privileges: Option<bool>,
    apparmor_profile: Option<String>,
    oom_score_adj: Option<i32>,
    selinux_label: Option<String>,
    io_priority: Option<LinuxIOPriority>,
    scheduler: Option<Scheduler>,
    #[serde(rename = "execCPUAffinity")]
    exec_cpu_affinity: Option<Affinity>,
}

/// The member `execCPUAffinity` of a process. An empty list means unset.
#[derive(Deserialize)]
#[serde(expecting = "struct ExecCPUAffinity")]
struct Affinity {
    initial: Option<String>,
    r#final: Option<String>,
}

impl From<Config> for Spec {
    fn from(config: Config) -> Spec {
        // Sets every member: the crate's defaults differ from those of the specification.
        let mut spec = Spec::default();
        spec.set_version(config.oci_version)
            .set_root(config.root)
            .set_mounts(config.mounts)
            .set_process(config.process.map(Process::from))
            .set_hostname(config.hostname)
            .set_domainname(config.domainname)
            .set_hooks(config.hooks)
            .set_annotations(config.annotations)
            .set_linux(config.linux);
        spec
    }
}

impl From<ProcessConfig> for Process {
    fn from(config: ProcessConfig) -> Process {
        let mut process = Process::default();
        process
            .set_terminal(config.terminal)
            .set_console_size(config.console_size)
            .set_user(config.user)
            .set_args(config.args)
            .set_env(config.env)
            .set_cwd(config.cwd)
            .set_capabilities(config.capabilities)
            .set_rlimits(config.rlimits)
            .set_no_new_privileges(config.no_new_privileges)
            .set_apparmor_profile(config.apparmor_profile)
            .set_oom_score_adj(config.oom_score_adj)
            .set_selinux_label(config.selinux_label)
            .set_io_priority(config.io_priority)
            .set_scheduler(config.scheduler)
            .set_exec_cpu_affinity(config.exec_cpu_affinity.map(ExecCPUAffinity::from));
        process
    }
}

impl From<Affinity> for ExecCPUAffinity {
    fn from(lists: Affinity) -> ExecCPUAffinity {
        let given = |list: Option<String>| list.filter(|list| !list.is_empty());
        let mut affinity = ExecCPUAffinity::default();
        affinity.set_initial(given(lists.initial)).set_cpu_affinity_final(given(lists.r#final));
        affinity
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Parses a value with these types and with those of the crate.
    fn both(value: &Value) -> (Spec, Spec) {
        let text = value.to_string();
        let ours: Config = serde_json::from_str(&text).unwrap();
        (ours.into(), serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn reads_what_the_crate_reads() {
        let process = json!({
            "terminal": true, "consoleSize": {"height": 5, "width": 6},
            "user": {"uid": 1, "gid": 2, "umask": 3, "additionalGids": [4]},
            "args": ["a"], "env": ["A=b"], "cwd": "/c", "capabilities": {"bounding": ["CAP_KILL"]},
            "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}], "noNewPrivileges": true,
            "apparmorProfile": "p", "oomScoreAdj": 7, "selinuxLabel": "l",
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 1},
            "scheduler": {"policy": "SCHED_FIFO"},
            "execCPUAffinity": {"initial": "0-1", "final": "2"},
        });
        let full = json!({
            "ociVersion": "1.2.0", "root": {"path": "r"}, "mounts": [{"destination": "/d"}],
            "process": process, "hostname": "h", "domainname": "d",
            "hooks": {"poststop": [{"path": "/h"}]}, "annotations": {"a": "b"},
            "linux": {"cgroupsPath": "/x"},
        });
        let (ours, theirs) = both(&full);
        assert_eq!(ours, theirs);
        // The crate lost no member, so the text is equal too.
        assert_eq!(serde_json::to_value(&ours).unwrap(), full);
        for bare in [
            json!({}),
            json!({"process": {"user": {}, "cwd": ""}}),
            json!({"process": {"user": {}, "cwd": "/", "execCPUAffinity": {}}, "root": null}),
        ] {
            let (ours, theirs) = both(&bare);
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn members_for_other_platforms_are_not_read() {
        let config = json!({"vm": 1, "windows": [], "process": {"cwd": "/", "commandLine": 5}});
        let config: Config = serde_json::from_value(config).unwrap();
        assert!(Spec::from(config).vm().is_none());
    }
}
