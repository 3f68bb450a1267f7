//! linux.resources, as far as the kernel need not be asked.

use oci_spec::runtime::{LinuxBlockIo, LinuxMemory, LinuxResources, Spec};

use super::{Given, devices, each, linux};
use crate::{Error, Result};

fn resources(spec: &Spec) -> Option<&LinuxResources> {
    linux(spec)?.resources().as_ref()
}

/// The rules of this file, in order.
pub fn all(spec: &Spec, given: &Given) -> Result<()> {
    [memory, cpu, pids, block_io, hugepages, network, rdma, unified]
        .iter()
        .try_for_each(|rule| rule(spec, given))
}

/// config-linux.md, "Memory": bytes or -1; the swap limit counts memory and swap together.
pub fn memory(spec: &Spec, _: &Given) -> Result<()> {
    let Some(memory) = resources(spec).and_then(|resources| resources.memory().as_ref()) else {
        return Ok(());
    };
    for (name, value) in [
        ("limit", memory.limit()),
        ("reservation", memory.reservation()),
        ("swap", memory.swap()),
        ("kernel", kernel(memory)),
        ("kernelTCP", memory.kernel_tcp()),
    ] {
        if let Some(value) = value.filter(|value| *value < -1) {
            let field = format!("linux.resources.memory.{name}");
            return Err(Error::invalid(field, value, "must be a number of bytes, or -1"));
        }
    }
    // 0 is what engines write for "not set".
    if let Some(swap) = memory.swap().filter(|swap| *swap > 0) {
        let refuse = |why: String| Err(Error::invalid("linux.resources.memory.swap", swap, why));
        match memory.limit() {
            None | Some(-1 | 0) => return refuse("needs a memory limit".to_owned()),
            Some(limit) if swap < limit => {
                return refuse(format!("is below the memory limit of {limit}, which it includes"));
            }
            Some(_) => {}
        }
    }
    if let Some(swappiness) = memory.swappiness().filter(|value| *value > 100) {
        let field = "linux.resources.memory.swappiness";
        return Err(Error::invalid(field, swappiness, "must be from 0 to 100"));
    }
    Ok(())
}

#[allow(deprecated)] // Deprecated in the spec too, yet not to be taken unchecked.
fn kernel(memory: &LinuxMemory) -> Option<i64> {
    memory.kernel()
}

/// config-linux.md, "CPU".
pub fn cpu(spec: &Spec, _: &Given) -> Result<()> {
    let Some(cpu) = resources(spec).and_then(|resources| resources.cpu().as_ref()) else {
        return Ok(());
    };
    for (name, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        number_list(&format!("linux.resources.cpu.{name}"), list.as_deref().unwrap_or_default())?;
    }
    if let Some(idle) = cpu.idle().filter(|idle| !matches!(idle, 0 | 1)) {
        return Err(Error::invalid("linux.resources.cpu.idle", idle, "must be 0 or 1"));
    }
    if let (Some(burst), Some(quota @ 1..)) = (cpu.burst(), cpu.quota())
        && i64::try_from(burst).map_or(true, |burst| burst > quota)
    {
        let why = format!("is above the quota of {quota}");
        return Err(Error::invalid("linux.resources.cpu.burst", burst, why));
    }
    Ok(())
}

/// A list such as `0-3,7`; an empty one means unset.
pub fn number_list(field: &str, list: &str) -> Result<()> {
    match crate::list::List::parse(list) {
        Some(_) => Ok(()),
        None => {
            let why = "not a list of numbers and ranges such as \"0-3,7\"";
            Err(Error::invalid(field, list, why))
        }
    }
}

/// config-linux.md, "PIDs": a number, or -1 for no limit.
pub fn pids(spec: &Spec, _: &Given) -> Result<()> {
    match resources(spec).and_then(|resources| *resources.pids()) {
        Some(pids) if pids.limit() < -1 => {
            let field = "linux.resources.pids.limit";
            Err(Error::invalid(field, pids.limit(), "must be a number of tasks, or -1"))
        }
        _ => Ok(()),
    }
}

/// config-linux.md, "Block IO".
pub fn block_io(spec: &Spec, _: &Given) -> Result<()> {
    let Some(block) = resources(spec).and_then(|resources| resources.block_io().as_ref()) else {
        return Ok(());
    };
    let own = "linux.resources.blockIO";
    weight(&format!("{own}.weight"), block.weight())?;
    weight(&format!("{own}.leafWeight"), block.leaf_weight())?;
    for (index, device) in each(block.weight_device()) {
        let field = format!("{own}.weightDevice[{index}]");
        devices::numbers(&field, device.major(), device.minor())?;
        if device.weight().is_none() && device.leaf_weight().is_none() {
            return Err(Error::invalid_field(field, "needs weight or leafWeight"));
        }
        weight(&format!("{field}.weight"), device.weight())?;
        weight(&format!("{field}.leafWeight"), device.leaf_weight())?;
    }
    throttles(own, block)
}

fn throttles(own: &str, block: &LinuxBlockIo) -> Result<()> {
    for (name, list) in [
        ("throttleReadBpsDevice", block.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", block.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", block.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", block.throttle_write_iops_device()),
    ] {
        for (index, device) in each(list) {
            devices::numbers(&format!("{own}.{name}[{index}]"), device.major(), device.minor())?;
        }
    }
    Ok(())
}

/// The range of cgroup v1, which the spec's weights are in; 0 is "not set".
fn weight(field: &str, weight: Option<u16>) -> Result<()> {
    match weight {
        None | Some(0 | 10..=1000) => Ok(()),
        Some(weight) => Err(Error::invalid(field, weight, "must be from 10 to 1000, or 0")),
    }
}

/// config-linux.md, "Huge page limits".
pub fn hugepages(spec: &Spec, _: &Given) -> Result<()> {
    let Some(resources) = resources(spec) else { return Ok(()) };
    for (index, entry) in each(resources.hugepage_limits()) {
        let field = |name: &str| format!("linux.resources.hugepageLimits[{index}].{name}");
        let size = entry.page_size();
        let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
        let good = digits.is_some_and(|digits| {
            !digits.is_empty()
                && !digits.starts_with('0')
                && digits.bytes().all(|b| b.is_ascii_digit())
        });
        if !good {
            let why = "must be a number and KB, MB or GB, such as \"2MB\"";
            return Err(Error::invalid(field("pageSize"), size, why));
        }
        if entry.limit() < 0 {
            return Err(Error::invalid(field("limit"), entry.limit(), "must not be negative"));
        }
    }
    Ok(())
}

/// config-linux.md, "Network": a name with a space would end the line written to the kernel.
pub fn network(spec: &Spec, _: &Given) -> Result<()> {
    let network = resources(spec).and_then(|resources| resources.network().as_ref());
    let Some(network) = network else { return Ok(()) };
    for (index, priority) in each(network.priorities()) {
        let field = format!("linux.resources.network.priorities[{index}].name");
        super::linux::device_name(&field, priority.name())?;
    }
    Ok(())
}

/// config-linux.md, "RDMA": at least one limit an entry.
pub fn rdma(spec: &Spec, _: &Given) -> Result<()> {
    let Some(rdma) = resources(spec).and_then(|resources| resources.rdma().as_ref()) else {
        return Ok(());
    };
    let mut entries: Vec<_> = rdma.iter().collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    for (name, entry) in entries {
        if name.is_empty() || name.contains(|c: char| c.is_ascii_whitespace()) {
            return Err(Error::invalid("linux.resources.rdma", name, "not the name of a device"));
        }
        if entry.hca_handles().is_none() && entry.hca_objects().is_none() {
            let field = format!("linux.resources.rdma.{name}");
            return Err(Error::invalid_field(field, "needs hcaHandles or hcaObjects"));
        }
    }
    Ok(())
}

/// config-linux.md, "Unified": a key is the name of one file in the container's own cgroup.
pub fn unified(spec: &Spec, _: &Given) -> Result<()> {
    let Some(unified) = resources(spec).and_then(|resources| resources.unified().as_ref()) else {
        return Ok(());
    };
    let bad = |key: &&String| key.contains('/') || matches!(key.as_str(), "" | "." | "..");
    match unified.keys().filter(bad).min() {
        Some(key) => {
            Err(Error::invalid("linux.resources.unified", key, "must be the name of one file"))
        }
        None => Ok(()),
    }
}
