//! Commands that race for a container.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::test_support::{CONFIG, Home, Sleep, id, intent, state};
use crate::state::Status;
use crate::{Kind, container};

#[test]
fn readers_never_see_half_a_container() {
    let home = Home::new();
    let sleep = Sleep::new();
    home.store().create_root().unwrap();
    let mut state = state("c", sleep.pid());
    // Long enough that a write in place would be seen incomplete.
    state.annotations.insert("long".to_owned(), "x".repeat(64 << 10));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let store = home.store();
                    let (mut seen, mut absent) = (0, 0);
                    while !done.load(Ordering::Relaxed) {
                        match store.load(&id("c")) {
                            Ok(container) => {
                                let status = container.status().unwrap();
                                let wanted = [Status::Creating, Status::Running];
                                assert!(wanted.contains(&status), "{status}");
                                assert_eq!(container.state().is_some(), status == Status::Running);
                                seen += 1;
                            }
                            Err(e) => {
                                assert_eq!(e.kind(), Kind::NotFound, "{e}");
                                absent += 1;
                            }
                        }
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    (seen, absent)
                })
            })
            .collect();
        for _ in 0..20 {
            let mut reserved = home.store().reserve(&id("c"), &intent("c"), CONFIG.into()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
            reserved.commit(&state).unwrap();
            reserved.keep();
            std::thread::sleep(Duration::from_millis(5));
            let mut container = home.load("c").unwrap();
            container.lock().unwrap();
            container.remove().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let counts: Vec<(u32, u32)> = readers.into_iter().map(|r| r.join().unwrap()).collect();
        assert!(counts.iter().map(|c| c.0).sum::<u32>() > 0, "{counts:?}");
        assert!(counts.iter().map(|c| c.1).sum::<u32>() > 0, "{counts:?}");
    });
}

#[test]
fn many_deletes_of_one_container_all_end_well() {
    let home = Home::new();
    for _ in 0..20 {
        home.reserve("c").keep();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    match home.store().load_any(&id("c")).and_then(container::delete::destroy) {
                        Ok(()) => {}
                        Err(e) => assert_eq!(e.kind(), Kind::NotFound, "{e}"),
                    }
                });
            }
        });
        assert!(home.names().is_empty());
    }
}

#[test]
fn creators_and_deleters_race_to_a_clean_end() {
    let home = Home::new();
    home.store().create_root().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    match home.store().reserve(&id("c"), &intent("c"), CONFIG.into()) {
                        // A reserved directory stays this process's until it is abandoned.
                        Ok(reserved) => {
                            let meta = std::fs::metadata(reserved.path()).unwrap();
                            let own = nix::sys::stat::fstat(reserved.dir()).unwrap();
                            assert_eq!(meta.ino(), own.st_ino);
                            reserved.abandon().unwrap();
                        }
                        Err(e) => assert_eq!(e.kind(), Kind::State, "{e}"),
                    }
                }
            });
            scope.spawn(|| {
                for _ in 0..200 {
                    match home.store().load_any(&id("c")).and_then(container::delete::destroy) {
                        Ok(()) => {}
                        Err(e) => assert_eq!(e.kind(), Kind::NotFound, "{e}"),
                    }
                }
            });
        }
    });
    assert!(home.names().is_empty());
}
