//! Messages to containerd's log, through the FIFO `log` in the bundle.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Writes lines in the format of containerd's own log.
struct Logger {
    file: Mutex<File>,
    id: String,
}

/// Sends messages to the FIFO `path`. Without that FIFO, or without a reader, there are no messages.
pub fn init(path: &Path, id: &str, debug: bool) {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let Ok(file) = File::options().write(true).custom_flags(flags).open(path) else { return };
    let logger = Logger { file: Mutex::new(file), id: id.to_owned() };
    // Once in the life of the program.
    if log::set_logger(Box::leak(Box::new(logger))).is_ok() {
        log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        let time = humantime::format_rfc3339_nanos(std::time::SystemTime::now());
        let message = record.args().to_string();
        let line = format!(
            "time=\"{time}\" level={level} msg={message:?} id={id} runtime=io.containerd.bulkhead.v2\n",
            id = self.id
        );
        if let Ok(mut file) = self.file.lock() {
            // Without a reader, or if the FIFO is full, the line is lost.
            let _ = file.write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}
