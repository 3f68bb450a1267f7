//! The address of the shim's socket: one for each container, or for each pod.

use std::fs::{DirBuilder, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::sha256;

/// Where containerd expects the sockets of shims, unless `$CONTAINERD_SHIM_SOCKET_DIR` names another
/// directory.
pub const SOCKETS: &str = "/run/containerd/s";

/// The file in the bundle that holds the address.
pub const FILE: &str = "address";

const UNIX: &str = "unix://";

/// Returns the path of the socket for the group `group`, by containerd's convention.
pub fn path(dir: &Path, containerd: &str, namespace: &str, group: &str) -> PathBuf {
    let name = Path::new(containerd).join(namespace).join(group);
    dir.join(sha256::hex(name.to_string_lossy().as_bytes()))
}

/// Returns the address of a path.
pub fn of(path: &Path) -> String {
    format!("{UNIX}{}", path.display())
}

/// Listens on the socket `path`. Returns `None` if another shim does.
pub fn listen(path: &Path) -> Result<Option<UnixListener>> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match UnixListener::bind(path) {
        Ok(listener) => ours(path, listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Ok(None);
            }
            // A shim that was killed has left it.
            std::fs::remove_file(path)?;
            ours(path, UnixListener::bind(path)?)
        }
        Err(error) => Err(Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

fn ours(path: &Path, listener: UnixListener) -> Result<Option<UnixListener>> {
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(Some(listener))
}

/// Removes the socket that the file `address` in `bundle` names, unless a shim listens on it.
pub fn remove_dead(bundle: &Path) {
    let Ok(text) = std::fs::read_to_string(bundle.join(FILE)) else { return };
    let Some(path) = text.strip_prefix(UNIX) else { return };
    if UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        // Another process may have removed it.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_containerds() {
        let path = path(Path::new(SOCKETS), "/run/containerd/containerd.sock", "default", "c1");
        let hash = sha256::hex(b"/run/containerd/containerd.sock/default/c1");
        assert_eq!(path, Path::new(SOCKETS).join(hash));
    }

    #[test]
    fn a_living_shim_is_joined_and_a_dead_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/socket");
        let first = listen(&path).unwrap().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(listen(&path).unwrap().is_none());
        std::fs::write(dir.path().join(FILE), of(&path)).unwrap();
        remove_dead(dir.path());
        assert!(path.exists());
        drop(first);
        let second = listen(&path).unwrap();
        assert!(second.is_some());
        drop(second);
        remove_dead(dir.path());
        assert!(!path.exists());
    }
}
