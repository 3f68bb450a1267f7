//! Checks the profiles in `seccomp-profiles/`: they compile without a warning, for every
//! architecture that they name.

use std::collections::HashSet;
use std::fs;

use crate::seccomp::compile;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};

fn profiles() -> Vec<(String, LinuxSeccomp)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/seccomp-profiles");
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

#[test]
fn each_compiles_without_a_warning() {
    let profiles = profiles();
    let names: HashSet<&str> = profiles.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, HashSet::from(["default", "strict", "no-network", "audit"]));
    for (name, profile) in &profiles {
        let mut warnings = Vec::new();
        let filter = compile(profile, &mut warnings).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        assert!(filter.program.len() >= 16, "{name}");
        assert!(!filter.notify, "{name}");
    }
}

#[test]
fn no_name_stands_twice_with_the_same_conditions() {
    for (name, profile) in &profiles() {
        let mut seen = HashSet::new();
        for rule in profile.syscalls().iter().flatten() {
            for call in rule.names() {
                assert!(seen.insert(format!("{call} {:?}", rule.args())), "{name}: {call}");
            }
        }
    }
}

#[test]
fn what_audit_logs_is_what_default_refuses() {
    let profiles = profiles();
    let allowed = |which: &str| -> HashSet<String> {
        let (_, profile) = profiles.iter().find(|(name, _)| name == which).unwrap();
        profile
            .syscalls()
            .iter()
            .flatten()
            .filter(|rule| rule.action() == LinuxSeccompAction::ScmpActAllow)
            .flat_map(|rule| rule.names().iter().map(|call| format!("{call} {:?}", rule.args())))
            .collect()
    };
    assert_eq!(allowed("audit"), allowed("default"));
    assert!(allowed("strict").is_subset(&allowed("default")));
}
