//! The process that `exec` starts.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process, Spec};
use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Result, config, text};

/// Changes to the container's process. A field that is `None` or empty changes nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Command {
    pub args: Vec<String>,
    /// Whether the process has a terminal; that of the container's process does not count.
    pub terminal: bool,
    pub cwd: Option<PathBuf>,
    /// Variables, `NAME=value`. They follow those of the container's process, and the last entry of
    /// a name counts.
    pub env: Vec<String>,
    /// `UID` or `UID:GID`, as numbers. Without a group, that of the container's process stays.
    pub user: Option<String>,
    pub additional_gids: Vec<u32>,
    pub capabilities: Vec<String>,
    /// PR_SET_NO_NEW_PRIVS, prctl(2). `false` keeps the setting of the container's process.
    pub no_new_privileges: bool,
    pub apparmor: Option<String>,
    pub label: Option<String>,
}

/// Returns the process in the form of config.json: that of a process.json, given as the text `json`
/// or as a file, or the container's own process with the changes of `command`. Limits, capabilities
/// and other settings that a process.json leaves out come from the container's own process.
pub fn resolve(
    config: &Spec,
    json: Option<&str>,
    file: Option<&Path>,
    command: &Command,
    warnings: &mut Vec<String>,
) -> Result<Process> {
    let text = match (json, file) {
        (Some(json), _) => Some((Cow::Borrowed(json.as_bytes()), Cow::Borrowed("process"))),
        (None, Some(path)) => {
            Some((Cow::Owned(config::read_config(path)?), path.to_string_lossy()))
        }
        (None, None) => None,
    };
    if let Some((text, name)) = text {
        let mut loaded = config::parse_process(&text, &name)?;
        warnings.append(&mut loaded.warnings);
        return Ok(completed(loaded.process, config.process().as_ref()));
    }
    let Some(own) = config.process() else {
        let why = "the container has no process of its own to take settings from; give --process";
        return Err(Error::new(Kind::Invalid, why));
    };
    changed(own.clone(), command, warnings)
}

/// Adds to `process` the settings that belong to the container rather than to one of its processes.
fn completed(mut process: Process, own: Option<&Process>) -> Process {
    let Some(own) = own else { return process };
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(own.rlimits().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(own.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*own.io_priority());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(own.exec_cpu_affinity().clone());
    }
    if process.apparmor_profile().as_ref().is_none_or(String::is_empty) {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if process.selinux_label().as_ref().is_none_or(String::is_empty) {
        process.set_selinux_label(own.selinux_label().clone());
    }
    process
}

fn changed(mut process: Process, command: &Command, warnings: &mut Vec<String>) -> Result<Process> {
    process.set_args(Some(command.args.clone()));
    process.set_terminal(Some(command.terminal));
    process.set_console_size(None);
    if let Some(cwd) = &command.cwd {
        process.set_cwd(cwd.clone());
    }
    if !command.env.is_empty() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(command.env.iter().cloned());
        process.set_env(Some(env));
    }
    if let Some(user) = &command.user {
        let (uid, gid) = ids(user)?;
        process.user_mut().set_uid(uid);
        if let Some(gid) = gid {
            process.user_mut().set_gid(gid);
        }
    }
    if !command.additional_gids.is_empty() {
        let mut groups = process.user().additional_gids().clone().unwrap_or_default();
        groups.extend(&command.additional_gids);
        process.user_mut().set_additional_gids(Some(groups));
    }
    if !command.capabilities.is_empty() {
        let added = command.capabilities.iter().filter_map(|name| capability(name, warnings));
        let added: Capabilities = added.collect();
        let sets = with_capabilities(process.capabilities().as_ref(), &added);
        process.set_capabilities(Some(sets));
    }
    if command.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    if command.apparmor.is_some() {
        process.set_apparmor_profile(command.apparmor.clone());
    }
    if command.label.is_some() {
        process.set_selinux_label(command.label.clone());
    }
    Ok(process)
}

/// Parses `--user`. Only numbers are valid: a name would need the /etc/passwd of the image, which
/// engines read, and a number that is cut short is that of another user.
fn ids(user: &str) -> Result<(u32, Option<u32>)> {
    let bad = || Error::invalid("--user", user, "must be UID or UID:GID, as numbers");
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten().ok_or_else(bad)
    };
    match user.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(user)?, None)),
    }
}

/// Returns the capability of a name. An unknown name is a warning, as in the configuration
/// (config.md, "Linux Process").
fn capability(name: &str, warnings: &mut Vec<String>) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let known = Capability::from_str(short).ok();
    if known.is_none() {
        warnings.push(format!("--cap: {}: unknown capability, dropped", text::value(&name)));
    }
    known
}

/// Adds capabilities to the bounding, permitted and effective sets, and to the ambient set only
/// those that are inheritable: the kernel raises no others.
fn with_capabilities(own: Option<&LinuxCapabilities>, added: &Capabilities) -> LinuxCapabilities {
    let mut sets = own.cloned().unwrap_or_else(no_capabilities);
    let with = |set: &Option<Capabilities>| {
        Some(set.iter().flatten().chain(added).copied().collect::<Capabilities>())
    };
    sets.set_bounding(with(sets.bounding()));
    sets.set_permitted(with(sets.permitted()));
    sets.set_effective(with(sets.effective()));
    if let Some(inheritable) = sets.inheritable().clone() {
        let raised: Capabilities = added.intersection(&inheritable).copied().collect();
        sets.set_ambient(Some(sets.ambient().iter().flatten().chain(&raised).copied().collect()));
    }
    sets
}

/// Returns empty sets. The default of the crate has capabilities that the configuration does not
/// request.
fn no_capabilities() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None);
    sets.set_permitted(None);
    sets.set_effective(None);
    sets.set_inheritable(None);
    sets.set_ambient(None);
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(process: &str) -> Spec {
        let text = format!("{{\"ociVersion\":\"1.0.0\",\"process\":{process}}}");
        serde_json::from_str(&text).unwrap()
    }

    const OWN: &str = r#"{"terminal":true,"user":{"uid":5,"gid":6,"additionalGids":[7]},"cwd":"/c",
        "args":["own"],"env":["A=1"],"capabilities":{"bounding":["CAP_KILL"]},
        "rlimits":[{"type":"RLIMIT_NOFILE","soft":10,"hard":10}],"oomScoreAdj":3}"#;

    fn resolved(command: Command) -> Result<Process> {
        resolve(&config(OWN), None, None, &command, &mut Vec::new())
    }

    #[test]
    fn settings_without_a_change_stay() {
        let process = resolved(Command { args: vec!["x".into()], ..Command::default() }).unwrap();
        assert_eq!(process.terminal(), Some(false));
        assert_eq!(process.args(), &Some(vec!["x".to_owned()]));
        assert_eq!((process.user().uid(), process.user().gid()), (5, 6));
        assert_eq!(process.oom_score_adj(), Some(3));
        assert_eq!(process.rlimits().as_ref().map(Vec::len), Some(1));
    }

    #[test]
    fn changes_are_made() {
        let process = resolved(Command {
            user: Some("9".into()),
            additional_gids: vec![8],
            env: vec!["A=2".into()],
            capabilities: vec!["chown".into(), "CAP_SYS_TIME".into()],
            ..Command::default()
        });
        let process = process.unwrap();
        assert_eq!((process.user().uid(), process.user().gid()), (9, 6));
        assert_eq!(process.user().additional_gids(), &Some(vec![7, 8]));
        assert_eq!(process.env(), &Some(vec!["A=1".to_owned(), "A=2".to_owned()]));
        let sets = process.capabilities().clone().unwrap();
        assert_eq!(sets.bounding().as_ref().map(|s| s.len()), Some(3));
        assert_eq!(sets.effective().as_ref().map(|s| s.len()), Some(2));
        assert!(sets.inheritable().is_none() && sets.ambient().is_none());
    }

    #[test]
    fn ids_are_numbers() {
        assert_eq!(ids("0").unwrap(), (0, None));
        assert_eq!(ids("5:4294967295").unwrap(), (5, Some(u32::MAX)));
        for bad in ["", "root", "1:", ":1", "1:2:3", "+1", "-1", "4294967296", " 1", "1:wheel"] {
            let error = ids(bad).unwrap_err().to_string();
            assert!(error.starts_with("--user: "), "{error}");
        }
    }

    #[test]
    fn a_file_is_completed() {
        let own = config(OWN);
        let text = r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["f"],"oomScoreAdj":9}"#;
        let process: Process = serde_json::from_str(text).unwrap();
        let process = completed(process, own.process().as_ref());
        assert_eq!(process.oom_score_adj(), Some(9));
        assert_eq!(process.rlimits().as_ref().map(Vec::len), Some(1));
        assert!(process.capabilities().is_some() && process.env().is_none());
    }

    #[test]
    fn unknown_capabilities_are_a_warning() {
        let mut warnings = Vec::new();
        let known = |name, warnings: &mut Vec<String>| capability(name, warnings);
        assert_eq!(known("cap_kill", &mut warnings), Some(Capability::Kill));
        assert!(warnings.is_empty());
        assert_eq!(known("CAP_X", &mut warnings), None);
        assert_eq!(warnings, ["--cap: \"CAP_X\": unknown capability, dropped"]);
    }
}
