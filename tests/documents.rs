//! The code blocks of the documents: each of them is run, or tells why it is not. `hack/documents.py` reads
//! and runs them.

use std::process::Command;

use crate::skip;
use crate::support::binary_under_test;

/// Runs the script on these arguments, and returns what it prints.
fn documents(arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/documents.py");
    let mut command = Command::new(script);
    command.args(arguments).env("BULKHEAD_BIN", binary_under_test());
    let output = command.output().expect("python3 is missing");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{faults}");
    printed
}

#[test]
fn every_block_has_a_test_or_a_reason() {
    documents(&["check"]);
}

#[test]
fn the_readme() {
    let printed = documents(&["run", "README.md"]);
    assert!(printed.contains("hello from the inside"), "{printed}");
    assert!(printed.contains("\"status\": \"running\""), "{printed}");
}

#[test]
fn the_other_pages() {
    let printed = documents(&["run", "--without", "README.md", "--without", "docs/tour.md"]);
    assert!(printed.contains("docs/audit.md"), "{printed}");
}

/// A block whose feature this machine lacks is skipped under the name of the feature.
#[test]
fn the_tour() {
    let printed = documents(&["run", "docs/tour.md"]);
    for line in printed.lines().filter_map(|line| line.strip_prefix("skipped: ")) {
        let (feature, reason) = line.split_once(": ").unwrap();
        skip::record(&format!("e2e::documents::tour::{feature}"), reason);
    }
}

/// The number before `words` in a text, whose lines may be wrapped.
fn number_before(text: &str, words: &str) -> u32 {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let at = text.find(words).unwrap_or_else(|| panic!("not found: {words:?}"));
    let number = text[..at].trim_end().rsplit([' ', '(']).next().unwrap();
    number.replace(',', "").parse().unwrap_or_else(|_| panic!("{number:?} before {words:?}"))
}

/// The README repeats figures of pages that are generated, and of programs.
#[test]
fn the_figures_of_the_readme_are_those_of_their_sources() {
    let read = |path: &str| {
        std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let readme = read("README.md");
    let evidence = read("docs/security-evidence.md");
    assert_eq!(number_before(&readme, "advisories"), number_before(&evidence, "advisories"));
    assert_eq!(
        number_before(&readme, "that have no number"),
        number_before(&evidence, "that have no number")
    );
    let conformance = read("docs/conformance.md");
    assert_eq!(
        number_before(&readme, "properties and rules"),
        number_before(&conformance, "properties and rules")
    );
    assert_eq!(number_before(&readme, "have a test"), number_before(&conformance, "are proved"));
    let sweep = read("hack/crash-sweep");
    let quick = sweep.lines().find_map(|line| line.strip_prefix("QUICK = ")).unwrap();
    assert_eq!(number_before(&readme, "points"), quick.parse::<u32>().unwrap());
    let picture = read("docs/demo-light.svg");
    assert_eq!(
        number_before(&readme, "properties of containers"),
        number_before(&picture, "proofs hold")
    );
}
