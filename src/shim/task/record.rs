//! The file in the bundle that tells `delete` where the state of the container is.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "bulkhead-shim.json";

/// Where init's process id is written.
pub const PID_FILE: &str = "init.pid";

/// The directory of the state directories, one for each namespace of containerd.
pub const ROOT: &str = "/run/containerd/bulkhead";

/// What outlives the shim.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The state directory.
    pub root: PathBuf,
}

impl Record {
    /// Returns the record for the option `Root` and a namespace.
    pub fn new(root: &str, namespace: &str) -> Record {
        let root = if root.is_empty() { ROOT } else { root };
        Record { root: Path::new(root).join(namespace) }
    }

    pub fn write(&self, bundle: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        std::fs::write(bundle.join(FILE), text)
    }

    /// Reads the record; `None` if the shim has not come that far.
    pub fn read(bundle: &Path) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(bundle.join(FILE)).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()), None);
        let record = Record::new("", "k8s.io");
        assert_eq!(record.root, Path::new("/run/containerd/bulkhead/k8s.io"));
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()), Some(record));
        assert_eq!(Record::new("/r", "n").root, Path::new("/r/n"));
    }
}
