//! The state of containers, with hand-made containers.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::test_support::{CONFIG, Home, Sleep, id, intent, state};
use crate::state::{self, START_FIFO, State, Status, VERSION};
use crate::{Kind, container};

fn status(home: &Home, name: &str) -> Status {
    home.load(name).unwrap().status().unwrap()
}

#[test]
fn status_comes_from_the_live_process() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    let path = home.put(&state("c", sleep.pid()));
    assert_eq!(status(&home, "c"), Status::Created);
    std::fs::remove_file(path.join(START_FIFO)).unwrap();
    assert_eq!(status(&home, "c"), Status::Running);
    // A container object examines the process each time.
    let container = home.load("c").unwrap();
    sleep.make_zombie();
    assert_eq!(container.status().unwrap(), Status::Stopped);
    assert_eq!(status(&home, "c"), Status::Stopped);
    sleep.0.wait().unwrap();
    assert_eq!(status(&home, "c"), Status::Stopped);
}

#[test]
fn reused_pid_and_other_boot_are_stopped_and_get_no_signal() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    let mut reused = state("reused", sleep.pid());
    reused.start_time += 1;
    let mut reboot = state("reboot", sleep.pid());
    reboot.boot_id = "00000000-0000-0000-0000-000000000000".to_owned();
    for state in [&reused, &reboot] {
        home.put_running(state);
        let name = state.id.as_str();
        let container = home.load(name).unwrap();
        assert_eq!(container.status().unwrap(), Status::Stopped, "{name}");
        assert!(container.pidfd().unwrap().is_none(), "{name}");
        let error = container::kill::kill(&container, 9, false).unwrap_err().to_string();
        assert!(error.ends_with("container not running"), "{error}");
        container::delete::stop(&container, Duration::from_secs(1)).unwrap();
        container::delete::destroy(container).unwrap();
    }
    assert!(sleep.alive());
    assert!(home.names().is_empty());
}

#[test]
fn forged_pids_are_never_signalled() {
    for pid in [0, 1, -1, i32::MIN] {
        let home = Home::new();
        let mut forged = state("f", std::process::id() as i32);
        forged.pid = pid;
        forged.start_time = state::process_start_time(pid).unwrap().unwrap_or(0);
        home.put_running(&forged);
        let error = home.load("f").unwrap_err();
        assert!(error.to_string().contains("state.json\": pid: "), "{error}");
        let mut container = home.store().load_any(&id("f")).unwrap();
        assert!(container.pidfd().unwrap().is_none());
        container.lock().unwrap();
        container::delete::stop(&container, Duration::from_secs(1)).unwrap();
        container::delete::destroy(container).unwrap();
        assert!(home.names().is_empty());
    }
}

#[test]
fn kill_reaches_init_and_only_a_live_one() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    home.put_running(&state("c", sleep.pid()));
    let container = home.load("c").unwrap();
    container::kill::kill(&container, 0, false).unwrap();
    assert!(sleep.alive());
    container::kill::kill(&container, 40, false).unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(sleep.0.wait().unwrap().signal(), Some(40));
    let error = container::kill::kill(&container, 15, false).unwrap_err();
    assert_eq!(error.to_string(), "kill container \"c\": container not running");
    assert_eq!(error.kind(), Kind::State);
}

#[test]
fn directory_is_made_with_its_mark() {
    let home = Home::new();
    let reserved = home.reserve("c");
    let meta = std::fs::metadata(reserved.path()).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o1700);
    assert_eq!(std::fs::metadata(home.root()).unwrap().mode() & 0o7777, 0o700);
    let file = std::fs::metadata(reserved.path().join("intent.json")).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o600);
    reserved.abandon().unwrap();
    assert!(home.names().is_empty());
}

#[test]
fn a_second_container_of_the_same_id_is_refused_and_harms_nothing() {
    let home = Home::new();
    let sleep = Sleep::new();
    home.put(&state("c", sleep.pid()));
    let error =
        home.store().reserve(&id("c"), &intent("c"), CONFIG.into()).unwrap_err().to_string();
    assert!(error.contains("container with given ID already exists"), "{error}");
    assert_eq!(status(&home, "c"), Status::Created);
}

#[test]
fn only_marked_directories_are_containers() {
    let home = Home::new();
    let store = home.store();
    store.create_root().unwrap();
    let root = home.root();
    std::fs::create_dir(root.join("plain")).unwrap();
    for (name, mode) in [("m700", 0o700), ("m1777", 0o1777), ("m1755", 0o1755)] {
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    home.reserve("real").keep();
    symlink("real", root.join("link")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    for name in ["plain", "m700", "m1777", "m1755", "link", "file", "absent"] {
        let error = store.load_any(&id(name)).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{name}");
        assert!(error.to_string().starts_with("container does not exist: "), "{error}");
    }
    assert_eq!(home.store().list().unwrap().count(), 1);
    // A set-group-ID bit comes from the parent directory and does not matter.
    std::fs::set_permissions(root.join("real"), PermissionsExt::from_mode(0o3700)).unwrap();
    store.load_any(&id("real")).unwrap();
}

#[test]
fn directories_of_other_users_are_no_containers() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can make one
    }
    let home = Home::new();
    let path = home.put(&state("c", std::process::id() as i32));
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    assert_eq!(home.load("c").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn foreign_files_are_never_removed() {
    let home = Home::new();
    let path = home.reserve("c").path().to_owned();
    std::fs::write(path.join("precious"), "x").unwrap();
    let container = home.store().load_any(&id("c")).unwrap();
    let error = container::delete::destroy(container).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(std::fs::read_to_string(path.join("precious")).unwrap(), "x");
}

#[test]
fn creation_is_seen_by_its_lock() {
    let home = Home::new();
    let reserved = home.reserve("c");
    assert_eq!(status(&home, "c"), Status::Creating);
    {
        let container = home.load("c").unwrap();
        let json = serde_json::to_value(container.document().unwrap()).unwrap();
        assert_eq!(json["status"], "creating");
        assert_eq!(json["bundle"], "/bundle");
        assert_eq!(json["pid"], 0);
    }
    // A crash of create: the descriptor is closed, and nothing else happens.
    drop(reserved);
    assert_eq!(status(&home, "c"), Status::Stopped);
    container::delete::destroy(home.load("c").unwrap()).unwrap();
    home.reserve("c").abandon().unwrap();
}

#[test]
fn a_prepared_state_is_seen_when_it_is_committed() {
    let home = Home::new();
    let sleep = Sleep::new();
    let first = state("c", sleep.pid());
    let other = State { user_namespace: 7, ..first.clone() };
    for committed in [first.clone(), other] {
        let mut reserved = home.reserve("c");
        reserved.prepare(first.clone()).unwrap();
        assert_eq!(status(&home, "c"), Status::Creating);
        reserved.commit(&committed).unwrap();
        let found = home.load("c").unwrap();
        assert_eq!(found.state().unwrap().user_namespace, committed.user_namespace);
        let names: Vec<_> = std::fs::read_dir(reserved.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 3, "{names:?}");
        reserved.abandon().unwrap();
    }
    // A create that is killed between the two.
    let mut reserved = home.reserve("c");
    reserved.prepare(first).unwrap();
    drop(reserved);
    assert_eq!(status(&home, "c"), Status::Stopped);
    container::delete::destroy(home.load("c").unwrap()).unwrap();
    home.reserve("c").abandon().unwrap();
}

#[test]
fn a_kept_container_is_not_locked_by_a_child_that_shares_the_descriptor() {
    let home = Home::new();
    let mut reserved = home.reserve("c");
    reserved.commit(&state("c", std::process::id() as i32)).unwrap();
    let copy = reserved.dir().try_clone_to_owned().unwrap();
    reserved.keep();
    home.load("c").unwrap().lock().unwrap();
    drop(copy);
}

#[test]
fn lock_waits_for_create_and_sees_its_end() {
    let home = Home::new();
    let sleep = Sleep::new();
    let mut reserved = home.reserve("ok");
    let other = home.reserve("gone");
    let mut ok = home.load("ok").unwrap();
    let mut gone = home.load("gone").unwrap();
    assert!(ok.state().is_none());
    let committed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            reserved.commit(&state("ok", sleep.pid())).unwrap();
            committed.store(true, Ordering::SeqCst);
            reserved.keep();
            other.abandon().unwrap();
        });
        ok.lock().unwrap();
        assert!(committed.load(Ordering::SeqCst));
        assert_eq!(ok.status().unwrap(), Status::Running);
        assert_eq!(gone.lock().unwrap_err().kind(), Kind::NotFound);
    });
}

#[test]
fn a_container_made_anew_is_not_the_one_that_was_loaded() {
    let home = Home::new();
    home.reserve("c").keep();
    let mut old = home.load("c").unwrap();
    container::delete::destroy(home.load("c").unwrap()).unwrap();
    home.reserve("c").keep();
    assert_eq!(old.lock().unwrap_err().kind(), Kind::NotFound);
    assert_eq!(home.names(), ["c"]);
}

#[test]
fn broken_state_files_are_one_line_errors_that_name_the_file() {
    let home = Home::new();
    let newer = VERSION + 1;
    let good = serde_json::to_string(&state("c", std::process::id() as i32)).unwrap();
    let other_id = good.replace("\"id\":\"c\"", "\"id\":\"d\"");
    let path = home.put_running(&state("c", std::process::id() as i32)).join("state.json");
    for (bytes, part) in [
        ("", "EOF"),
        ("null", "null"),
        ("{}", "missing field"),
        ("[]", "invalid length"),
        (&good[..good.len() / 2], "EOF"),
        (&format!("{good}x"), "trailing"),
        (&other_id, "id: \"d\": is not the name of its directory"),
        (&format!("{{\"version\":{newer}}}"), "written by a newer bulkhead (version 3"),
        (&good.replace("\"version\":2", "\"version\":3"), "written by a newer bulkhead"),
        (&good.replace("\"version\":2", "\"version\":0"), "no such version"),
        (&good.replace("\"version\":2", "\"version\":-1"), "-1"),
        (&"[".repeat(100_000), "invalid type"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = home.load("c").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path:?}: ")), "{error}");
        assert!(error.contains(part) && !error.contains('\n'), "{part}: {error}");
        assert!(error.len() < 400, "{error}");
        // It does not hide other containers.
        assert!(home.store().list().unwrap().next().is_none());
    }
}

#[test]
fn state_files_that_are_no_files_do_not_block_and_are_refused() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    let good = serde_json::to_string(&state("c", sleep.pid())).unwrap();
    let path = home.put_running(&state("c", sleep.pid())).join("state.json");
    let target = home.dir.path().join("target");
    std::fs::write(&target, good).unwrap();
    let huge = || std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let fifo = || {
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    };
    let begin = Instant::now();
    for (make, why) in [
        (&(|| symlink(&target, &path).unwrap()) as &dyn Fn(), "not a regular file"),
        (&fifo, "not a regular file"),
        (&huge, "bytes long"),
    ] {
        std::fs::remove_file(&path).unwrap();
        make();
        let error = home.load("c").unwrap_err().to_string();
        assert_eq!(&error[..path.as_os_str().len() + 4], format!("{path:?}: "));
        assert!(error.contains(why), "{error}");
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    // A clean-up may remove it, and affects no process.
    let container = home.store().load_any(&id("c")).unwrap();
    assert!(container.broken().is_some() && container.intent().is_some());
    container::delete::destroy(container).unwrap();
    assert!(target.exists() && sleep.alive());
}

#[test]
fn a_live_container_is_not_destroyed() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    home.put(&state("c", sleep.pid()));
    let error = container::delete::destroy(home.load("c").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "delete container \"c\": it is created");
    assert_eq!(error.kind(), Kind::State);
    assert!(sleep.alive());
    assert_eq!(status(&home, "c"), Status::Created);
}

#[test]
fn stop_waits_for_the_death() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    home.put_running(&state("c", sleep.pid()));
    let container = home.load("c").unwrap();
    container::delete::stop(&container, Duration::from_secs(10)).unwrap();
    assert_eq!(container.status().unwrap(), Status::Stopped);
    assert!(!sleep.alive());
}

#[test]
fn a_removal_that_fails_half_way_can_be_repeated() {
    let home = Home::new();
    let mut dead = state("c", std::process::id() as i32);
    dead.start_time += 1;
    let intent = home.put(&dead).join("intent.json");
    // A directory cannot be unlinked.
    std::fs::remove_file(&intent).unwrap();
    std::fs::create_dir(&intent).unwrap();
    let error = container::delete::destroy(home.load("c").unwrap()).unwrap_err().to_string();
    assert!(error.contains("remove intent.json: is a directory"), "{error}");
    // The container is still known, since the state is removed last.
    assert_eq!(status(&home, "c"), Status::Stopped);
    assert!(home.load("c").unwrap().state().is_some());
    std::fs::remove_dir(&intent).unwrap();
    container::delete::destroy(home.load("c").unwrap()).unwrap();
    assert!(home.names().is_empty());
}

#[test]
fn destroy_runs_the_poststop_hooks_of_the_snapshot_after_the_directory_is_gone() {
    let home = Home::new();
    let out = home.dir.path().join("out");
    let mut state = state("c", std::process::id() as i32);
    state.start_time += 1;
    let hook =
        |script: String| serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let gone = home.root().join("c");
    let config = serde_json::json!({"ociVersion": "1.0.2", "hooks": {"poststop": [
        hook("exit 1".to_owned()),
        hook(format!("test ! -e {} && cat > {}", gone.display(), out.display())),
    ]}});
    home.put_with(&state, &config.to_string());
    let container = home.load("c").unwrap();
    assert_eq!(container.config().unwrap().version(), "1.0.2");
    container::delete::destroy(container).unwrap();
    let seen: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap();
    assert_eq!(seen["status"], "stopped");
    assert_eq!(seen["pid"], 0);
    assert_eq!(seen["id"], "c");
    assert_eq!(seen["bundle"], "/bundle");
    assert_eq!(seen["annotations"]["k"], "v");
}
