//! New limits for an existing container: parses the values of `update` and merges them with the
//! current values.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxInterfacePriority, LinuxMemory, LinuxNetwork,
    LinuxResources, LinuxThrottleDevice, LinuxWeightDevice, LinuxWeightDeviceBuilder,
};

use super::{keys, load, members};
use crate::{Context, Result};

/// The limits to change: a `linux.resources` object in which unset members are absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes(LinuxResources);

impl Changes {
    /// Parses a `linux.resources` object; `name` is the name of the text in errors. Members that
    /// the specification does not have are ignored (config.md, "Extensibility") with an entry in
    /// `warnings`: they may be misspelt limits.
    pub fn parse(raw: &[u8], name: &str, warnings: &mut Vec<String>) -> Result<Changes> {
        Changes::read(raw, warnings).with_context(|| name.to_owned())
    }

    fn read(raw: &[u8], warnings: &mut Vec<String>) -> Result<Changes> {
        let text = load::text(raw)?;
        let text = members::correct(text, keys::RESOURCES, "linux.resources", true, warnings)?;
        // Parse the limits within a configuration, so that all its rules apply and errors name the
        // fields.
        let spec = format!("{{\"ociVersion\":\"1.0.0\",\"linux\":{{\"resources\":{text}}}}}");
        let spec = load::parse_text(&spec, warnings)?;
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        Ok(resources.map(Changes::new).unwrap_or_default())
    }

    /// Returns the members that are set.
    pub fn new(resources: &LinuxResources) -> Changes {
        let mut changes = LinuxResources::default();
        merge(&mut changes, resources);
        Changes(changes)
    }

    /// Returns the changes as a resources object.
    pub fn resources(&self) -> &LinuxResources {
        &self.0
    }

    /// Returns `old` with the changes applied.
    pub fn merge_into(&self, old: &LinuxResources) -> LinuxResources {
        let mut new = old.clone();
        merge(&mut new, &self.0);
        new
    }
}

/// Sets the members of `$old` for which `$new` has a value other than `$unset`.
macro_rules! merge {
    ($old:ident, $new:ident, $unset:expr, $($get:ident $set:ident),+) => {
        $(if let Some(value) = $new.$get().filter(|value| *value != $unset) {
            $old.$set(Some(value));
        })+
    };
    ($old:ident, $new:ident, $($get:ident $set:ident),+) => {
        $(if let Some(value) = $new.$get() {
            $old.$set(Some(value));
        })+
    };
}

/// Merges `new` into `old`. In many fields 0 means "unset" (config-linux.md, "Control groups");
/// unset members keep their value.
fn merge(old: &mut LinuxResources, new: &LinuxResources) {
    section(old.memory_mut(), new.memory(), memory);
    section(old.cpu_mut(), new.cpu(), cpu);
    section(old.block_io_mut(), new.block_io(), block_io);
    section(old.network_mut(), new.network(), network);
    if let Some(pids) = new.pids() {
        old.set_pids(Some(*pids));
    }
    // Device rules depend on their order, so a new list replaces the old list.
    if let Some(rules) = new.devices().as_ref().filter(|rules| !rules.is_empty()) {
        old.set_devices(Some(rules.clone()));
    }
    let name = |limit: &LinuxHugepageLimit| limit.page_size().clone();
    let limits = entries(old.hugepage_limits(), new.hugepage_limits(), name, |_, new| new.clone());
    old.set_hugepage_limits(limits);
    for (name, new) in new.rdma().iter().flatten() {
        let old = old.rdma_mut().get_or_insert_default().entry(name.clone()).or_default();
        *old.hca_handles_mut() = new.hca_handles().or(old.hca_handles());
        *old.hca_objects_mut() = new.hca_objects().or(old.hca_objects());
    }
    if let Some(new) = new.unified().as_ref().filter(|files| !files.is_empty()) {
        old.unified_mut().get_or_insert_default().extend(new.clone());
    }
}

/// Merges a section; a section without set members stays absent.
fn section<T: Clone + Default + PartialEq>(
    old: &mut Option<T>,
    new: &Option<T>,
    merge: impl Fn(&mut T, &T),
) {
    let Some(new) = new else { return };
    let mut merged = old.clone().unwrap_or_default();
    merge(&mut merged, new);
    if old.is_some() || merged != T::default() {
        *old = Some(merged);
    }
}

fn memory(old: &mut LinuxMemory, new: &LinuxMemory) {
    // An unlimited memory implies unlimited memory plus swap.
    if new.limit() == Some(-1) {
        old.set_swap(None);
    }
    merge!(old, new, 0, limit set_limit, reservation set_reservation, swap set_swap);
    #[allow(deprecated)] // The specification deprecates it, but engines set it.
    {
        merge!(old, new, 0, kernel set_kernel);
    }
    merge!(old, new, 0, kernel_tcp set_kernel_tcp);
    // -1, which means "unset", in a field that is unsigned.
    merge!(old, new, u64::MAX, swappiness set_swappiness);
    merge!(old, new, disable_oom_killer set_disable_oom_killer, use_hierarchy set_use_hierarchy);
    merge!(old, new, check_before_update set_check_before_update);
}

fn cpu(old: &mut LinuxCpu, new: &LinuxCpu) {
    merge!(old, new, 0, shares set_shares, quota set_quota, period set_period);
    merge!(old, new, 0, realtime_runtime set_realtime_runtime);
    merge!(old, new, 0, realtime_period set_realtime_period);
    merge!(old, new, burst set_burst, idle set_idle);
    let set = |list: &Option<String>| list.clone().filter(|list| !list.trim().is_empty());
    old.set_cpus(set(new.cpus()).or(old.cpus().clone()));
    old.set_mems(set(new.mems()).or(old.mems().clone()));
}

fn block_io(old: &mut LinuxBlockIo, new: &LinuxBlockIo) {
    merge!(old, new, 0, weight set_weight, leaf_weight set_leaf_weight);
    let device = |entry: &LinuxWeightDevice| (entry.major(), entry.minor());
    let list = entries(old.weight_device(), new.weight_device(), device, weight_device);
    old.set_weight_device(list);
    let throttles = |old: &Option<Vec<LinuxThrottleDevice>>, new: &_| {
        entries(old, new, |entry| (entry.major(), entry.minor()), |_, new| *new)
    };
    let list = throttles(old.throttle_read_bps_device(), new.throttle_read_bps_device());
    old.set_throttle_read_bps_device(list);
    let list = throttles(old.throttle_write_bps_device(), new.throttle_write_bps_device());
    old.set_throttle_write_bps_device(list);
    let list = throttles(old.throttle_read_iops_device(), new.throttle_read_iops_device());
    old.set_throttle_read_iops_device(list);
    let list = throttles(old.throttle_write_iops_device(), new.throttle_write_iops_device());
    old.set_throttle_write_iops_device(list);
}

fn weight_device(old: &LinuxWeightDevice, new: &LinuxWeightDevice) -> LinuxWeightDevice {
    let mut merged = LinuxWeightDeviceBuilder::default().major(new.major()).minor(new.minor());
    if let Some(weight) = new.weight().or(old.weight()) {
        merged = merged.weight(weight);
    }
    if let Some(weight) = new.leaf_weight().or(old.leaf_weight()) {
        merged = merged.leaf_weight(weight);
    }
    merged.build().unwrap_or(*new)
}

fn network(old: &mut LinuxNetwork, new: &LinuxNetwork) {
    merge!(old, new, 0, class_id set_class_id);
    let name = |entry: &LinuxInterfacePriority| entry.name().clone();
    old.set_priorities(entries(old.priorities(), new.priorities(), name, |_, new| new.clone()));
}

/// Merges two lists; `key` identifies an entry. The last entry of a key counts.
fn entries<T: Clone, K: PartialEq>(
    old: &Option<Vec<T>>,
    new: &Option<Vec<T>>,
    key: impl Fn(&T) -> K,
    merge: impl Fn(&T, &T) -> T,
) -> Option<Vec<T>> {
    let mut all = old.clone();
    for entry in new.iter().flatten() {
        let all = all.get_or_insert_default();
        match all.iter_mut().rfind(|old| key(old) == key(entry)) {
            Some(old) => *old = merge(old, entry),
            None => all.push(entry.clone()),
        }
    }
    all
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
