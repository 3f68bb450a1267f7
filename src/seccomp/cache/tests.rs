use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;

fn file_name(key: &[u8]) -> String {
    format!("{:016x}", hash(key))
}

/// Creates a cache with one entry, for `profile(1)`. Returns the path of the entry too.
fn warm() -> (TempDir, PathBuf) {
    let dir = fresh();
    cached(&dir, 1);
    let [file] = entries(&dir).try_into().unwrap();
    (dir, file)
}

fn fresh() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    dir
}

fn profile(errno: u32) -> LinuxSeccomp {
    serde_json::from_value(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdirat", "no_such"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]}))
    .unwrap()
}

fn cached(dir: &TempDir, errno: u32) -> (Filter, Vec<String>) {
    let mut warnings = Vec::new();
    let filter = saved(&profile(errno), Some(dir.path()), &mut warnings).unwrap();
    (filter, warnings)
}

/// Compiles a profile and saves the entry, as after the process with the filter is created.
fn saved(profile: &LinuxSeccomp, dir: Option<&Path>, warnings: &mut Vec<String>) -> Result<Filter> {
    let (filter, unsaved) = compile_cached(profile, dir, warnings)?;
    if let Some(unsaved) = unsaved {
        unsaved.save();
    }
    Ok(filter)
}

fn compiled(errno: u32) -> (Filter, Vec<String>) {
    let mut warnings = Vec::new();
    let filter = saved(&profile(errno), None, &mut warnings).unwrap();
    (filter, warnings)
}

fn entries(dir: &TempDir) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Replaces the program of the entry by one that no compiler generates, with a valid checksum, so
/// that its use can be detected.
fn mark(file: &Path) -> Vec<u8> {
    let marker = vec![7; 16];
    let key = key(&profile(1)).unwrap();
    fs::write(file, encode(&key, &marker, &["told".to_owned()]).unwrap()).unwrap();
    marker
}

#[test]
fn the_second_time_comes_from_the_file() {
    let (dir, file) = warm();
    assert_eq!(cached(&dir, 1), compiled(1));
    let marker = mark(&file);
    let (filter, warnings) = cached(&dir, 1);
    assert_eq!(filter.program, marker);
    assert_eq!(warnings, ["told"]);
    // Another profile has another entry.
    assert_eq!(cached(&dir, 2), compiled(2));
    assert_eq!(entries(&dir).len(), 2);
    assert_ne!(compiled(1).0, compiled(2).0);
}

#[test]
fn the_name_of_a_file_is_not_trusted() {
    let (dir, file) = warm();
    let other = file.with_file_name(file_name(&key(&profile(2)).unwrap()));
    fs::rename(&file, other).unwrap();
    assert_eq!(cached(&dir, 2), compiled(2));
}

#[test]
fn a_damaged_entry_is_compiled_afresh_and_replaced() {
    let (dir, file) = warm();
    let good = fs::read(&file).unwrap();
    let last = good.len() - 1;
    for damage in [
        Vec::new(),
        vec![0; good.len()],
        good[..last].to_vec(),
        [&good[..], &[0]].concat(),
        [&good[..last], &[!good[last]]].concat(),
        [&good[..8], &[0xff; 24], &good[32..]].concat(),
    ] {
        fs::write(&file, &damage).unwrap();
        assert_eq!(cached(&dir, 1), compiled(1));
        assert_eq!(fs::read(&file).unwrap(), good);
    }
    // Wrong lengths, with a valid checksum.
    let mut lie = good.clone();
    lie[8..16].fill(0xff);
    let sum = hash(&lie[8..]).to_le_bytes();
    lie[..8].copy_from_slice(&sum);
    assert!(decode(&lie, &key(&profile(1)).unwrap()).is_none());
    assert!(decode(&good, &key(&profile(1)).unwrap()).is_some());
}

#[test]
fn files_that_others_could_write_are_not_read() {
    let (dir, file) = warm();
    mark(&file);
    fs::set_permissions(&file, Permissions::from_mode(0o620)).unwrap();
    assert_eq!(cached(&dir, 1), compiled(1));

    let (dir, file) = warm();
    mark(&file);
    fs::hard_link(&file, dir.path().join("second")).unwrap();
    assert_eq!(cached(&dir, 1), compiled(1));

    let (dir, file) = warm();
    mark(&file);
    fs::rename(&file, dir.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &file).unwrap();
    assert_eq!(cached(&dir, 1), compiled(1));

    let (dir, file) = warm();
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(cached(&dir, 1), compiled(1));
}

#[test]
fn a_directory_that_others_could_enter_is_not_used() {
    let (dir, file) = warm();
    mark(&file);
    for mode in [0o770, 0o702, 0o750] {
        fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        assert_eq!(cached(&dir, 1), compiled(1), "{mode:o}");
        assert_eq!(cached(&dir, 2), compiled(2), "{mode:o}");
    }
    assert_eq!(entries(&dir).len(), 1);

    // Nor a cache behind a symbolic link, nor a file.
    let outer = fresh();
    symlink(dir.path(), outer.path().join("link")).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let mut none = Vec::new();
    for path in [outer.path().join("link"), file] {
        let filter = saved(&profile(1), Some(&path), &mut none).unwrap();
        assert_eq!(filter, compiled(1).0);
    }
}

#[test]
fn a_missing_directory_is_made_for_us_alone() {
    let outer = fresh();
    let dir = outer.path().join("seccomp");
    saved(&profile(1), Some(&dir), &mut Vec::new()).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    saved(&profile(1), Some(&outer.path().join("a/b")), &mut Vec::new()).unwrap();
}

#[test]
fn nothing_is_made_until_the_entry_is_saved() {
    let outer = fresh();
    let dir = outer.path().join("seccomp");
    let (_, unsaved) = compile_cached(&profile(1), Some(&dir), &mut Vec::new()).unwrap();
    assert!(!dir.exists());
    unsaved.unwrap().save();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    let (_, unsaved) = compile_cached(&profile(1), Some(&dir), &mut Vec::new()).unwrap();
    assert_eq!(unsaved, None);
}

#[test]
fn the_number_of_entries_is_bounded() {
    let dir = fresh();
    for errno in 0..ENTRIES as u32 + 6 {
        cached(&dir, errno);
    }
    assert_eq!(entries(&dir).len(), ENTRIES);
    let newest = file_name(&key(&profile(ENTRIES as u32 + 5)).unwrap());
    assert!(dir.path().join(newest).exists());
}

#[test]
fn the_listener_is_no_part_of_the_key_but_its_rules_hold() {
    let dir = fresh();
    let with = |path: Option<&str>, metadata: &str| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": metadata,
            "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
        if let Some(path) = path {
            profile["listenerPath"] = json!(path);
        }
        let profile = serde_json::from_value(profile).unwrap();
        saved(&profile, Some(dir.path()), &mut Vec::new())
    };
    let first = with(Some("/a"), "one").unwrap();
    assert_eq!(with(Some("/b"), "two").unwrap(), first);
    assert!(first.notify);
    assert_eq!(entries(&dir).len(), 1);
    assert!(with(None, "one").is_err());
}
