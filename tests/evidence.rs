//! docs/security-evidence.md names the tests that make each known attack.

use std::process::Command;

#[test]
fn the_page_says_which_attacks_the_tests_make() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/evidence.py");
    let output = Command::new(script).arg("--check").output().expect("python3 is missing");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
