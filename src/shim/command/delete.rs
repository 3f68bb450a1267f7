//! `delete`: removes what a shim that has died has left of a container.

use std::io::{Result, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use bulkhead::Runtime;
use prost::Message;

use super::address;
use super::args::Args;
use crate::proto::task::DeleteResponse;
use crate::task::record::{PID_FILE, Record};
use crate::task::rootfs;

/// The exit status of a container that was killed.
const KILLED: u32 = 128 + 9;

/// Runs the command, and prints the response.
pub fn run(args: &Args) -> Result<()> {
    let bundle = match &args.bundle {
        Some(bundle) => bundle.clone(),
        // The working directory is that of the container, or of another one.
        None => std::env::current_dir()?.parent().map(|dir| dir.join(&args.id)).unwrap_or_default(),
    };
    // Without a record there is no container: either it was deleted, or never created.
    if let Some(record) = Record::read(&bundle) {
        let runtime = Runtime::open(&record.root);
        let deleted = runtime.and_then(|runtime| runtime.container(&args.id)?.delete_by_force());
        // containerd logs what is printed here, and goes on.
        let _ = deleted.inspect_err(|error| eprintln!("{error}"));
    }
    rootfs::unmount(&bundle.join("rootfs"));
    address::remove_dead(&bundle);
    let response = DeleteResponse {
        pid: pid(bundle.join(PID_FILE)),
        exit_status: KILLED,
        exited_at: Some(SystemTime::now().into()),
    };
    std::io::stdout().write_all(&response.encode_to_vec())
}

fn pid(file: PathBuf) -> u32 {
    std::fs::read_to_string(file).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}
