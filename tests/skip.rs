//! Tests that this machine cannot run. A module of the end-to-end tests and of the library's own.
//!
//! `BULKHEAD_TEST_SKIPS` names a file that collects these tests, with the reason.

use std::fs::OpenOptions;
use std::io::Write;

/// Returns from the test, since this machine cannot run it, and records the reason.
macro_rules! skip {
    ($($reason:tt)*) => {{
        fn here() {}
        $crate::skip::record(std::any::type_name_of_val(&here), &format!($($reason)*));
        return;
    }};
}
pub(crate) use skip;

/// Writes a skipped test into the file that `hack/test.sh` reads.
pub fn record(function: &str, reason: &str) {
    let test = function.trim_end_matches("::here");
    let test = test.split_once("::").map_or(test, |(_program, test)| test);
    eprintln!("skipped: {test}: {reason}");
    if let Some(path) = std::env::var_os("BULKHEAD_TEST_SKIPS") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        let view = std::env::var("BULKHEAD_TEST_CGROUP").unwrap_or_default();
        file.write_all(format!("{test}\t{view}\t{reason}\n").as_bytes()).unwrap();
    }
}
