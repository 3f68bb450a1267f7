//! Signals by number or name.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal as named_signal;

use crate::{Error, Result};

/// The first real-time signal for programs: libc uses the kernel's first two. A constant, so that a
/// name means the same number with every libc.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal: its number, or the null signal 0, which only checks that the process exists.
///
/// ```
/// use bulkhead::Signal;
/// assert_eq!("TERM".parse::<Signal>().unwrap(), Signal::TERM);
/// assert_eq!("SIGRTMIN+3".parse::<Signal>().unwrap().number(), 37);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGKILL
    pub const KILL: Signal = Signal(libc::SIGKILL);
    /// SIGTERM
    pub const TERM: Signal = Signal(libc::SIGTERM);

    /// Returns the signal with this number, from 0 to 64.
    pub fn from_number(number: i32) -> Option<Signal> {
        (0..=RTMAX).contains(&number).then_some(Signal(number))
    }

    /// Returns the number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses a number, or a name in any case, with or without `SIG`: `KILL`, `SIGRTMIN+3`, `rtmax-1`.
impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Signal> {
        let number = match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse().ok(),
            false => {
                let upper = text.to_ascii_uppercase();
                named(upper.strip_prefix("SIG").unwrap_or(&upper))
            }
        };
        number
            .and_then(Signal::from_number)
            .ok_or_else(|| Error::invalid("signal", text, "unknown signal"))
    }
}

fn named(name: &str) -> Option<i32> {
    // Aliases (signal(7)).
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        name => name,
    };
    if let Ok(signal) = named_signal::Signal::from_str(&format!("SIG{name}")) {
        return Some(signal as i32);
    }
    let offset = |text: &str, sign: char| -> Option<i32> {
        match text.strip_prefix(sign) {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
            None => text.is_empty().then_some(0),
        }
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(rest, '+')?)?
    } else {
        RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("kill", 9),
            ("TERM", 15),
            ("0", 0),
            ("34", 34),
            ("64", 64),
            ("RTMIN", 34),
            ("RTMIN+3", 37),
            ("sigrtmin+30", 64),
            ("SIGRTMAX-1", 63),
            ("RTMAX", 64),
            ("POLL", 29),
            ("CLD", 17),
            ("WINCH", 28),
        ] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
    }

    #[test]
    fn unknown_ones_are_named() {
        for text in [
            "65",
            "SIGFOO",
            "",
            "-9",
            "+9",
            "SIG",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN++1",
            "RTMIN+99999999999",
            "99999999999",
            "SIGSIGKILL",
            "9 ",
            "\u{e9}",
        ] {
            let error = text.parse::<Signal>().unwrap_err().to_string();
            assert_eq!(error, format!("signal: {text:?}: unknown signal"));
        }
    }
}
