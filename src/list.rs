//! Lists of CPUs and memory nodes, such as `0-3,7`.

use std::fmt::{self, Display, Formatter};

/// A set of numbers in the list format of cpuset(7), kept as ascending ranges that neither overlap
/// nor touch, so that a range of any size takes a constant amount of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    ranges: Vec<(u32, u32)>,
}

impl List {
    /// Parses a list. Returns `None` for anything but decimal numbers and ascending ranges
    /// separated by commas; an empty text is an empty list.
    pub fn parse(text: &str) -> Option<List> {
        let mut ranges = Vec::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            ranges.push((first, last));
        }
        Some(List::from_ranges(ranges))
    }

    fn from_ranges(mut ranges: Vec<(u32, u32)>) -> List {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        List { ranges: merged }
    }

    /// Whether the list has no numbers.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns how many numbers the list has.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// Returns the largest number.
    pub fn last(&self) -> Option<u32> {
        self.ranges.last().map(|(_, last)| *last)
    }

    /// Iterates over the numbers in ascending order. Check [`List::last`] first: a list may name
    /// every number of 32 bits.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Returns the numbers that are not in `other`.
    pub fn without(&self, other: &List) -> List {
        let mut left = Vec::new();
        for &(first, last) in &self.ranges {
            let mut next = Some(first);
            for &(from, to) in
                other.ranges.iter().filter(|(from, to)| *to >= first && *from <= last)
            {
                match next {
                    Some(start) if start < from => left.push((start, from - 1)),
                    _ => {}
                }
                next = to.checked_add(1).filter(|next| *next <= last);
            }
            left.extend(next.map(|start| (start, last)));
        }
        List { ranges: left }
    }

    /// Returns a bit mask of bytes, the lowest number first, without trailing zero bytes. `None` if
    /// a number is `limit` or above.
    pub fn mask(&self, limit: u32) -> Option<Vec<u8>> {
        let Some(last) = self.last() else { return Some(Vec::new()) };
        if last >= limit {
            return None;
        }
        let mut bytes = vec![0_u8; usize::try_from(last / 8).ok()?.checked_add(1)?];
        for number in self.iter() {
            *bytes.get_mut(usize::try_from(number / 8).ok()?)? |= 1 << (number % 8);
        }
        Some(bytes)
    }

    /// Returns the first `count` ranges as text, with an ellipsis if there are more.
    pub fn abridged(&self, count: usize) -> String {
        let shown = List { ranges: self.ranges.iter().take(count).copied().collect() };
        if self.ranges.len() > count { format!("{shown},...") } else { shown.to_string() }
    }
}

/// Parses a number of decimal digits: the parser of the standard library would accept a plus sign.
pub fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Display for List {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> List {
        List::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn lists_are_parsed_and_shown() {
        for (text, shown, numbers) in [
            ("", "", &[][..]),
            ("0", "0", &[0]),
            ("0-3,7", "0-3,7", &[0, 1, 2, 3, 7]),
            ("7,2-3,0-1", "0-3,7", &[0, 1, 2, 3, 7]),
            ("1-3,2,2-5", "1-5", &[1, 2, 3, 4, 5]),
            ("3-3", "3", &[3]),
        ] {
            assert_eq!(list(text).to_string(), shown, "{text}");
            assert_eq!(list(text).iter().collect::<Vec<_>>(), numbers, "{text}");
            assert_eq!(list(text).len(), numbers.len() as u64, "{text}");
        }
        let all = list("0-4294967295,4294967295");
        assert_eq!((all.to_string().as_str(), all.last()), ("0-4294967295", Some(u32::MAX)));
        assert_eq!(all.len(), 1 << 32);
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "0-",
            "-1",
            "a",
            ",",
            "1,",
            ",1",
            "1,,2",
            "3-1",
            "1-2-3",
            "+1",
            " 1",
            "1 ",
            "1\n",
            "4294967296",
            "\u{0661}",
            "0:1",
            "0x1",
        ] {
            assert_eq!(List::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn masks_are_bounded() {
        assert_eq!(list("").mask(8), Some(vec![]));
        assert_eq!(list("0-2,9").mask(64), Some(vec![0b111, 0b10]));
        assert_eq!(list("15").mask(16), Some(vec![0, 0x80]));
        assert_eq!(list("16").mask(16), None);
        assert_eq!(list("0-4294967295").mask(1 << 16), None);
    }

    #[test]
    fn differences() {
        for (text, other, left) in [
            ("0-9", "2-3,5", "0-1,4,6-9"),
            ("0-9", "0-20", ""),
            ("0-9", "", "0-9"),
            ("0,4000-4001", "0-1", "4000-4001"),
            ("3-5", "0-3,5-9", "4"),
            ("0-4294967295", "1-4294967295", "0"),
            ("0-4294967295", "0-4294967294", "4294967295"),
        ] {
            assert_eq!(list(text).without(&list(other)), list(left), "{text} {other}");
        }
    }

    #[test]
    fn long_lists_are_abridged() {
        assert_eq!(list("0,2,4").abridged(3), "0,2,4");
        assert_eq!(list("0,2,4,6-7").abridged(3), "0,2,4,...");
    }
}
