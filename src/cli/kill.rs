//! `kill`: a signal for a container.

use std::str::FromStr;

use nix::sys::signal::Signal;

use super::{Global, KillArgs};
use crate::state::{self, Id, Store};
use crate::{Error, Result};

/// The real-time signals that programs use: the kernel's first two belong to libc. Fixed, because
/// a name must mean the same number whatever libc this program was linked with.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Sends the signal.
pub fn run(global: &Global, args: &KillArgs) -> Result<i32> {
    let id = Id::new(args.id.as_str())?;
    let signal = parse_signal(&args.signal)?;
    let container = Store::open(global.root.as_deref())?.load(&id)?;
    state::kill(&container, signal, args.all).map(|()| 0)
}

/// A signal's number, from a number (0, which only asks whether the process is there, to 64), or
/// from a name in any case, with or without `SIG`: `KILL`, `SIGRTMIN+3`, `rtmax-1`.
fn parse_signal(text: &str) -> Result<i32> {
    let number = match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().ok().filter(|number| (0..=RTMAX).contains(number)),
        false => {
            let upper = text.to_ascii_uppercase();
            named(upper.strip_prefix("SIG").unwrap_or(&upper))
        }
    };
    number.ok_or_else(|| Error::invalid("signal", text, "unknown signal"))
}

fn named(name: &str) -> Option<i32> {
    // Other names of the same numbers (signal(7)).
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        name => name,
    };
    if let Ok(signal) = Signal::from_str(&format!("SIG{name}")) {
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
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
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
            let error = parse_signal(text).unwrap_err().to_string();
            assert_eq!(error, format!("signal: {text:?}: unknown signal"));
        }
    }
}
