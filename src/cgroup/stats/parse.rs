//! The formats of cgroup files.

use nix::errno::Errno;

use crate::cgroup::files::OpenDir;
use crate::list::List;
use crate::{Error, Kind, Result};

use super::figures::{BlkioEntry, Psi, PsiData};

impl OpenDir<'_> {
    /// Reads and parses a file; `None` if it does not exist.
    pub fn parsed<T>(&self, file: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>> {
        let text = match self.read(file) {
            // Some kernels return EOPNOTSUPP for pressure that they do not measure.
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP)) => {
                return Ok(None);
            }
            text => text?,
        };
        parse(&text).map(Some).ok_or_else(|| {
            let first = text.lines().next().unwrap_or_default();
            let why = format!("{}: unexpected content {first:?}", self.path.join(file).display());
            Error::new(Kind::System, why)
        })
    }

    /// Reads a file with one number, or `max`, which becomes the largest number.
    pub fn number(&self, file: &str) -> Result<Option<u64>> {
        self.parsed(file, number)
    }

    /// Reads a file with one number; 0 if it does not exist.
    pub fn number_or_0(&self, file: &str) -> Result<u64> {
        self.or_default(file, number)
    }

    /// Reads a file with lines of `key number`; empty if it does not exist.
    pub fn keyed(&self, file: &str) -> Result<Vec<(String, u64)>> {
        self.or_default(file, keyed)
    }

    /// Reads and parses a file; the default if it does not exist.
    pub fn or_default<T: Default>(&self, file: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
        Ok(self.parsed(file, parse)?.unwrap_or_default())
    }
}

pub fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

pub fn keyed(text: &str) -> Option<Vec<(String, u64)>> {
    text.lines()
        .map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), number(value)?))
        })
        .collect()
}

/// Returns the value of `key` in the result of [`OpenDir::keyed`]; 0 if there is none.
pub fn value(pairs: &[(String, u64)], key: &str) -> u64 {
    pairs.iter().find(|(name, _)| name == key).map_or(0, |(_, value)| *value)
}

/// Parses numbers separated by white space.
pub fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split_whitespace().map(|word| word.parse().ok()).collect()
}

/// Parses a list of CPUs or memory nodes, which may be empty.
pub fn list(text: &str) -> Option<Vec<u16>> {
    let list = List::parse(text.trim())?;
    // The bound keeps the vector small.
    u16::try_from(list.last().unwrap_or_default()).ok()?;
    list.iter().map(|number| u16::try_from(number).ok()).collect()
}

/// Parses the block figures of v1: `8:0 Read 1024`, `8:0 1024`, and `Total 1024`, which is ignored.
pub fn blkio(text: &str) -> Option<Vec<BlkioEntry>> {
    let lines = text.lines().filter(|line| !line.starts_with("Total "));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split([' ', ':']).collect();
            let (major, minor, op, value) = match words[..] {
                [major, minor, value] => (major, minor, "", value),
                [major, minor, op, value] => (major, minor, op, value),
                _ => return None,
            };
            Some(BlkioEntry {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                op: op.to_owned(),
                value: value.parse().ok()?,
            })
        })
        .collect()
}

/// Parses the lines `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and `full avg10=...`.
pub fn psi(text: &str) -> Option<Psi> {
    let mut psi = Psi::default();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ')?;
        let mut data = PsiData::default();
        for pair in rest.split_whitespace() {
            let (key, value) = pair.split_once('=')?;
            match key {
                "avg10" => data.avg10 = value.parse().ok()?,
                "avg60" => data.avg60 = value.parse().ok()?,
                "avg300" => data.avg300 = value.parse().ok()?,
                "total" => data.total = value.parse().ok()?,
                _ => {}
            }
        }
        match kind {
            "some" => psi.some = data,
            "full" => psi.full = data,
            _ => {}
        }
    }
    Some(psi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lists_and_pairs() {
        assert_eq!(number("max\n"), Some(u64::MAX));
        assert_eq!(number("7\n"), Some(7));
        assert_eq!(number(""), None);
        assert_eq!(numbers("1 22 \n"), Some(vec![1, 22]));
        assert_eq!(list("0-2,7\n"), Some(vec![0, 1, 2, 7]));
        assert_eq!(list("\n"), Some(vec![]));
        assert_eq!(list("2-0"), None);
        assert_eq!(list("0-99999999"), None);
        let pairs = keyed("anon 1\nfile max\n").unwrap();
        assert_eq!((value(&pairs, "anon"), value(&pairs, "none")), (1, 0));
        assert_eq!(keyed("anon\n"), None);
    }

    #[test]
    fn block_figures() {
        let entry = |minor, op: &str, value| BlkioEntry { major: 8, minor, op: op.into(), value };
        let text = "8:0 Read 5\n8:16 Total 7\n8:16 9\nTotal 12\n";
        let wanted = vec![entry(0, "Read", 5), entry(16, "Total", 7), entry(16, "", 9)];
        assert_eq!(blkio(text), Some(wanted));
        assert_eq!(blkio("8 0\n"), None);
        assert_eq!(blkio(""), Some(vec![]));
    }

    #[test]
    fn pressure() {
        let text = "some avg10=1.50 avg60=0.00 avg300=0.25 total=12\nfull avg10=0.00 total=3\n";
        let psi = psi(text).unwrap();
        assert_eq!(psi.some, PsiData { avg10: 1.5, avg60: 0.0, avg300: 0.25, total: 12 });
        assert_eq!(psi.full.total, 3);
        assert_eq!(super::psi("some avg10=x\n"), None);
    }
}
