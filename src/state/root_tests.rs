//! The state directory itself: its path, its mode, and what is refused.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use super::test_support::Home;
use super::{Origin, Store};
use crate::Kind;

#[test]
fn missing_roots() {
    let home = Home::new();
    let error = home.store().list().err().unwrap().to_string();
    assert!(error.contains("no such file or directory"), "{error}");
    assert_eq!(home.load("c").unwrap_err().kind(), Kind::NotFound);
    home.store().create_root().unwrap();
    assert!(home.store().list().unwrap().next().is_none());
}

#[test]
fn a_link_to_the_root_directory_is_refused_as_well() {
    let home = Home::new();
    let link = home.dir.path().join("link");
    symlink("/", &link).unwrap();
    let error = Store::open(&link, Origin::Named).unwrap_err().to_string();
    assert!(error.ends_with("must not be /"), "{error}");
    assert!(Path::new("/home").exists());
}

#[test]
fn an_odd_umask_does_not_spoil_the_mark() {
    // The umask belongs to the process, so run this test's binary again.
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
