//! `process.user` and `process.capabilities`: ids, groups, umask, capabilities.

use std::str::FromStr;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, User};

use super::ids::{IdMap, IdMaps};
use crate::sys::cred::Caps;
use crate::{Error, Result};

/// User and group ids as seen in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// All supplementary groups; `None` keeps those of the runtime's caller
    /// ([`crate::config::annotations::KEEP_GROUPS`]).
    pub groups: Option<Vec<u32>>,
    /// The umask; `None` keeps the caller's (config.md, "POSIX-platform User").
    pub umask: Option<u32>,
    /// Capability sets.
    pub caps: CapSets,
}

/// The five sets of capabilities(7), with a bit for each capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct CapSets {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

impl CapSets {
    /// Returns the requested sets, reduced to `available`, the capabilities that the process can
    /// have. Adds a warning for each capability that cannot be granted (config.md, "Linux Process":
    /// MUST be logged as a warning, SHOULD NOT fail). A missing object means no capability.
    pub fn new(
        spec: Option<&LinuxCapabilities>,
        available: u64,
        warnings: &mut Vec<String>,
    ) -> CapSets {
        let Some(spec) = spec else { return CapSets::default() };
        let mut cut = |name: &str, set: &Option<Capabilities>, limit: u64| {
            let asked = bits(set);
            let lost = asked & !limit;
            if lost != 0 {
                let lost = names(lost);
                // The words about the ambient set are runc's, for which scripts look.
                let why = match name {
                    "ambient" => format!(
                        "can't raise ambient capability {lost}: \
                         must be permitted and inheritable"
                    ),
                    _ => format!("cannot be granted here: {lost}"),
                };
                warnings.push(format!("process.capabilities.{name}: {why}"));
            }
            asked & limit
        };
        let bounding = cut("bounding", spec.bounding(), available);
        let permitted = cut("permitted", spec.permitted(), available);
        // The kernel's rules: effective lies within permitted, inheritable within bounding, ambient
        // within both permitted and inheritable.
        let effective = cut("effective", spec.effective(), permitted);
        let inheritable = cut("inheritable", spec.inheritable(), bounding);
        let ambient = cut("ambient", spec.ambient(), permitted & inheritable);
        CapSets { bounding, effective, permitted, inheritable, ambient }
    }

    /// Returns the sets that capset(2) sets.
    pub fn main(&self) -> Caps {
        Caps { effective: self.effective, permitted: self.permitted, inheritable: self.inheritable }
    }
}

impl Identity {
    /// Parses `process.user` (config.md, "POSIX-platform User"). `ids` are the mappings of a new
    /// user namespace, which must map the ids; those of a joined namespace only the kernel knows.
    /// The capability sets are still empty.
    pub fn new(user: &User, ids: Option<&IdMaps>, keeps_groups: bool) -> Result<Identity> {
        let uids = ids.map(|ids| ids.uids.as_slice());
        let gids = ids.map(|ids| ids.gids.as_slice());
        check_id(|| "process.user.uid".to_owned(), user.uid(), uids)?;
        check_id(|| "process.user.gid".to_owned(), user.gid(), gids)?;
        let groups = user.additional_gids().as_deref().unwrap_or_default();
        for (index, gid) in groups.iter().enumerate() {
            check_id(|| format!("process.user.additionalGids[{index}]"), *gid, gids)?;
        }
        if let Some(umask) = user.umask().filter(|umask| *umask > 0o777) {
            let why = "must be from 0 to 511 (0777 in octal)";
            return Err(Error::invalid("process.user.umask", umask, why));
        }
        Ok(Identity {
            uid: user.uid(),
            gid: user.gid(),
            groups: (!keeps_groups).then(|| groups.to_vec()),
            umask: user.umask(),
            caps: CapSets::default(),
        })
    }
}

fn check_id(field: impl Fn() -> String, id: u32, maps: Option<&[IdMap]>) -> Result<()> {
    if id == u32::MAX {
        return Err(Error::invalid(field(), id, "is not an id (it means -1)"));
    }
    if maps.is_some_and(|maps| IdMaps::outside(maps, id).is_none()) {
        let why = "is not mapped in the container's user namespace";
        return Err(Error::invalid(field(), id, why));
    }
    Ok(())
}

fn bits(set: &Option<Capabilities>) -> u64 {
    set.iter().flatten().fold(0, |bits, capability| {
        let name = format!("CAP_{capability}");
        bits | caps::Capability::from_str(&name).map_or(0, |c| c.bitmask())
    })
}

fn names(bits: u64) -> String {
    let mut known: Vec<caps::Capability> = caps::all().into_iter().collect();
    known.sort_by_key(caps::Capability::index);
    let names: Vec<String> =
        known.iter().filter(|c| bits & c.bitmask() != 0).map(ToString::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> LinuxCapabilities {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_capability_of_the_spec_has_its_bit() {
        let all = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN \
            DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE \
            LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST \
            NET_RAW PERFMON SETGID SETFCAP SETPCAP SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE \
            SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG \
            WAKE_ALARM";
        let list: Vec<String> = all.split_whitespace().map(|n| format!("\"CAP_{n}\"")).collect();
        let spec = spec(&format!("{{\"bounding\":[{}]}}", list.join(",")));
        let sets = CapSets::new(Some(&spec), u64::MAX, &mut Vec::new());
        assert_eq!(sets.bounding, (1 << 41) - 1);
    }

    #[test]
    fn what_cannot_be_granted_is_warned_about_and_left_out() {
        let spec = spec(
            r#"{"bounding":["CAP_CHOWN","CAP_KILL"],"permitted":["CAP_CHOWN","CAP_KILL"],
                "effective":["CAP_CHOWN","CAP_KILL"],"ambient":["CAP_CHOWN"]}"#,
        );
        let mut warnings = Vec::new();
        let sets = CapSets::new(Some(&spec), 1 << 5, &mut warnings);
        assert_eq!((sets.bounding, sets.permitted, sets.effective), (1 << 5, 1 << 5, 1 << 5));
        assert_eq!((sets.inheritable, sets.ambient), (0, 0));
        assert_eq!(warnings.len(), 4);
        assert!(warnings[0].ends_with("CAP_CHOWN"), "{warnings:?}");
    }

    #[test]
    fn absent_means_none() {
        assert_eq!(CapSets::new(None, u64::MAX, &mut Vec::new()), CapSets::default());
    }
}
