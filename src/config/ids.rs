//! Mappings of a new user namespace, user_namespaces(7).

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder};

use super::namespaces::{Choice, Namespaces};
use crate::host::Host;
use crate::{Error, Result};

/// One line of uid_map or gid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

impl From<&LinuxIdMapping> for IdMap {
    fn from(map: &LinuxIdMapping) -> Self {
        IdMap { inside: map.container_id(), outside: map.host_id(), size: map.size() }
    }
}

impl From<&IdMap> for LinuxIdMapping {
    fn from(map: &IdMap) -> Self {
        let builder = LinuxIdMappingBuilder::default().container_id(map.inside);
        // Every field has a default, so that this cannot fail.
        builder.host_id(map.outside).size(map.size).build().unwrap_or_default()
    }
}

/// Who writes the maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The runtime, with CAP_SETUID in the parent namespace: any map, setgroups stays allowed.
    Privileged,
    /// The runtime without it: its own id alone, and setgroups must be denied first.
    Own,
    /// The set-id helpers newuidmap(1) and newgidmap(1), by the ranges of /etc/subuid.
    Helpers,
}

/// Both maps, and how they get written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// uid_map
    pub uids: Vec<IdMap>,
    /// gid_map
    pub gids: Vec<IdMap>,
    /// By whom.
    pub writer: Writer,
}

impl IdMaps {
    /// `linux.uidMappings` and `linux.gidMappings`; `None` unless a user namespace is made.
    pub fn new(linux: &Linux, namespaces: &Namespaces, host: &Host) -> Result<Option<IdMaps>> {
        if namespaces.user != Choice::New {
            return Ok(None);
        }
        let (uids, gids) = read(linux);
        if uids.is_empty() || gids.is_empty() {
            let field = if uids.is_empty() { "linux.uidMappings" } else { "linux.gidMappings" };
            return Err(Error::invalid_field(field, "empty, but a user namespace is to be made"));
        }
        let writer = if host.can_map_any_id() {
            Writer::Privileged
        } else if own_only(&uids, host.uid) && own_only(&gids, host.gid) {
            Writer::Own
        } else {
            Writer::Helpers
        };
        Ok(Some(IdMaps { uids, gids, writer }))
    }

    /// The mappings that are given beside a user namespace to join: a copy of its own, or a mistake.
    pub fn copied(linux: &Linux, namespaces: &Namespaces) -> Option<IdMaps> {
        namespaces.user.path()?;
        let (uids, gids) = read(linux);
        let none = uids.is_empty() && gids.is_empty();
        (!none).then_some(IdMaps { uids, gids, writer: Writer::Privileged })
    }

    /// The same entries by the ids inside.
    pub fn sorted(maps: &[IdMap]) -> Vec<IdMap> {
        let mut maps = maps.to_vec();
        maps.sort_unstable_by_key(|map| map.inside);
        maps
    }

    /// Whether setgroups(2) will be refused in the namespace.
    pub fn denies_setgroups(&self) -> bool {
        self.writer == Writer::Own
    }

    /// The text of a map file.
    pub fn text(maps: &[IdMap]) -> String {
        maps.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.size)).collect()
    }

    /// Reads a map file; the entries by the ids inside.
    pub fn parse(text: &str) -> Option<Vec<IdMap>> {
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
            let mut next = || numbers.next().flatten();
            Some(IdMap { inside: next()?, outside: next()?, size: next()? })
        };
        let maps = text.lines().map(line).collect::<Option<Vec<_>>>()?;
        Some(IdMaps::sorted(&maps))
    }

    /// The id outside of `id`.
    pub fn outside(maps: &[IdMap], id: u32) -> Option<u32> {
        maps.iter().find_map(|map| {
            let offset = id.checked_sub(map.inside).filter(|offset| *offset < map.size)?;
            map.outside.checked_add(offset)
        })
    }

    /// Whether `id` has an id outside.
    pub fn maps(maps: &[IdMap], id: u32) -> bool {
        maps.iter().any(|m| id >= m.inside && id - m.inside < m.size)
    }
}

fn read(linux: &Linux) -> (Vec<IdMap>, Vec<IdMap>) {
    let read =
        |list: &Option<Vec<LinuxIdMapping>>| list.iter().flatten().map(IdMap::from).collect();
    (read(linux.uid_mappings()), read(linux.gid_mappings()))
}

fn own_only(maps: &[IdMap], id: u32) -> bool {
    matches!(maps, [one] if one.size == 1 && one.outside == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_membership() {
        let maps = [
            IdMap { inside: 0, outside: 1000, size: 1 },
            IdMap { inside: 1, outside: 100_000, size: 65_535 },
        ];
        assert_eq!(IdMaps::text(&maps), "0 1000 1\n1 100000 65535\n");
        let file = "         1     100000      65535\n         0       1000          1\n";
        assert_eq!(IdMaps::parse(file).unwrap(), maps);
        assert!(IdMaps::maps(&maps, 0) && IdMaps::maps(&maps, 65_535));
        assert!(!IdMaps::maps(&maps, 65_536));
        assert_eq!(IdMaps::parse(&IdMaps::text(&maps)).unwrap(), maps);
        assert_eq!(IdMaps::parse("0 x 1\n"), None);
        assert_eq!(IdMaps::outside(&maps, 0), Some(1000));
        assert_eq!(IdMaps::outside(&maps, 65_535), Some(165_534));
        assert_eq!(IdMaps::outside(&maps, 65_536), None);
        assert!(own_only(&maps[..1], 1000) && !own_only(&maps, 1000));
    }
}
