//! Targets for code that is public in the crate.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::{Duration, UNIX_EPOCH};

use super::{Input, assert_one_line, reached};
use crate::config::{IdMap, IdMaps};
use crate::list::List;
use crate::protocol::{self, ToInit, ToParent};
use crate::state::Id;
use crate::sys::fdpass;
use crate::{Error, Kind, Signal, text};

/// Text from anywhere becomes text that is safe to show.
pub fn escape(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let line = text::one_line(text.clone());
    if !line.is_empty() {
        assert_one_line(&line);
    }
    assert_eq!(line.is_empty(), text.is_empty());
    assert_eq!(text::one_line(line.clone()), line, "a second time changes the text");
    let value = text::value(&text);
    assert!(value.chars().count() <= text::VALUE + 40, "{}", value.len());
    let part = text::part(text.clone());
    assert!(part.chars().count() <= text::PART + 5, "{}", part.len());
    if text.chars().count() <= text::PART {
        assert_eq!(part, text);
    }
    for error in [
        Error::invalid("field", &text, "why"),
        Error::invalid_field(&text, "why"),
        Error::new(Kind::State, text.as_str()).context("operation").advice(&text),
    ] {
        assert_one_line(&error.to_string());
    }
    let value = serde_json::from_slice(data).unwrap_or(serde_json::Value::String(text));
    let json = text::json(value.to_string());
    assert_one_line(&json);
    // Parsed from text both, which can round a number.
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(&json), parsed(&value.to_string()));
    reached();
    let mut input = Input::new(data);
    let at = UNIX_EPOCH.checked_add(Duration::new(input.number(), u32::from(input.byte())));
    if let Some(at) = at {
        let back = humantime::parse_rfc3339(&text::rfc3339(at)).unwrap();
        assert!(back == at || back == UNIX_EPOCH, "{at:?} {back:?}");
    }
}

/// Short notations of the command line and of control files: lists, signals, ids, id maps.
pub fn words(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    match kind % 4 {
        0 => lists(&text),
        1 => signals(&text),
        2 => ids(&text),
        _ => id_maps(&text),
    }
}

fn lists(text: &str) {
    let (first, second) = text.split_once(';').unwrap_or((text, ""));
    let (Some(list), Some(other)) = (list(first), list(second)) else { return };
    let left = list.without(&other);
    if list.last().is_none_or(|last| last < 4096) {
        let other: BTreeSet<u32> = other.iter().take_while(|number| *number < 4096).collect();
        let expected: Vec<u32> = list.iter().filter(|number| !other.contains(number)).collect();
        assert_eq!(left.iter().collect::<Vec<_>>(), expected, "{text}");
    }
    assert_eq!(left, left.without(&other), "{text}");
    assert_eq!(List::parse(&left.to_string()), Some(left), "{text}");
}

/// Parses a list, and compares it with a set of numbers.
fn list(text: &str) -> Option<List> {
    let list = List::parse(text);
    let allowed = |c: char| c.is_ascii_digit() || c == ',' || c == '-';
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse::<u32>().ok()?, last.parse::<u32>().ok()?))
            .filter(|(first, last)| first <= last)
    };
    let parts = text.split(',').filter(|_| !text.is_empty());
    let parts: Option<Vec<_>> = parts.map(part).collect();
    let parts = parts.filter(|_| text.chars().all(allowed));
    assert_eq!(list.is_some(), parts.is_some(), "{text:?}");
    let (list, parts) = (list?, parts?);
    let shown = list.to_string();
    assert_eq!(List::parse(&shown).as_ref(), Some(&list), "{text} {shown}");
    assert_eq!(list.last(), parts.iter().map(|(_, last)| *last).max(), "{text}");
    assert_eq!(list.is_empty(), text.is_empty());
    assert!(shown.len() <= text.len(), "{text} became longer: {shown}");
    if list.last().is_none_or(|last| last < 4096) {
        let expected: BTreeSet<u32> = parts.iter().flat_map(|(a, b)| *a..=*b).collect();
        assert!(list.iter().eq(expected.iter().copied()), "{text}");
        assert_eq!(list.len(), expected.len() as u64, "{text}");
        let mask = list.mask(4096).unwrap();
        let bits = (0..mask.len() as u32 * 8).filter(|n| mask[*n as usize / 8] >> (n % 8) & 1 == 1);
        assert!(bits.eq(expected), "{text}");
        assert!(mask.last() != Some(&0), "{text}");
    } else {
        assert_eq!(list.mask(4096), None, "{text}");
    }
    reached();
    Some(list)
}

fn signals(text: &str) {
    match text.parse::<Signal>() {
        Ok(signal) => {
            assert!((0..=64).contains(&signal.number()), "{text}");
            reached();
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal, "{text}");
            assert_eq!(text.to_lowercase().parse::<Signal>().unwrap(), signal, "{text}");
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-".contains(&b)));
        }
        Err(error) => {
            assert_one_line(&error.to_string());
            let number = text.parse::<u8>().is_ok_and(|number| number <= 64);
            assert!(!number || text.starts_with('+'), "{text}");
        }
    }
}

fn ids(text: &str) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    let expected = (1..=255).contains(&text.len())
        && text.chars().all(allowed)
        && !text.chars().all(|c| c == '.' && text.len() < 3);
    match Id::new(text) {
        Ok(id) => assert!(expected && id.as_str() == text, "{text:?}"),
        Err(error) => {
            assert!(!expected, "{text:?}");
            assert_one_line(&error.to_string());
        }
    }
}

fn id_maps(text: &str) {
    let Some(maps) = IdMaps::parse(text) else { return };
    assert!(maps.is_sorted_by_key(|map| map.inside), "{text:?}");
    assert_eq!(IdMaps::parse(&IdMaps::text(&maps)).as_ref(), Some(&maps), "{text:?}");
    if let Err(error) = IdMap::check("linux.uidMappings", &maps) {
        let error = error.to_string();
        assert_one_line(&error);
        assert!(error.starts_with("linux.uidMappings"), "{error}");
        return;
    }
    assert!(maps.len() <= 340);
    // Every id of a valid map has one id outside, and no two ids have the same.
    for (index, map) in maps.iter().enumerate() {
        assert!(map.size > 0 && map.inside.checked_add(map.size).is_some());
        for offset in [0, map.size / 2, map.size - 1] {
            let outside = IdMaps::outside(&maps, map.inside + offset);
            assert_eq!(outside, Some(map.outside + offset), "{text:?}");
            let shared = maps.iter().enumerate().any(|(other, there)| {
                other != index
                    && (there.outside..there.outside + there.size).contains(&(map.outside + offset))
            });
            assert!(!shared, "{text:?}");
        }
    }
    assert_eq!(IdMaps::outside(&maps, u32::MAX), None);
    reached();
}

/// The messages of a process that a container may have taken over.
pub fn protocol(data: &[u8]) {
    let (runtime, init) = protocol::pair().unwrap();
    let mut input = Input::new(data);
    let with_fd = input.flag();
    let round_trip = input.flag();
    if round_trip {
        return sent(&mut input, &runtime, &init);
    }
    let packet = input.rest();
    if packet.is_empty() || packet.len() > 2 * protocol::MAX {
        return;
    }
    let fd = with_fd.then_some(init.fd());
    fdpass::send_with_fd(init.fd(), packet, fd).unwrap();
    match runtime.next() {
        Ok(message) => {
            // Every byte of a message has a meaning.
            let message = message.expect("a message");
            assert!(packet.len() <= protocol::MAX);
            if let ToParent::Failed(error) = &message {
                return assert_error(error);
            }
            let is_fd = matches!(&message, ToParent::NeedIdmap(..) | ToParent::Console(_));
            assert_eq!(is_fd, with_fd, "{packet:?}");
            init.tell_parent(&message).unwrap();
            let again = runtime.next().unwrap().unwrap();
            assert_eq!(shown(&again), shown(&message), "{packet:?}");
            reached();
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
    if let Some(error) = protocol::decode_error(packet) {
        assert_error(&error);
    }
    runtime.tell_init(ToInit::Go).unwrap();
    init.wait_for(ToInit::Go).unwrap();
}

/// Checks that an error from a packet can be shown and sent again.
fn assert_error(error: &Error) {
    let text = error.to_string();
    if !text.is_empty() {
        assert_one_line(&text);
    }
    let encoded = protocol::encode_error(error);
    assert!(encoded.len() <= protocol::MAX);
    let back = protocol::decode_error(&encoded).unwrap();
    assert_eq!((back.kind(), back.raw_os_error()), (error.kind(), error.raw_os_error()));
    if encoded.len() < protocol::MAX {
        assert_eq!(back.to_string(), text);
    }
    assert_eq!(back.cause(), error.cause());
}

/// Sends an error with a chain of texts, and reads it.
fn sent(input: &mut Input<'_>, runtime: &protocol::Socket, init: &protocol::Socket) {
    let kinds = [Kind::Invalid, Kind::NotFound, Kind::State, Kind::System];
    let mut error = match input.byte() {
        errno @ 1..=133 => Error::sys(nix::errno::Errno::from_raw(errno.into())),
        _ => Error::new(input.pick(&kinds), input.text(255)),
    };
    for _ in 0..input.below(8) {
        error = error.context(input.text(255));
    }
    init.tell_parent(&ToParent::Failed(error.clone())).unwrap();
    let Some(ToParent::Failed(back)) = runtime.next().unwrap() else { panic!("{error}") };
    assert_eq!(back.to_string(), error.to_string());
    assert_eq!((back.kind(), back.raw_os_error()), (error.kind(), error.raw_os_error()));
    assert!(back.texts().eq(error.texts()));
}

/// Formats a message without the number of its descriptor.
fn shown(message: &ToParent) -> String {
    match message {
        ToParent::Console(fd) => format!("Console {}", fd.as_fd().try_clone_to_owned().is_ok()),
        ToParent::NeedIdmap(index, _) => format!("NeedIdmap {index}"),
        other => format!("{other:?}"),
    }
}
