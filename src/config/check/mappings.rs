//! Lists of id mappings: those of the user namespace and those of idmapped mounts.

use oci_spec::runtime::LinuxIdMapping;

use crate::{Error, Result};

/// The kernel's limit on entries of one map (user_namespaces(7)).
const MAX_ENTRIES: usize = 340;

type Side = (&'static str, fn(&LinuxIdMapping) -> u32);

const SIDES: [Side; 2] =
    [("containerID", |mapping| mapping.container_id()), ("hostID", |mapping| mapping.host_id())];

/// user_namespaces(7), "Defining user and group ID mappings".
pub fn check(field: &str, mappings: &[LinuxIdMapping]) -> Result<()> {
    if mappings.len() > MAX_ENTRIES {
        let why = format!("the kernel takes at most {MAX_ENTRIES} entries");
        return Err(Error::invalid(field, format_args!("{} entries", mappings.len()), why));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        if mapping.size() == 0 {
            return Err(Error::invalid(format!("{field}[{index}].size"), 0, "must be above 0"));
        }
        for (side, start_of) in SIDES {
            let (start, size) = (start_of(mapping), mapping.size());
            let name = || format!("{field}[{index}].{side}");
            // The kernel adds in 32 bits; the last id, 4294967295, means "no id".
            if start.checked_add(size).is_none() {
                let why = format!("with size {size} the range goes beyond 4294967294");
                return Err(Error::invalid(name(), start, why));
            }
            let overlaps = |other: &LinuxIdMapping| {
                let (a, b) = (u64::from(start), u64::from(start_of(other)));
                a < b + u64::from(other.size()) && b < a + u64::from(size)
            };
            if let Some(other) = mappings.iter().take(index).position(overlaps) {
                let why = format!("the range of {size} ids overlaps that of entry {other}");
                return Err(Error::invalid(name(), start, why));
            }
        }
    }
    Ok(())
}

/// The id outside of the namespace that `id` inside of it stands for, if it is mapped.
pub fn to_host(mappings: &[LinuxIdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|mapping| {
        let offset = id.checked_sub(mapping.container_id())?;
        (offset < mapping.size()).then(|| mapping.host_id().checked_add(offset))?
    })
}
