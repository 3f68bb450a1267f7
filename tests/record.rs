//! `record`: the profile permits what was recorded, in every process, and nothing else.

use std::fs;
use std::path::PathBuf;

use crate::support::*;

struct Recorded {
    c: Container,
    directory: PathBuf,
}

impl Recorded {
    fn new(script: &str) -> Recorded {
        let c = Container::with_script(script);
        let directory = c.path().join("profile");
        Recorded { c, directory }
    }

    #[track_caller]
    fn record(&self, options: &[&str]) -> Ran {
        let mut words = vec!["--output", self.directory.to_str().unwrap()];
        words.extend(options);
        self.c.call("record", &words)
    }

    fn profile(&self) -> Value {
        let text = fs::read_to_string(self.directory.join("seccomp.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

const SCRIPT: &str = "mkdir /tmp/made; (cat /etc/group; sh -c 'echo child') | wc -l; exit 7";

#[test]
fn a_container_runs_under_its_own_profile_and_cannot_do_more() {
    let mut r = Recorded::new(SCRIPT);
    let ran = r.record(&[]);
    assert_eq!(ran.status.code(), Some(7), "{ran:?}");
    assert_eq!(ran.stdout, "3\n");
    let list = fs::read_to_string(r.directory.join("syscalls.txt")).unwrap();
    // The child of a child made these.
    for call in ["execve", "mkdir", "wait4"] {
        assert!(list.contains(&format!(" {call} ")), "{call}: {list}");
    }
    assert!(!list.contains(" rmdir "), "{list}");
    let files: Vec<_> =
        fs::read_dir(&r.directory).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "{files:?}");

    let profile = r.profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    r.c.set("/linux/seccomp", profile);
    fs::remove_dir(r.c.rootfs().join("tmp/made")).unwrap();
    let ran = r.c.run();
    assert_eq!(ran.status.code(), Some(7), "{ran:?}");
    assert_eq!(ran.stdout, "3\n");
    // Not recorded, so refused; and the kernel knows of the filter.
    r.c.sh("rmdir /tmp/made || echo refused; cat /proc/self/status");
    let ran = r.c.run();
    assert!(ran.stdout.contains("refused"), "{ran:?}");
    assert!(ran.stdout.contains("Seccomp:\t2"), "{ran:?}");
    assert!(r.c.rootfs().join("tmp/made").is_dir());
}

#[test]
fn a_profile_is_left_out_only_on_request() {
    let mut r = Recorded::new("true");
    r.c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    let ran = r.record(&[]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("--without-profile"), "{}", ran.stderr);
    assert!(!r.directory.exists());
    r.record(&["--without-profile"]).ok();
    // Results are not overwritten, and nothing runs then.
    let again = r.record(&["--without-profile"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stderr.contains("already exists"), "{}", again.stderr);
}

#[test]
fn a_failed_create_leaves_no_agent() {
    let mut r = Recorded::new("true");
    r.c.args(&["/no/such/program"]);
    let ran = r.record(&[]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no such file"), "{}", ran.stderr);
    let left = fs::read_dir(&r.directory).unwrap().count();
    assert_eq!(left, 0);
}
