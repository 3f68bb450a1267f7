//! The identity of the container's process: user, groups and exactly the requested capabilities.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::config::{CapSets, Identity};
use crate::sys::cred;
use crate::{Context, Error, Result, text};

/// The user namespace that the process is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within {
    /// The namespace is not the machine's first: ids may have no mapping, and setgroups(2) may be
    /// denied.
    pub user_namespace: bool,
    /// The namespace denies setgroups(2) for certain.
    pub denies_setgroups: bool,
}

/// Sets the bounding set, groups and ids, before the other capability sets. The order is the
/// kernel's: dropping from the bounding set needs CAP_SETPCAP, changing ids needs CAP_SETUID and
/// CAP_SETGID, and keepcaps carries the permitted set over the change.
pub(super) fn assume(identity: &Identity, within: Within) -> Result<()> {
    let caps = &identity.caps;
    drop_bounding(caps)?;
    prctl::set_keep_capabilities(true).map_err(Errno::from_raw).context("keep capabilities")?;
    groups(identity, within)?;
    let gid = Gid::from_raw(identity.gid);
    setresgid(gid, gid, gid).with_context(|| format!("become group {gid}{}", within.unmapped()))?;
    let uid = Uid::from_raw(identity.uid);
    setresuid(uid, uid, uid).with_context(|| format!("become user {uid}{}", within.unmapped()))?;
    Ok(())
}

/// Drops every capability for good, and the groups of the runtime: for a container without a
/// program.
pub(super) fn forgo(within: Within) -> Result<()> {
    let none = CapSets::default();
    drop_bounding(&none)?;
    let groups = Identity { uid: 0, gid: 0, groups: Some(Vec::new()), umask: None, caps: none };
    self::groups(&groups, within)?;
    set_capabilities(&none)
}

/// Makes the permitted capabilities effective again: the change of ids has cleared that set.
pub(super) fn regain(identity: &Identity) -> Result<()> {
    make_effective(identity, u64::MAX).context("regain the capabilities kept")
}

/// Makes effective the capabilities with which the user reaches files of others, as they will be at
/// execve(2): without them an executable program might not be found.
pub(super) fn regain_reach(identity: &Identity) -> Result<()> {
    const REACH: u64 = 1 << 1 | 1 << 2; // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    make_effective(identity, identity.caps.main().effective & REACH)
        .context("regain the capabilities to reach files")
}

fn make_effective(identity: &Identity, wanted: u64) -> nix::Result<()> {
    if identity.uid == 0 || wanted == 0 {
        return Ok(());
    }
    let caps = cred::capget()?;
    cred::capset(cred::Caps { effective: caps.permitted & wanted, ..caps })
}

pub(super) fn set_capabilities(caps: &CapSets) -> Result<()> {
    cred::capset(caps.main()).context("set the capabilities")?;
    for bit in 0..64 {
        if caps.ambient & (1 << bit) != 0 {
            cred::raise_ambient(bit).with_context(|| format!("raise ambient capability {bit}"))?;
        }
    }
    Ok(())
}

impl Within {
    fn unmapped(self) -> &'static str {
        if self.user_namespace { " (is it mapped in the user namespace?)" } else { "" }
    }
}

/// Drops every capability that is not requested from the bounding set, up to the last capability of
/// this kernel, which may be newer than any list here.
fn drop_bounding(caps: &CapSets) -> Result<()> {
    for bit in 0..64 {
        if caps.bounding & (1 << bit) != 0 {
            continue;
        }
        match cred::drop_bounding(bit) {
            Err(Errno::EINVAL) => break,
            answer => {
                answer.with_context(|| format!("drop capability {bit} from the bounding set"))?
            }
        }
    }
    Ok(())
}

/// Sets the groups, also when none are requested: those of the runtime must not stay
/// (CVE-2022-2989) unless the configuration requests them. A user namespace that an unprivileged
/// user has mapped denies setgroups(2); then there are no groups to drop, and to request groups is
/// an error.
fn groups(identity: &Identity, within: Within) -> Result<()> {
    let Some(wanted) = &identity.groups else { return Ok(()) };
    let groups: Vec<Gid> = wanted.iter().copied().map(Gid::from_raw).collect();
    if within.denies_setgroups {
        if groups.is_empty() {
            return Ok(());
        }
        let why = "a user namespace with one mapped id of an unprivileged user denies setgroups(2)";
        return Err(Error::invalid("process.user.additionalGids", wanted, why));
    }
    match setgroups(&groups) {
        // A joined user namespace, or that of the runtime, may deny setgroups(2), too.
        Err(Errno::EPERM) if groups.is_empty() && within.user_namespace => Ok(()),
        answer => answer.with_context(|| format!("set groups {}", text::value(wanted))),
    }
}
