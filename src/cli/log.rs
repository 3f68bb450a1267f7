//! The log of the program: a line per event, in the file of `--log` or on standard error. It uses
//! no threads and no buffer.
//!
//! Engines read the file's last line of level `error` as the reason for a failure, so an error is
//! written once, when the command ends. They also read standard error, so the error is written
//! there too: as `bulkhead: …` in the format text, which people read.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::Serialize;

use super::args::LogFormat;
use super::output::coloured;
use crate::{Context, Error, Result, text};

struct Logger {
    file: Option<File>,
    format: LogFormat,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();
static DEFAULT: Logger = Logger { file: None, format: LogFormat::Text };

/// Installs the logger of this process. Only the first call has an effect. Before it, only
/// [`error`] writes, as text to standard error.
///
/// # Errors
/// If `file` cannot be opened for appending.
pub fn init(file: Option<&Path>, format: LogFormat, level: LevelFilter) -> Result<()> {
    let file = match file {
        Some(path) => Some(open(path).with_context(|| format!("open the log file {path:?}"))?),
        None => None,
    };
    if log::set_logger(LOGGER.get_or_init(|| Logger { file, format })).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

fn open(path: &Path) -> std::io::Result<File> {
    // The standard library opens files close-on-exec.
    File::options().append(true).create(true).mode(0o644).open(path)
}

/// Writes the failure of the command to the log file and to standard error. To be called once.
pub fn error(error: &Error) {
    let logger = LOGGER.get().unwrap_or(&DEFAULT);
    let message = error.to_string();
    logger.event(Level::Error, &message);
    if logger.file.is_some() {
        // Two JSON objects would look like two failures to an engine that reads both streams.
        write_plain(Level::Error, &message);
    }
}

impl Log for Logger {
    // The `log` crate compares the levels.
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.event(record.level(), &record.args().to_string());
    }

    fn flush(&self) {}
}

impl Logger {
    fn event(&self, level: Level, message: &str) {
        match (&self.file, self.format) {
            (Some(file), format) => write(file, &line(format, level, message)),
            (None, LogFormat::Json) => {
                write(std::io::stderr(), &line(LogFormat::Json, level, message))
            }
            (None, LogFormat::Text) => write_plain(level, message),
        }
    }
}

/// Writes a line with a single write(2), so that lines of several processes do not mix. A failure
/// to write is ignored, since it cannot be reported.
fn write(mut to: impl Write, line: &str) {
    let _ = to.write_all(line.as_bytes());
}

/// Writes a message for people to standard error.
fn write_plain(level: Level, message: &str) {
    let stderr = std::io::stderr();
    let line = plain(level, message);
    let line = if coloured(&stderr) { painted(level, line) } else { line };
    write(stderr, &line);
}

/// Colours the beginning of a line of [`plain`]: red for an error, yellow for a warning.
fn painted(level: Level, line: String) -> String {
    let (start, colour) = match level {
        Level::Error => ("bulkhead:", "\u{1b}[1;31m"),
        Level::Warn => ("bulkhead: warning:", "\u{1b}[33m"),
        Level::Info | Level::Debug | Level::Trace => return line,
    };
    match line.strip_prefix(start) {
        Some(rest) => format!("{colour}{start}\u{1b}[0m{rest}"),
        None => line,
    }
}

fn plain(level: Level, message: &str) -> String {
    let message = text::one_line(message.to_owned());
    match level {
        Level::Error => format!("bulkhead: {message}\n"),
        Level::Warn => format!("bulkhead: warning: {message}\n"),
        // Scripts that enable debug messages search for `level=debug`.
        Level::Info | Level::Debug | Level::Trace => line(LogFormat::Text, level, &message),
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

fn line(format: LogFormat, level: Level, message: &str) -> String {
    let time = text::rfc3339(SystemTime::now());
    // As logrus spells them.
    let level = match level {
        Level::Warn => "warning".to_owned(),
        level => level.as_str().to_ascii_lowercase(),
    };
    match format {
        // Like logrus: a message of only these characters is not quoted. Rust's quoting of control
        // characters and quotes equals Go's for everything in logs.
        LogFormat::Text if !message.is_empty() && message.bytes().all(is_plain) => {
            format!("time=\"{time}\" level={level} msg={message}\n")
        }
        LogFormat::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
        LogFormat::Json => {
            match serde_json::to_string(&Entry { level: &level, msg: message, time }) {
                Ok(json) => text::json(json) + "\n",
                // Strings always serialise.
                Err(_) => String::new(),
            }
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_line_is_one_object_with_three_strings() {
        let line = line(LogFormat::Json, Level::Error, "a \"b\"\nc");
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"b\"\nc");
        assert!(humantime::parse_rfc3339(value["time"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn text_lines() {
        let line = line(LogFormat::Text, Level::Warn, "a \"b\"");
        assert!(line.starts_with("time=\"20"), "{line}");
        assert!(line.ends_with("Z\" level=warning msg=\"a \\\"b\\\"\"\n"), "{line}");
        let word = super::line(LogFormat::Text, Level::Error, "one-word");
        assert!(word.ends_with(" level=error msg=one-word\n"), "{word}");
        let debug = plain(Level::Debug, "a b");
        assert!(debug.starts_with("time=\"20") && debug.ends_with("level=debug msg=\"a b\"\n"));
        assert_eq!(plain(Level::Error, "a\nb"), "bulkhead: a b\n");
        assert_eq!(plain(Level::Warn, "a"), "bulkhead: warning: a\n");
    }
}
