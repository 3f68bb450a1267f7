//! Id mappings (user_namespaces(7)): of the user namespace (`linux.uidMappings`,
//! `linux.gidMappings`) and of idmapped mounts.

use oci_spec::runtime::{Linux, LinuxIdMapping};

use super::namespaces::{Choice, Namespaces};
use crate::host::Host;
use crate::{Error, Result};

/// The kernel's limit on the entries of a map.
const MAX_ENTRIES: usize = 340;

/// A line of uid_map or gid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// The number of ids.
    pub size: u32,
}

type Side = (&'static str, fn(&IdMap) -> u32);

const SIDES: [Side; 2] = [("containerID", |map| map.inside), ("hostID", |map| map.outside)];

impl IdMap {
    /// Parses a list of the configuration; `field` is its name in errors. A missing list is empty.
    pub fn list(field: &str, list: Option<&Vec<LinuxIdMapping>>) -> Result<Vec<IdMap>> {
        let maps: Vec<IdMap> = list
            .into_iter()
            .flatten()
            .map(|map| IdMap {
                inside: map.container_id(),
                outside: map.host_id(),
                size: map.size(),
            })
            .collect();
        IdMap::check(field, &maps)?;
        Ok(maps)
    }

    /// Refuses a list that the kernel would refuse.
    pub fn check(field: &str, maps: &[IdMap]) -> Result<()> {
        if maps.len() > MAX_ENTRIES {
            let why = format!("the kernel takes at most {MAX_ENTRIES} entries");
            return Err(Error::invalid(field, format_args!("{} entries", maps.len()), why));
        }
        for (index, map) in maps.iter().enumerate() {
            let size = map.size;
            if size == 0 {
                return Err(Error::invalid(format!("{field}[{index}].size"), 0, "must be above 0"));
            }
            for (side, start_of) in SIDES {
                let start = start_of(map);
                let name = || format!("{field}[{index}].{side}");
                // The kernel adds in 32 bits, and the last id, 4294967295, means "no id".
                if start.checked_add(size).is_none() {
                    let why = format!("with size {size} the range goes beyond 4294967294");
                    return Err(Error::invalid(name(), start, why));
                }
                let overlaps = |other: &IdMap| {
                    let (a, b) = (u64::from(start), u64::from(start_of(other)));
                    a < b + u64::from(other.size) && b < a + u64::from(size)
                };
                if let Some(other) = maps.iter().take(index).position(overlaps) {
                    let why = format!("the range of {size} ids overlaps that of entry {other}");
                    return Err(Error::invalid(name(), start, why));
                }
            }
        }
        Ok(())
    }
}

/// The writer of the maps of a new user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The runtime, with CAP_SETUID in the parent namespace: any map is possible, and setgroups(2)
    /// stays allowed.
    Privileged,
    /// The runtime without CAP_SETUID: it can map only its own id, and must deny setgroups(2)
    /// first.
    Own,
    /// The set-user-id helpers newuidmap(1) and newgidmap(1), within the ranges of /etc/subuid and
    /// /etc/subgid.
    Helpers,
}

/// The maps of a user namespace, and their writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// The contents of uid_map.
    pub uids: Vec<IdMap>,
    /// The contents of gid_map.
    pub gids: Vec<IdMap>,
    /// The writer of the maps, if the namespace is new.
    pub writer: Writer,
}

impl IdMaps {
    /// Parses `linux.uidMappings` and `linux.gidMappings` (config-linux.md, "User namespace
    /// mappings"). A new user namespace needs both. For a namespace to join they may repeat its
    /// mappings.
    pub fn new(linux: &Linux, namespaces: &Namespaces, host: &Host) -> Result<Option<IdMaps>> {
        let lists = [
            ("linux.uidMappings", linux.uid_mappings()),
            ("linux.gidMappings", linux.gid_mappings()),
        ];
        let given = lists.map(|(_, list)| list.as_ref().is_some_and(|list| !list.is_empty()));
        for ((field, _), has) in lists.iter().zip(given) {
            let why = match namespaces.user {
                Choice::Inherit if has => {
                    "mappings need a user namespace: add {\"type\": \"user\"} to linux.namespaces"
                }
                Choice::New if !has => "a new user namespace needs mappings",
                Choice::Join(_) if !has && given != [false; 2] => {
                    "uidMappings and gidMappings must be given together"
                }
                _ => continue,
            };
            return Err(Error::invalid_field(field, why));
        }
        if given == [false; 2] {
            return Ok(None);
        }
        let parse = |(field, list): (&str, &Option<Vec<LinuxIdMapping>>)| -> Result<Vec<IdMap>> {
            let maps = IdMap::list(field, list.as_ref())?;
            // Init becomes root of the namespace to set up the container.
            if IdMaps::outside(&maps, 0).is_none() {
                return Err(Error::invalid_field(field, "id 0 of the container is not mapped"));
            }
            Ok(maps)
        };
        let [uids, gids] = lists;
        let (uids, gids) = (parse(uids)?, parse(gids)?);
        let writer = if host.can_map_any_id() || namespaces.user != Choice::New {
            Writer::Privileged
        } else if own_only(&uids, host.uid) && own_only(&gids, host.gid) {
            Writer::Own
        } else {
            Writer::Helpers
        };
        Ok(Some(IdMaps { uids, gids, writer }))
    }

    /// Returns the entries sorted by the ids inside.
    pub fn sorted(maps: &[IdMap]) -> Vec<IdMap> {
        let mut maps = maps.to_vec();
        maps.sort_unstable_by_key(|map| map.inside);
        maps
    }

    /// Whether the namespace denies setgroups(2).
    pub fn denies_setgroups(&self) -> bool {
        self.writer == Writer::Own
    }

    /// Returns the text for a map file.
    pub fn text(maps: &[IdMap]) -> String {
        maps.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.size)).collect()
    }

    /// Parses a map file; the entries are sorted by the ids inside.
    pub fn parse(text: &str) -> Option<Vec<IdMap>> {
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
            let mut next = || numbers.next().flatten();
            Some(IdMap { inside: next()?, outside: next()?, size: next()? })
        };
        let maps = text.lines().map(line).collect::<Option<Vec<_>>>()?;
        Some(IdMaps::sorted(&maps))
    }

    /// Returns the id outside for the id `id` inside, if it is mapped.
    pub fn outside(maps: &[IdMap], id: u32) -> Option<u32> {
        maps.iter().find_map(|map| {
            let offset = id.checked_sub(map.inside).filter(|offset| *offset < map.size)?;
            map.outside.checked_add(offset)
        })
    }
}

fn own_only(maps: &[IdMap], id: u32) -> bool {
    matches!(maps, [map] if map.size == 1 && map.outside == id)
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
        assert_eq!(IdMaps::parse(&IdMaps::text(&maps)).unwrap(), maps);
        assert_eq!(IdMaps::parse("0 x 1\n"), None);
        assert_eq!(IdMaps::outside(&maps, 0), Some(1000));
        assert_eq!(IdMaps::outside(&maps, 65_535), Some(165_534));
        assert_eq!(IdMaps::outside(&maps, 65_536), None);
        assert!(own_only(&maps[..1], 1000) && !own_only(&maps, 1000));
    }
}
