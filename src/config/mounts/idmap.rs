//! The value of the mount options `idmap=` and `ridmap=`: a mapping for this mount alone, in the
//! syntax that crun(1) defines under "idmap mount options":
//! `uids=A-B-N#A-B-N...;gids=A-B-N...`. It maps the N ids from A on in the file system to those
//! from B on on the host, or, with `@` before A, to those from B on in the container.

use crate::config::ids::{IdMap, IdMaps};
use crate::config::namespaces::{Choice, Namespaces};
use crate::list::number;

/// A mapping as it is written in the option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    uids: Option<Vec<Range>>,
    gids: Option<Vec<Range>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    /// The ids in the file system (inside) and on the host, or in the container if `relative`
    /// (outside).
    map: IdMap,
    relative: bool,
}

/// The user namespace of the container, as far as its mappings are known before it is entered.
#[derive(Debug, Clone, Copy)]
pub enum Users<'a> {
    /// The container has no user namespace of its own.
    Host,
    /// An existing namespace, whose mappings are not in the configuration.
    Joined,
    /// A new namespace, with these mappings of user and group ids.
    New(&'a [IdMap], &'a [IdMap]),
}

impl<'a> Users<'a> {
    /// Returns the user namespace of a container with the mappings `ids`, which count for a new
    /// namespace only.
    pub fn of(namespaces: &Namespaces, ids: Option<&'a IdMaps>) -> Users<'a> {
        match (&namespaces.user, ids) {
            (Choice::New, Some(ids)) => Users::New(&ids.uids, &ids.gids),
            (Choice::Inherit, _) => Users::Host,
            _ => Users::Joined,
        }
    }
}

/// The mappings of user and group ids.
pub type Pair = (Vec<IdMap>, Vec<IdMap>);

const SYNTAX: &str = "expected uids=ID-HOSTID-SIZE and gids=ID-HOSTID-SIZE, separated by \";\", with \
     \"#\" between several ranges and \"@\" before one that is relative to the container's user \
     namespace";
const JOINED: &str = "a mapping relative to a user namespace that is joined by path is not \
     supported, and both uids= and gids= are needed there";
const NO_USERS: &str = "a relative mapping (\"@\") needs a user namespace with mappings";
const UNMAPPED: &str =
    "the relative mapping has ids that the container's user namespace does not map";

/// Every id: 4294967295 means "no id".
const IDENTITY: IdMap = IdMap { inside: 0, outside: 0, size: u32::MAX };

impl Ranges {
    /// Parses the value of `idmap=`. The error is the reason.
    pub fn parse(value: &str) -> Result<Ranges, &'static str> {
        let mut ranges = Ranges { uids: None, gids: None };
        for part in value.split(';') {
            let (side, list) = match part.split_once('=') {
                Some(("uids", list)) => (&mut ranges.uids, list),
                Some(("gids", list)) => (&mut ranges.gids, list),
                _ => return Err(SYNTAX),
            };
            if side.is_some() {
                return Err("uids= and gids= can be given only once each");
            }
            *side = Some(list.split('#').map(Range::parse).collect::<Option<_>>().ok_or(SYNTAX)?);
        }
        Ok(ranges)
    }

    /// Returns the mappings, with every range relative to the container made absolute. A kind of id
    /// that the option does not mention (only `uids=`, or only `gids=`) gets the container's
    /// mapping, as with a plain `idmap`; without a user namespace its ids stay unchanged.
    pub fn resolve(&self, users: Users<'_>) -> Result<Pair, &'static str> {
        let (uids, gids) = match users {
            Users::Host => (None, None),
            Users::Joined if self.uids.is_none() || self.gids.is_none() => return Err(JOINED),
            Users::Joined => (None, None),
            Users::New(uids, gids) => (Some(uids), Some(gids)),
        };
        let unknown = if matches!(users, Users::Joined) { JOINED } else { NO_USERS };
        Ok((side(&self.uids, uids, unknown)?, side(&self.gids, gids, unknown)?))
    }
}

fn side(
    ranges: &Option<Vec<Range>>,
    container: Option<&[IdMap]>,
    unknown: &'static str,
) -> Result<Vec<IdMap>, &'static str> {
    let Some(ranges) = ranges else {
        return Ok(container.map_or_else(|| vec![IDENTITY], <[IdMap]>::to_vec));
    };
    let mut maps = Vec::with_capacity(ranges.len());
    for range in ranges {
        if range.relative {
            through(range.map, container.ok_or(unknown)?, &mut maps)?;
        } else {
            maps.push(range.map);
        }
    }
    Ok(maps)
}

/// Translates the container's ids to the host's. A range can span several ranges of the container.
fn through(map: IdMap, container: &[IdMap], maps: &mut Vec<IdMap>) -> Result<(), &'static str> {
    let mut left = map;
    while left.size > 0 {
        let found = container.iter().find_map(|c| {
            let offset = left.outside.checked_sub(c.inside).filter(|offset| *offset < c.size)?;
            let size = left.size.min(c.size - offset);
            Some((c.outside.checked_add(offset)?, size))
        });
        let (outside, size) = found.ok_or(UNMAPPED)?;
        maps.push(IdMap { inside: left.inside, outside, size });
        left = IdMap {
            inside: left.inside.checked_add(size).ok_or(UNMAPPED)?,
            outside: left.outside.checked_add(size).ok_or(UNMAPPED)?,
            size: left.size - size,
        };
    }
    Ok(())
}

impl Range {
    fn parse(text: &str) -> Option<Range> {
        let from_container = text.strip_prefix('@');
        let relative = from_container.is_some();
        let mut numbers = from_container.unwrap_or(text).split('-').map(number);
        let (inside, outside, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let whole = numbers.next().is_none() && size > 0;
        whole.then_some(Range { map: IdMap { inside, outside, size }, relative })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(inside: u32, outside: u32, size: u32) -> IdMap {
        IdMap { inside, outside, size }
    }

    fn resolved(value: &str, users: Users<'_>) -> Result<Pair, &'static str> {
        Ranges::parse(value).unwrap().resolve(users)
    }

    #[test]
    fn absolute_ranges() {
        let (uids, gids) = resolved("uids=0-1-10#10-11-10;gids=0-100-10", Users::Host).unwrap();
        assert_eq!(uids, [map(0, 1, 10), map(10, 11, 10)]);
        assert_eq!(gids, [map(0, 100, 10)]);
        assert!(resolved("uids=0-1-1;gids=0-1-1", Users::Joined).is_ok());
    }

    #[test]
    fn relative_ranges_go_through_the_containers() {
        let container = [map(0, 0, 1), map(1, 2, 1000), map(1001, 5000, 10)];
        let users = Users::New(&container, &container);
        let uids = |value| resolved(value, users).map(|pair| pair.0);
        // The example of crun(1).
        assert_eq!(uids("uids=@1-3-10"), Ok(vec![map(1, 4, 10)]));
        assert_eq!(uids("uids=@7-0-3"), Ok(vec![map(7, 0, 1), map(8, 2, 2)]));
        assert_eq!(
            uids("uids=@0-1000-5#9-9-1"),
            Ok(vec![map(0, 1001, 1), map(1, 5000, 4), map(9, 9, 1),])
        );
        assert_eq!(uids("uids=@0-1005-7"), Err(UNMAPPED));
        assert_eq!(uids("uids=@0-4000-1"), Err(UNMAPPED));
        assert_eq!(resolved("uids=@0-0-1;gids=0-0-1", Users::Host), Err(NO_USERS));
        assert_eq!(resolved("uids=@0-0-1;gids=0-0-1", Users::Joined), Err(JOINED));
    }

    #[test]
    fn ids_that_are_not_mentioned() {
        let (users, groups) = ([map(0, 1000, 5)], [map(0, 2000, 5)]);
        let of = |value| resolved(value, Users::New(&users, &groups)).unwrap();
        assert_eq!(of("uids=1-2-3"), (vec![map(1, 2, 3)], groups.to_vec()));
        assert_eq!(of("gids=1-2-3"), (users.to_vec(), vec![map(1, 2, 3)]));
        assert_eq!(resolved("uids=1-2-3", Users::Host).unwrap().1, [IDENTITY]);
        assert_eq!(resolved("uids=1-2-3", Users::Joined), Err(JOINED));
    }

    #[test]
    fn anything_else_is_refused() {
        for value in [
            "",
            "true",
            "uids",
            "uids=",
            "uids=1",
            "uids=1-2",
            "uids=1-2-3-4",
            "uids=1-2-0",
            "uids=1-2-3#",
            "uids=#1-2-3",
            "uids=1-2-3;",
            "uids=1-2-3;x=1-2-3",
            "uids=+1-2-3",
            "uids=1--2-3",
            "uids=a-b-c",
            "uids=1-2-4294967296",
            "uids=1-2-3;uids=1-2-3",
            "uids=@@1-2-3",
            "uids= 1-2-3",
            "Uids=1-2-3",
        ] {
            assert!(Ranges::parse(value).is_err(), "{value:?}");
        }
    }
}
