//! The environment of the command line. The library reads no environment variable.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::args::Global;
use crate::state::{Entry, Id, Origin, Store};
use crate::{Error, Kind, Result};

/// Loads the container `id`.
pub fn load(global: &Global, id: &str) -> Result<Entry> {
    store(global)?.load(&Id::new(id)?)
}

/// Opens the state directory of `--root`, or the default.
pub fn store(global: &Global) -> Result<Store> {
    match &global.root {
        Some(root) => Store::open(root, Origin::Named),
        None => default_store(),
    }
}

fn default_store() -> Result<Store> {
    match runtime_dir()? {
        Some(dir) => Store::open(&dir.join("bulkhead"), Origin::RuntimeDir),
        None => Store::open("/run/bulkhead".as_ref(), Origin::Default),
    }
}

/// Returns $XDG_RUNTIME_DIR where it applies: without root privileges, and for the root user of a
/// user namespace (rootless podman runs this program there), but not for that of the host.
fn runtime_dir() -> Result<Option<PathBuf>> {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let dir = dir.filter(|dir| dir.is_absolute());
    if !nix::unistd::geteuid().is_root() {
        let why = "no state directory: set XDG_RUNTIME_DIR to an absolute path, or give --root";
        return dir.map(Some).ok_or_else(|| Error::new(Kind::Invalid, why));
    }
    let Some(dir) = dir else { return Ok(None) };
    // root in a user namespace of its own (sudo unshare) uses the default of the host's root.
    if std::env::var_os("USER").as_deref() == Some(OsStr::new("root")) {
        return Ok(None);
    }
    Ok(crate::host::in_user_namespace()?.then_some(dir))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_default_directory_without_root_privileges() {
        // The environment and the user belong to the process, so run this test's binary again.
        const NAME: &str = "cli::environment::tests::the_default_directory_without_root_privileges";
        if std::env::var_os("WITHOUT_ROOT").is_none() {
            let dir = tempfile::tempdir().unwrap();
            let nobody = 65534;
            if nix::unistd::geteuid().is_root() {
                std::os::unix::fs::chown(dir.path(), Some(nobody), None).unwrap();
            }
            for (xdg, wanted) in [(dir.path(), "ok"), (Path::new("relative"), "error")] {
                let status = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", NAME])
                    .env("WITHOUT_ROOT", wanted)
                    .env("XDG_RUNTIME_DIR", xdg)
                    .status()
                    .unwrap();
                assert!(status.success(), "{xdg:?}");
            }
            return;
        }
        if nix::unistd::geteuid().is_root() {
            nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
        }
        let store = default_store();
        if std::env::var_os("WITHOUT_ROOT").unwrap() == "error" {
            let error = store.unwrap_err().to_string();
            assert!(error.contains("XDG_RUNTIME_DIR") && error.contains("--root"), "{error}");
            return;
        }
        let store = store.unwrap();
        assert!(store.list().unwrap().next().is_none());
        assert!(!store.path().exists());
        let intent = crate::state::test_support::intent("c");
        store.reserve(&Id::new("c").unwrap(), &intent, Vec::new()).unwrap();
        assert!(store.path().ends_with("bulkhead"));
        assert_eq!(std::fs::metadata(store.path()).unwrap().mode() & 0o7777, 0o1700);
    }
}
