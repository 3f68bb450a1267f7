//! docs/conformance.md names the tests that prove each property of the specification.

use std::process::Command;

#[test]
fn the_page_says_what_the_tests_prove() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/conformance.py");
    let output = Command::new(script).arg("--check").output().expect("python3 is missing");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
