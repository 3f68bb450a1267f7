//! The identity of init, and the configuration of stored containers.

use std::os::fd::AsFd;

use serde_json::json;

use super::test_support::{CONFIG, Home, Sleep, state};
use crate::state::{Birth, State, Status};
use crate::sys::pidfd;
use crate::{Kind, container};

const HOOKS: &str = r#"{"ociVersion": "1.0.2", "hooks": {"poststop": [{"path": "/bin/true"}]}}"#;

/// The state of a container whose init is identified by its pidfd.
fn identified(sleep: &Sleep) -> State {
    let mut state = state("c", sleep.pid());
    let pidfd = pidfd::open(sleep.pid()).unwrap().unwrap();
    let birth = Birth::of(sleep.pid(), pidfd.as_fd()).unwrap().unwrap();
    state.set_init(sleep.pid(), birth);
    state
}

#[test]
fn a_pidfd_identifies_init() {
    let mut sleep = Sleep::new();
    let state = identified(&sleep);
    let home = Home::new();
    home.put_running(&state);
    let container = home.load("c").unwrap();
    assert_eq!(container.status().unwrap(), Status::Running);
    assert!(container.pidfd().unwrap().is_some());
    sleep.make_zombie();
    assert_eq!(container.status().unwrap(), Status::Stopped);
    sleep.0.wait().unwrap();
    assert_eq!(container.status().unwrap(), Status::Stopped);
}

#[test]
fn a_process_with_another_birth_gets_no_signal() {
    let mut sleep = Sleep::new();
    let mut state = identified(&sleep);
    match state.birth() {
        Birth::Inode(_) => state.pidfd_inode += 1,
        // Before Linux 6.9.
        Birth::StartTime(_) => state.start_time += 1,
    }
    let home = Home::new();
    home.put_running(&state);
    let container = home.load("c").unwrap();
    assert_eq!(container.status().unwrap(), Status::Stopped);
    let error = container::kill::kill(&container, 9, false).unwrap_err().to_string();
    assert!(error.ends_with("container not running"), "{error}");
    container::delete::destroy(container).unwrap();
    assert!(sleep.alive());
}

#[test]
fn the_configuration_is_in_a_file_of_its_own() {
    let home = Home::new();
    let sleep = Sleep::new();
    let path = home.put_with(&state("c", sleep.pid()), HOOKS);
    let container = home.load("c").unwrap();
    assert_eq!(container.config_text().unwrap(), HOOKS);
    assert_eq!(container.hooks().unwrap().poststop.len(), 1);
    assert!(!std::fs::read_to_string(path.join("state.json")).unwrap().contains("ociVersion"));
}

#[test]
fn a_configuration_that_could_not_be_prepared_is_written_with_the_state() {
    let home = Home::new();
    let sleep = Sleep::new();
    let mut reserved = home.reserve("c");
    let path = reserved.path().join("config.json");
    std::fs::create_dir(&path).unwrap();
    reserved.prepare(state("c", sleep.pid())).unwrap_err();
    std::fs::remove_dir(&path).unwrap();
    reserved.commit(&state("c", sleep.pid())).unwrap();
    reserved.keep();
    assert_eq!(home.load("c").unwrap().config_text().unwrap(), CONFIG);
}

#[test]
fn a_configuration_without_hooks_is_not_read() {
    let home = Home::new();
    let sleep = Sleep::new();
    let state = State { has_hooks: false, ..state("c", sleep.pid()) };
    home.put_with(&state, "{");
    assert!(home.load("c").unwrap().hooks().unwrap().poststop.is_empty());
}

#[test]
fn a_state_of_version_1_has_its_configuration_inside() {
    let home = Home::new();
    let sleep = Sleep::new();
    let path = home.put(&state("c", sleep.pid()));
    std::fs::remove_file(path.join("config.json")).unwrap();
    let mut old = serde_json::to_value(state("c", sleep.pid())).unwrap();
    old["version"] = json!(1);
    old["config"] = serde_json::from_str(HOOKS).unwrap();
    old.as_object_mut().unwrap().remove("hasHooks");
    std::fs::write(path.join("state.json"), old.to_string()).unwrap();
    let container = home.load("c").unwrap();
    assert_eq!(container.config().unwrap().version(), "1.0.2");
    assert_eq!(container.hooks().unwrap().poststop.len(), 1);
}

#[test]
fn a_missing_configuration_is_an_error_that_names_the_file() {
    let home = Home::new();
    let sleep = Sleep::new();
    let path = home.put(&state("c", sleep.pid())).join("config.json");
    std::fs::remove_file(&path).unwrap();
    let error = home.load("c").unwrap().config().unwrap_err();
    assert_eq!(error.to_string(), format!("{path:?}: does not exist"));
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn a_container_that_is_deleted_meanwhile_does_not_exist() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    home.put(&state("c", sleep.pid()));
    let reader = home.load("c").unwrap();
    assert_eq!(reader.status().unwrap(), Status::Created);
    sleep.make_zombie();
    container::delete::destroy(home.load("c").unwrap()).unwrap();
    let error = reader.config().unwrap_err();
    assert!(error.to_string().ends_with("container does not exist: \"c\""), "{error}");
    assert_eq!(error.kind(), Kind::NotFound);
}
