//! Makes untrusted text (file names, configuration values, output of hooks) safe for a terminal or
//! a log: a single line of bounded length, without characters that control a terminal.

use std::fmt::{Debug, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The maximum number of characters of a value in an error.
pub const VALUE: usize = 200;

/// The maximum number of characters of a part of an error.
pub const PART: usize = 1000;

/// Returns whether a character controls the terminal (Unicode Cc, such as U+009B, which is ESC [),
/// or is invisible and changes how other characters are shown (Cf, such as U+202E; Zl and Zp).
fn controls(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}')
}

/// Puts text on a single line: line feeds, tabs and carriage returns become spaces, other control
/// characters are escaped as in `\u{9b}`.
pub fn one_line(text: String) -> String {
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) || !text.contains(controls) {
        return text;
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' | '\r' => safe.push(' '),
            c if controls(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

/// Escapes control characters in a JSON document, without changing its meaning.
pub fn json(document: String) -> String {
    // JSON already escapes ASCII control characters in strings, except DEL; those outside of strings
    // are line feeds.
    let stays = |c: char| c.is_ascii() && c != '\u{7f}';
    if document.bytes().all(|byte| stays(char::from(byte))) {
        return document;
    }
    let mut safe = String::with_capacity(document.len());
    for c in document.chars() {
        if stays(c) || !controls(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

/// Formats a value for an error; truncates a long value.
pub fn value(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(VALUE) {
        None => text,
        Some((end, _)) => {
            let length = text.chars().count();
            format!("{}... ({length} characters)", text.get(..end).unwrap_or_default())
        }
    }
}

/// Shortens a part of an error to its beginning and its end, if it is long.
pub fn part(text: String) -> String {
    const END: usize = PART / 4;
    if text.len() <= PART {
        return text;
    }
    let length = text.chars().count();
    let at = |character| text.char_indices().nth(character).map(|(at, _)| at);
    match (at(PART - END), length.checked_sub(END).and_then(at)) {
        (Some(cut), Some(end)) if length > PART => {
            let (begin, end) = (text.get(..cut), text.get(end..));
            format!("{} ... {}", begin.unwrap_or_default(), end.unwrap_or_default())
        }
        _ => text,
    }
}

/// Formats a time as RFC 3339 in UTC with nanoseconds. A time out of the format's range becomes
/// 1970.
pub fn rfc3339(at: SystemTime) -> String {
    // humantime panics outside of 1970 to 9999.
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    let since = at.duration_since(UNIX_EPOCH).ok().filter(|since| *since <= YEAR_9999);
    humantime::format_rfc3339_nanos(UNIX_EPOCH + since.unwrap_or_default()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_escaped() {
        for (text, expected) in [
            ("a b", "a b"),
            ("a\nb\tc\rd", "a b c d"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{9b}31mred\u{85}\u{7f}", "\\u{9b}31mred\\u{85}\\u{7f}"),
            (
                "a\u{202e}b\u{2066}\u{200b}\u{feff}\u{2028}",
                "a\\u{202e}b\\u{2066}\\u{200b}\\u{feff}\\u{2028}",
            ),
            ("\u{e0041}", "\\u{e0041}"),
            ("é ü 漢 e\u{301} 😀", "é ü 漢 e\u{301} 😀"),
        ] {
            assert_eq!(one_line(text.to_owned()), expected);
        }
    }

    /// The standard library has a table of printable characters, but no function for it.
    #[test]
    fn the_table_holds_nothing_that_can_be_printed() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| controls(*c)) {
            let escaped: String = c.escape_debug().collect();
            assert!(escaped.starts_with('\\'), "{c:?}");
        }
        // Every script has a letter that is not escaped.
        for c in ['a', 'é', 'Ω', 'я', 'ع', 'क', '漢', '😀', '\u{a0}', '\u{301}'] {
            assert!(!controls(c), "{c:?}");
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({"a\u{9b}": ["\u{202e}", "\u{e0041}", "é\n\u{1b}"]});
        let text = json(value.to_string());
        assert!(!text.contains(controls), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert_eq!(json("{\n}".to_owned()), "{\n}");
        assert_eq!(json("[\"\u{7f}\"]".to_owned()), "[\"\\u007f\"]");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(value(&"x"), "\"x\"");
        let shown = value(&"é".repeat(70_000));
        assert!(shown.chars().count() < VALUE + 40 && shown.contains("é... (70002 characters)"));
        let groups: Vec<u32> = (0..65_537).collect();
        assert!(value(&groups).len() < VALUE + 40);
        assert_eq!(part("é".repeat(PART)), "é".repeat(PART));
        let cut = part(format!("begin{}end", "é".repeat(5 * PART)));
        assert_eq!(cut.chars().count(), PART + 5);
        assert!(cut.starts_with("beginé") && cut.ends_with("éend") && cut.contains("é ... é"));
    }

    #[test]
    fn strange_times_do_not_panic() {
        assert!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)).starts_with("1970-"));
        assert!(rfc3339(UNIX_EPOCH + Duration::from_secs(1 << 40)).starts_with("1970-"));
        assert!(rfc3339(UNIX_EPOCH + Duration::from_secs(253_402_300_799)).starts_with("9999-"));
    }
}
