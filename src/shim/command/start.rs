//! `start`: starts a shim for a container or a pod, or finds the one of its pod, and prints its
//! address.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, Read, Result, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use prost::Message;
use serde::Deserialize;

use super::address;
use super::args::Args;
use crate::host;
use crate::proto::any::Any;
use crate::proto::options::Options;

/// The annotations whose value groups containers into one shim; the first that is found counts.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// The newest version of the shim API that this shim speaks.
const VERSION: u32 = 3;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Runs the command in the bundle, which is the working directory.
pub fn run(args: &Args) -> Result<()> {
    if std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
        return Err(Error::other("SCHED_CORE: core scheduling is not supported by this shim"));
    }
    let dir = std::env::var_os("CONTAINERD_SHIM_SOCKET_DIR").filter(|dir| !dir.is_empty());
    let dir = dir.map_or_else(|| PathBuf::from(address::SOCKETS), PathBuf::from);
    let path = match &args.socket {
        Some(path) => path.clone(),
        None => address::path(&dir, &args.address, &args.namespace, &group(&args.id)?),
    };
    let address = address::of(&path);
    if let Some(listener) = address::listen(&path)? {
        let started = serve(args, listener.into());
        started.inspect_err(|_| drop(fs::remove_file(&path)))?;
    }
    fs::write(address::FILE, &address)?;
    let response = response(&address, std::env::var("MAX_SHIM_VERSION").ok().as_deref());
    std::io::stdout().write_all(response.as_bytes())
}

/// Returns the group of the container in the working directory.
fn group(id: &str) -> Result<String> {
    let text = fs::read("config.json")?;
    let config: Config = serde_json::from_slice(&text)
        .map_err(|error| Error::other(format!("config.json: {error}")))?;
    let annotations = config.annotations.unwrap_or_default();
    let group = GROUPS.iter().find_map(|name| annotations.get(*name));
    Ok(group.cloned().unwrap_or_else(|| id.to_owned()))
}

/// Starts the server with the socket as its standard input.
fn serve(args: &Args, listener: OwnedFd) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(std::env::args_os().next().unwrap_or_else(|| "containerd-shim-bulkhead-v2".into()));
    command.args(["-namespace", &args.namespace, "-id", &args.id, "-address", &args.address]);
    if args.debug {
        command.arg("-debug");
    }
    command.stdin(Stdio::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0);
    let mut child = command.spawn()?;
    let placed = place(child.id());
    if placed.is_err() {
        let _ = child.kill().and_then(|()| child.wait());
    }
    placed
}

/// Puts the server into the cgroup of the options, and makes it a likelier victim of a lack of memory
/// than containerd.
fn place(pid: u32) -> Result<()> {
    let mut stdin = Vec::new();
    std::io::stdin().take(4 << 20).read_to_end(&mut stdin)?;
    // Wrong options are reported by Create.
    let options = Any::decode(stdin.as_slice()).ok();
    let options = options.and_then(|any| Options::read(Some(&any)).ok()).unwrap_or_default();
    if !options.shim_cgroup.is_empty() {
        join(&options.shim_cgroup, pid)?;
    }
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", parent_id()))?;
    let score = score.trim().parse::<i32>().map_err(Error::other)?;
    fs::write(format!("/proc/{pid}/oom_score_adj"), (score + 1).min(1000).to_string())
}

/// Moves a process to a cgroup: in every hierarchy of cgroup v1 that has it.
fn join(cgroup: &str, pid: u32) -> Result<()> {
    let top = Path::new(host::CGROUPS);
    let mut dirs = vec![top.to_owned()];
    if !host::is_unified() {
        let entries = fs::read_dir(top)?.filter_map(std::result::Result::ok);
        dirs = entries.map(|entry| entry.path()).collect();
    }
    let mut joined = false;
    for dir in dirs {
        let file = dir.join(cgroup.trim_start_matches('/')).join("cgroup.procs");
        if file.exists() {
            fs::write(&file, pid.to_string())?;
            joined = true;
        }
    }
    match joined {
        true => Ok(()),
        false => Err(Error::other(format!("ShimCgroup: no cgroup {cgroup:?}"))),
    }
}

/// Returns what containerd reads: the plain address, or JSON since the version that sets
/// `MAX_SHIM_VERSION`.
fn response(address: &str, most: Option<&str>) -> String {
    let Some(most) = most.and_then(|text| text.parse::<u32>().ok()) else {
        return address.to_owned();
    };
    let version = most.clamp(2, VERSION);
    serde_json::json!({ "version": version, "address": address, "protocol": "ttrpc" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::response;

    #[test]
    fn the_response_has_the_version_that_containerd_knows() {
        assert_eq!(response("unix:///s", None), "unix:///s");
        let of = |most| serde_json::from_str::<serde_json::Value>(&response("a", Some(most)));
        let json = of("3").unwrap();
        assert_eq!((&json["version"], &json["protocol"]), (&3.into(), &"ttrpc".into()));
        assert_eq!(json["address"], "a");
        assert_eq!(of("2").unwrap()["version"], 2);
        assert_eq!(of("9").unwrap()["version"], 3);
    }
}
