//! exec: cgroups, terminals, and users without privileges.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::*;

fn asleep() -> Container {
    let mut c = Container::new();
    c.args(&["sleep", "600"]);
    c
}

/// The directories of a process's cgroups on the host, with the controllers of each.
fn dirs(process: Proc) -> Vec<(PathBuf, Vec<String>)> {
    let cgroups = process.read("cgroup");
    let dir = |(root, controllers): (PathBuf, Vec<String>)| {
        let line = cgroups.lines().find(|line| {
            let names = line.split(':').nth(1).unwrap();
            // v1 mounts have `rw` among their options, and a name's value elsewhere.
            let at = root.file_name().unwrap().to_str().unwrap();
            let mut named = names.split(',');
            match controllers.is_empty() {
                true => names.is_empty(),
                false => named.any(|n| {
                    n.trim_start_matches("name=") == at || controllers.iter().any(|c| c == n)
                }),
            }
        })?;
        let path = line.splitn(3, ':').nth(2).unwrap();
        Some((root.join(path.trim_start_matches('/')), controllers))
    };
    cgroup_mounts().into_iter().filter_map(dir).collect()
}

#[test]
fn a_cgroup_below_the_containers_can_be_chosen() {
    let c = asleep();
    c.run_detached();
    let dirs = dirs(c.process());
    assert!(!dirs.is_empty());
    for (dir, controllers) in &dirs {
        fs::create_dir(dir.join("below")).unwrap();
        // v1 fills these for nobody but a runtime.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if controllers.iter().any(|name| name == "cpuset") {
                fs::copy(dir.join(file), dir.join("below").join(file)).unwrap();
            }
        }
    }
    let said = |options: &[&str]| c.exec(options, &["cat", "/proc/self/cgroup"]).ok().stdout;
    // Hierarchies that are not mounted in this view are in the list, too.
    let text = said(&["--cgroup", "below"]);
    assert_eq!(text.lines().filter(|line| line.ends_with("/below")).count(), dirs.len(), "{text}");
    assert!(!said(&["--cgroup", "/"]).contains("below"));
    c.exec(&["--cgroup", ".."], &["true"]).not_started(&["bad sub cgroup path"]);
    let missing = ["adding pid ", " to cgroups: ", "none", "no such file or directory"];
    c.exec(&["--cgroup", "none"], &["true"]).not_started(&missing);
    c.exec(&["--cgroup", "what:/"], &["true"]).not_started(&["unknown controller ", "what"]);
    if let Some(name) = ["memory", "pids", "cpu"]
        .into_iter()
        .find(|name| dirs.iter().any(|(_, controllers)| controllers.iter().any(|one| one == name)))
    {
        let text = said(&["--cgroup", &format!("{name}:below")]);
        let below: Vec<&str> = text.lines().filter(|line| line.ends_with("/below")).collect();
        assert_eq!(below.len(), 1, "{text}");
        assert!(below[0].contains(name), "{text}");
        c.exec(&["--cgroup", &format!("{name}:none")], &["true"]).not_started(&missing);
    }
}

#[test]
fn an_init_that_has_left_its_v2_cgroup_is_followed() {
    let c = asleep();
    c.run_detached();
    let all = dirs(c.process());
    let Some((dir, _)) = all.iter().find(|(_, controllers)| controllers.is_empty()) else {
        skip!("there is no cgroup v2 here");
    };
    let elsewhere = dir.with_file_name(format!("{}-elsewhere", c.id));
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("cgroup.procs"), c.process().pid().to_string()).unwrap();
    // systemd may have been faster.
    wait_until("an empty cgroup to go", || fs::remove_dir(dir).is_ok() || !dir.exists());
    let file = c.path().join("exec-pid");
    let ran = c.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["sleep", "601"]);
    let joined = ran.code() == Some(0);
    let seen = joined
        .then(|| Proc::new(fs::read_to_string(&file).unwrap().parse().unwrap()).read("cgroup"));
    c.exec(&["--cgroup", "/"], &["true"]).not_started(&["no such file or directory"]);
    c.kill("KILL").ok();
    c.wait_status("stopped");
    wait_for("the cgroup to be empty", || fs::remove_dir(&elsewhere).ok());
    let seen = seen.unwrap_or_else(|| panic!("{ran:#?}"));
    assert!(seen.lines().any(|line| line.ends_with("-elsewhere")), "{seen}");
}

#[test]
fn a_terminal_of_its_own() {
    let c = asleep();
    c.run_detached();
    let ran = c.exec(&["--tty"], &["sh", "-c", "tty; stty size; exit 3"]);
    assert_eq!(ran.code(), Some(3));
    assert!(ran.stdout.starts_with("/dev/pts/"), "{ran:?}");
    // Never taken over from the container's own process.
    assert_eq!(c.exec(&[], &["tty"]).stdout, "not a tty\n");
    let process = json!({"terminal": true, "consoleSize": {"height": 33, "width": 44},
        "user": {"uid": 9, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
        "args": ["sh", "-c", "stty size; stat -c %u $(tty)"]});
    let file = c.file("process.json", &process.to_string());
    let ran = c.exec(&["-p", file.to_str().unwrap()], &[]).ok();
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), ["33 44", "9"]);
    c.exec(&["--tty", "--detach"], &["true"]).not_started(&["--console-socket"]);
    let socket = c.path().join("none.sock");
    c.exec(&["--console-socket", socket.to_str().unwrap()], &["true"]).not_started(&["terminal"]);
}

#[test]
fn nobody_in_his_own_container() {
    if !unprivileged_user_namespaces() {
        skip!("unprivileged user namespaces are switched off");
    }
    let mut c = crate::support::rootless::of_nobody("exec sleep 600");
    c.without_namespace("cgroup");
    c.run_detached();
    let said = c.exec(&[], &["sh", "-c", "id -u; echo $$"]).ok().stdout;
    assert!(said.starts_with("0\n"), "{said}");
    let file = c.path().join("exec-pid");
    c.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["sleep", "601"]).ok();
    let process = Proc::new(fs::read_to_string(&file).unwrap().parse().unwrap());
    for kind in ["user", "pid", "mnt", "net"] {
        assert_eq!(process.ns(kind), c.process().ns(kind), "{kind}");
    }
    assert_eq!(process.status("Uid").split_whitespace().next(), Some("65534"));
    let ran = c.exec(&["--tty"], &["tty"]).ok();
    assert!(ran.stdout.starts_with("/dev/pts/"), "{ran:?}");
    c.exec(&["-g", "5"], &["true"]).not_started(&["additionalGids"]);
    assert!(Path::new("/proc/self").exists());
}
