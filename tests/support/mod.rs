//! What the end-to-end tests share: a bundle builder, the runtime's command line with a time limit
//! on every call, and readers of what the kernel says. Every container made here is deleted at the
//! end of its test, and a test fails if anything of it is left then.
//!
//! The binary under test is `BULKHEAD_BIN`, else the one cargo built.

mod bundle;
pub mod canary;
mod container;
mod kernel;
pub mod rootless;
mod runtime;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

pub(crate) use crate::skip::skip;
pub use bundle::Bundle;
pub use container::Container;
pub use kernel::{
    Proc, Version, by_systemd, cgroup_file, cgroup_mounts, controller, kernel_at_least, ns_link,
    unprivileged_user_namespaces,
};
pub use runtime::{Ran, Runtime, binary_under_test};
pub use serde_json::{Value, json};

/// How long any one call of the runtime, or any wait for the kernel, may take: 30 seconds, or as many
/// as `BULKHEAD_TEST_PATIENCE` says (`hack/vm` is ten times slower than a machine).
pub static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
    let said = std::env::var("BULKHEAD_TEST_PATIENCE").ok();
    Duration::from_secs(said.map_or(30, |text| text.parse().expect("BULKHEAD_TEST_PATIENCE")))
});

/// How long a call may take that waits for nothing: much less than what it must not wait for.
pub static QUICK: LazyLock<Duration> = LazyLock::new(|| *PATIENCE / 6);

/// Leaves the test when this view of the machine has no such controller; else the version it is of.
macro_rules! need {
    ($name:literal) => {
        match $crate::support::controller($name) {
            Some((version, _)) => version,
            None => $crate::skip::skip!("no {} controller here", $name),
        }
    };
}
pub(crate) use need;

/// What a control file of the container's cgroup says, by its name under v1 or v2.
#[track_caller]
pub fn control(c: &Container, controller: &str, v1: &str, v2: &str) -> String {
    let file = cgroup_file(c.process(), controller, v1, v2);
    let text = std::fs::read_to_string(&file);
    text.unwrap_or_else(|error| panic!("{file:?}: {error}")).trim().to_owned()
}

/// Asks until there is an answer; fails the test when there is none in time.
pub fn wait_for<T>(what: impl Debug, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + *PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {:?} in vain for {what:?}", *PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Like [`wait_for`], for a condition.
pub fn wait_until(what: impl Debug, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// The value after `key=` in a program's output.
#[track_caller]
pub fn said<'a>(output: &'a str, key: &str) -> &'a str {
    output
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("nothing is said about {key:?} in:\n{output}"))
}

/// Runs a test for every row of a table, to the end, and fails if one of them failed.
pub fn for_each_row<T: std::panic::RefUnwindSafe>(
    rows: &[T],
    test: impl Fn(&T) + std::panic::RefUnwindSafe,
) {
    let failed: Vec<usize> = (0..rows.len())
        .filter(|number| std::panic::catch_unwind(|| test(&rows[*number])).is_err())
        .collect();
    assert!(failed.is_empty(), "rows {failed:?} of {} failed (see above)", rows.len());
}

/// Copies a program that is to be executed. By another process: a copy that this one has open for
/// writing is, for a moment, open in every child that another test's thread has just forked, and
/// execve(2) of it fails with ETXTBSY.
pub fn copy_program(from: impl AsRef<std::path::Path>, to: impl AsRef<std::path::Path>) {
    let status =
        std::process::Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()).status();
    assert!(status.unwrap().success(), "cp {:?} {:?}", from.as_ref(), to.as_ref());
}

/// Compiles tests/NAME/NAME.c, statically, and copies the program to /bin/NAME of the container.
pub fn put_c_program(c: &Container, name: &'static str) {
    static BUILT: Mutex<BTreeMap<&str, tempfile::TempDir>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap();
    let dir = built.entry(name).or_insert_with(|| {
        let dir = tempfile::tempdir().unwrap();
        let source = format!("{}/tests/{name}/{name}.c", env!("CARGO_MANIFEST_DIR"));
        let status = std::process::Command::new("cc")
            .args(["-O2", "-Wall", "-Werror", "-static", "-o"])
            .arg(dir.path().join(name))
            .arg(source)
            .status();
        assert!(status.expect("a C compiler is missing (Debian: gcc libc6-dev)").success());
        dir
    });
    copy_program(dir.path().join(name), c.rootfs().join("bin").join(name));
}
