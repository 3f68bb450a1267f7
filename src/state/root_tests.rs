//! The state directory itself: where it is, its mode, and what is refused in its place.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use super::Store;
use super::test_support::{Home, id, intent};
use crate::Kind;

#[test]
fn missing_roots() {
    let home = Home::new();
    let error = home.store().list().unwrap_err().to_string();
    assert!(error.contains("no such file or directory"), "{error}");
    assert_eq!(home.load("c").unwrap_err().kind(), Kind::NotFound);
    home.store().create_root().unwrap();
    assert!(home.store().list().unwrap().is_empty());
}

#[test]
fn a_link_to_the_root_directory_is_refused_as_well() {
    let home = Home::new();
    let link = home.dir.path().join("link");
    symlink("/", &link).unwrap();
    let error = Store::open(Some(&link)).unwrap_err().to_string();
    assert!(error.ends_with("must not be /"), "{error}");
    assert!(Path::new("/home").exists());
}

#[test]
fn an_odd_umask_does_not_spoil_the_mark() {
    // umask belongs to the process, so a process of its own: this test's binary, once more.
    const NAME: &str = "state::root_tests::an_odd_umask_does_not_spoil_the_mark";
    if std::env::var_os("ODD_UMASK").is_some() {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o277));
        let home = Home::new();
        let reserved = home.reserve("c");
        assert_eq!(std::fs::metadata(reserved.path()).unwrap().mode() & 0o7777, 0o1700);
        reserved.abandon().unwrap();
        return;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env("ODD_UMASK", "1")
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn the_default_directory_without_root_privileges() {
    // The environment and the user belong to the process: this test's binary, once more.
    const NAME: &str = "state::root_tests::the_default_directory_without_root_privileges";
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
    let store = Store::open(None);
    if std::env::var_os("WITHOUT_ROOT").unwrap() == "error" {
        let error = store.unwrap_err().to_string();
        assert!(error.contains("XDG_RUNTIME_DIR") && error.contains("--root"), "{error}");
        return;
    }
    let store = store.unwrap();
    assert!(store.list().unwrap().is_empty());
    assert!(!store.path().exists());
    let reserved = store.reserve(&id("c"), &intent("c")).unwrap();
    assert!(store.path().ends_with("bulkhead"));
    assert_eq!(std::fs::metadata(store.path()).unwrap().mode() & 0o7777, 0o1700);
    assert_eq!(store.list().unwrap().len(), 1);
    reserved.abandon().unwrap();
}
