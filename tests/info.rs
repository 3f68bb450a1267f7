//! `info`: what it says is what the kernel says, and it changes nothing.

use std::fs;

use crate::support::*;

fn info(rt: &Runtime) -> Value {
    serde_json::from_str(&rt.call(&["info", "--format", "json"]).ok().stdout).unwrap()
}

fn feature<'a>(info: &'a Value, name: &str) -> &'a Value {
    let features = info["features"].as_array().unwrap();
    features.iter().find(|feature| feature["name"] == name).expect(name)
}

#[test]
fn it_says_what_the_kernel_says() {
    let c = Container::new();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let found = info(&c.rt);
    assert_eq!(mounts(), before);
    assert!(!c.rt.root.exists(), "it makes no state directory");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(found["kernel"], release.trim());
    assert_eq!(found["uid"], 0);
    if found["cgroups"] == "v2" {
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
        assert_eq!(found["controllers"], json!(controllers.split_whitespace().collect::<Vec<_>>()));
    }
    // Without these no test could run.
    for name in ["clone3", "open_tree, fsopen", "mount_setattr", "pidfd"] {
        assert_eq!(*feature(&found, name), json!({"name": name, "present": true}));
    }
    let text = c.rt.call(&["info"]).ok().stdout;
    assert!(text.contains(&format!("\nkernel       {} ", release.trim())), "{text}");
    for feature in found["features"].as_array().unwrap() {
        let line = format!("\n  without {}: ", feature["name"].as_str().unwrap());
        assert_eq!(text.contains(&line), feature["present"] == false, "{line}{text}");
    }
}

/// In a container whose seccomp filter hides two system calls, and that has no rights.
#[test]
fn what_is_hidden_is_missing() {
    let mut c = Container::with_script("/bulkhead --root /tmp/none info --format json");
    for (place, source) in [("/lib64", "/lib64"), ("/lib", "/lib"), ("/usr/lib", "/usr/lib")] {
        if std::path::Path::new(source).is_dir() {
            c.mount(place, "bind", source, &["rbind", "ro"]);
        }
    }
    let binary = c.rt.binary.clone();
    c.mount("/bulkhead", "bind", binary.to_str().unwrap(), &["bind", "ro"]);
    let rules =
        json!([{"names": ["clone3", "openat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]);
    c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let found: Value = serde_json::from_str(&c.output()).unwrap();
    for (name, cost) in
        [("clone3", "no container can be created"), ("openat2", "paths are resolved in more steps")]
    {
        assert_eq!(*feature(&found, name), json!({"name": name, "present": false, "cost": cost}));
    }
    assert_eq!(feature(&found, "pidfd")["present"], true);
}
