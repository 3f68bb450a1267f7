//! Records the system calls of a container: a profile that asks an agent about each call, the
//! agent, which permits everything, and the profile that permits what was recorded.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libseccomp::{ScmpArch, ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags, ScmpSyscall};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oci_spec::runtime::Arch;
use serde_json::{Value, json};

use super::names::{json_name, scmp_arch};
use crate::{Context, Result};

/// The bit that marks the calls of x32, which have the architecture of x86-64 in a notification.
const X32: i32 = 0x4000_0000;

/// No architecture has a system call of a higher number, but for x32 with its bit and for
/// [`ARM_PRIVATE`].
const HIGHEST: i32 = 1024;

/// The private calls of 32-bit ARM, such as `set_tls`.
const ARM_PRIVATE: std::ops::RangeInclusive<i32> = 0x0f_0001..=0x0f_0006;

/// The system calls of the runtime between the load of a filter and execve(2). `write` is never
/// recorded: init reports the listener with it.
const OF_RUNTIME: [&str; 4] = ["execve", "exit_group", "read", "write"];

/// The architectures whose system calls can occur on this machine.
fn architectures() -> Vec<(Arch, ScmpArch)> {
    use Arch::{ScmpArchAarch64, ScmpArchArm, ScmpArchX32, ScmpArchX86, ScmpArchX86_64};
    let native = ScmpArch::native();
    let all = super::names::known_archs();
    let mut found: Vec<(Arch, ScmpArch)> = all.filter(|(_, arch)| *arch == native).collect();
    let companions: &[Arch] = match native {
        ScmpArch::X8664 => &[ScmpArchX86_64, ScmpArchX86, ScmpArchX32],
        ScmpArch::Aarch64 => &[ScmpArchAarch64, ScmpArchArm],
        _ => &[],
    };
    for arch in companions {
        let pair = scmp_arch(*arch).map(|known| (*arch, known));
        found.extend(pair.filter(|(_, known)| *known != native));
    }
    found
}

fn name(number: i32, arch: ScmpArch) -> Option<String> {
    ScmpSyscall::from(number).get_name_by_arch(arch).ok()
}

/// Returns the profile under which a container is recorded: it asks the agent at `listener` about
/// every system call that libseccomp knows, but for write(2).
pub fn profile(listener: &str) -> Value {
    let architectures = architectures();
    let mut names: Vec<String> = Vec::new();
    for (_, arch) in &architectures {
        let base = if *arch == ScmpArch::X32 { X32 } else { 0 };
        names.extend(
            (0..HIGHEST).chain(ARM_PRIVATE).filter_map(|number| name(base | number, *arch)),
        );
    }
    names.retain(|name| name != "write");
    names.sort_unstable();
    names.dedup();
    let architectures: Vec<String> =
        architectures.iter().map(|(arch, _)| json_name(arch)).collect();
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": architectures,
        "listenerPath": listener,
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
    })
}

/// The recorded calls: how often each call of an architecture was made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Calls(BTreeMap<(String, String), u64>);

impl Calls {
    /// Permits and counts the calls that `listener` reports, until the last process under the
    /// filter has ended.
    pub fn record(listener: BorrowedFd<'_>) -> Result<Calls> {
        let mut calls = Calls::default();
        loop {
            let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                polled => polled.context("poll the seccomp listener")?,
            };
            let events = fds[0].revents().unwrap_or(PollFlags::empty());
            if !events.contains(PollFlags::POLLIN) {
                return Ok(calls);
            }
            let fd = listener.as_raw_fd();
            // Fails if the process has been killed meanwhile.
            let Ok(request) = ScmpNotifReq::receive(fd) else { continue };
            calls.add(i32::from(request.data.syscall), request.data.arch);
            let _ =
                ScmpNotifResp::new_continue(request.id, ScmpNotifRespFlags::empty()).respond(fd);
        }
    }

    fn add(&mut self, number: i32, arch: ScmpArch) {
        let is_x32 = arch == ScmpArch::X8664 && number & X32 != 0;
        let arch = if is_x32 { ScmpArch::X32 } else { arch };
        let known = architectures().into_iter().find(|(_, known)| *known == arch);
        if let (Some(name), Some((arch, _))) = (name(number, arch), known) {
            *self.0.entry((json_name(&arch), name)).or_default() += 1;
        }
    }

    /// Returns the calls as lines of architecture, name and number, for [`Calls::parse`].
    pub fn lines(&self) -> String {
        let lines = self.0.iter().map(|((arch, name), count)| format!("{arch} {name} {count}\n"));
        lines.collect()
    }

    /// Parses [`Calls::lines`].
    pub fn parse(lines: &str) -> Calls {
        let parsed = lines.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (arch, name) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(((arch, name), words.next()?.parse().ok()?))
        });
        Calls(parsed.collect())
    }

    /// Whether no call was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the profile that permits these calls, and those that the runtime makes itself. All
    /// others fail with EPERM.
    pub fn profile(&self) -> Value {
        let mut architectures: Vec<&str> = self.0.keys().map(|(arch, _)| arch.as_str()).collect();
        architectures.dedup();
        let mut names: Vec<&str> = self.0.keys().map(|(_, name)| name.as_str()).collect();
        names.extend(OF_RUNTIME);
        names.sort_unstable();
        names.dedup();
        json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": architectures,
            "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_asks_about_each_call_but_write() {
        let profile = profile("/s");
        let names = profile["syscalls"][0]["names"].as_array().unwrap();
        assert!(names.len() > 300, "{}", names.len());
        let has = |name: &str| names.iter().any(|known| known == name);
        assert!(has("read") && has("execve") && has("mkdirat") && !has("write"));
        let profile = serde_json::from_value(profile).unwrap();
        assert!(super::super::compile(&profile, &mut Vec::new()).unwrap().notify);
    }

    #[test]
    fn what_is_recorded_is_permitted() {
        let mut calls = Calls::default();
        let number = i32::from(ScmpSyscall::from_name("mkdirat").unwrap());
        calls.add(number, ScmpArch::native());
        calls.add(number, ScmpArch::native());
        calls.add(HIGHEST - 1, ScmpArch::native());
        assert_eq!(Calls::parse(&calls.lines()), calls);
        assert!(calls.lines().ends_with(" mkdirat 2\n"), "{}", calls.lines());
        let profile = serde_json::from_value(calls.profile()).unwrap();
        let filter = super::super::compile(&profile, &mut Vec::new()).unwrap();
        assert!(filter.permits_named("mkdirat", &[]) && filter.permits_named("execve", &[]));
        assert!(!filter.permits_named("unlinkat", &[]));
    }
}
