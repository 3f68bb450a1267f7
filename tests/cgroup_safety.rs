//! Nothing is killed, frozen or removed that is not proven to be the container's: above all not what
//! another container of the same `cgroupsPath` has.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::*;

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// Two containers with one cgroup, each with its own state directory, as two engines have it.
fn sharing(change: fn(&mut Container)) -> (Container, Container) {
    let mut first = asleep();
    let mut second = asleep();
    let path = first.config["linux"]["cgroupsPath"].clone();
    second.set("/linux/cgroupsPath", path);
    change(&mut first);
    change(&mut second);
    (first, second)
}

fn without_pid_namespace(c: &mut Container) {
    c.without_namespace("pid");
}

fn end(c: &Container) {
    c.kill("KILL").ok();
    c.wait_status("stopped");
}

/// Every cgroup of the name of `c`, in whatever hierarchy.
fn dirs(c: &Container) -> Vec<PathBuf> {
    let all = cgroup_mounts().into_iter().map(|(point, _)| c.cgroup(&point));
    let dirs: Vec<_> = all.filter(|dir| dir.exists()).collect();
    // systemd removes those of a scope without processes.
    assert!(!dirs.is_empty() || by_systemd());
    dirs
}

/// A process of nobody's, in the cgroups of `c`.
fn stranger(c: &Container) -> Child {
    let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    for dir in dirs(c) {
        fs::write(dir.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    child
}

fn done(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

const KINDS: [fn(&mut Container); 2] = [|_| {}, without_pid_namespace];

// Evidence: cgroup-shared (delete)
#[test]
fn deleting_a_stopped_container_spares_the_next_user_of_its_cgroup() {
    for_each_row(&KINDS, |change| {
        for delete in [&["delete"][..], &["delete", "--force"]] {
            let (first, second) = sharing(*change);
            first.run_detached();
            end(&first);
            second.run_detached();
            let init = second.process();
            let mut words = delete.to_vec();
            words.push(&first.id);
            first.rt.call(&words).ok();
            assert!(init.alive(), "{words:?} has killed another container");
            assert_eq!(second.status(), "running");
            assert!(!first.rt.root.join(&first.id).exists());
            second.exec_sh("true");
            second.delete_force().ok();
            // The directory was not made by the second container, nor removed by the first.
            for dir in leftover_dirs(&first) {
                fs::remove_dir(dir).unwrap();
            }
        }
    });
}

fn leftover_dirs(c: &Container) -> Vec<PathBuf> {
    let all = cgroup_mounts().into_iter().map(|(point, _)| c.cgroup(&point));
    all.filter(|dir| dir.exists()).collect()
}

// Evidence: cgroup-shared (kill)
#[test]
fn signals_to_a_stopped_container_spare_the_next_user_of_its_cgroup() {
    for_each_row(&KINDS, |change| {
        let (first, second) = sharing(*change);
        first.run_detached();
        end(&first);
        second.run_detached();
        let init = second.process();
        for signal in ["TERM", "KILL"] {
            first.rt.call(&["kill", "--all", &first.id, signal]).ok();
        }
        first.kill("KILL").refused(&["container not running"]);
        let listed = first.rt.call(&["ps", "--format", "json", &first.id]).ok().stdout;
        assert_eq!(listed.trim(), "[]", "another container's processes");
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(init.alive());
        assert_eq!(second.status(), "running");
        second.delete_force().ok();
        // What was there before the second container is the first one's again.
        first.delete().ok();
        first.assert_gone();
    });
}

#[test]
fn a_cgroup_made_anew_at_the_same_path_is_another_one() {
    for_each_row(&KINDS, |change| {
        let (first, second) = sharing(*change);
        first.run_detached();
        end(&first);
        for dir in dirs(&first) {
            fs::remove_dir(dir).unwrap();
        }
        second.run_detached();
        let init = second.process();
        first.rt.call(&["kill", "--all", &first.id, "KILL"]).ok();
        first.delete().ok();
        assert!(init.alive());
        second.delete_force().ok();
        first.assert_gone();
    });
}

// Proves: linux.cgroupsPath:fit
#[test]
fn a_cgroup_with_processes_is_refused() {
    let first = asleep();
    first.run_detached();
    let mut second = asleep();
    second.set("/linux/cgroupsPath", first.config["linux"]["cgroupsPath"].clone());
    for verb in ["run", "create"] {
        let ran = second.call(verb, if verb == "run" { &["--detach"] } else { &[] });
        ran.refused(&["container's cgroup is not empty: 1 process(es) found", "cgroupsPath"]);
        second.assert_gone();
    }
    assert_eq!(first.status(), "running");
}

#[test]
fn a_process_in_one_hierarchy_alone_is_enough_to_refuse() {
    if by_systemd() {
        // Systemd decides which hierarchies have a directory.
        return;
    }
    let second = asleep();
    for (point, names) in cgroup_mounts() {
        if names.iter().any(|name| name == "cpuset") {
            // It takes no process before it has CPUs.
            continue;
        }
        let dir = second.cgroup(&point);
        fs::create_dir(&dir).unwrap();
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        fs::write(dir.join("cgroup.procs"), child.id().to_string()).unwrap();
        second.create().refused(&["container's cgroup is not empty: 1 process(es) found"]);
        done(child);
        // Its end takes a moment to be seen.
        wait_until("empty", || fs::remove_dir(&dir).is_ok());
        second.assert_gone();
    }
}

// Proves: linux.cgroupsPath:fit
#[test]
fn a_frozen_cgroup_is_refused() {
    if by_systemd() {
        // Systemd decides which hierarchies have a directory.
        return;
    }
    let c = asleep();
    let (file, frozen, thawed, root) = match controller("freezer") {
        Some((Version::V1, root)) => ("freezer.state", "FROZEN", "THAWED", root),
        _ => ("cgroup.freeze", "1", "0", cgroup_mounts()[0].0.clone()),
    };
    let dir = c.cgroup(&root);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join(file), frozen).unwrap();
    for verb in ["run", "create"] {
        c.call(verb, &[]).refused(&["container's cgroup unexpectedly frozen", "thaw"]);
    }
    fs::write(dir.join(file), thawed).unwrap();
    fs::remove_dir(&dir).unwrap();
    c.assert_gone();
}

// Proves: delete:others
#[test]
fn a_cgroup_made_beforehand_is_used_and_left() {
    if by_systemd() {
        // Systemd makes the cgroup.
        return;
    }
    for_each_row(&KINDS, |change| {
        let mut c = asleep();
        change(&mut c);
        let made: Vec<PathBuf> = cgroup_mounts().iter().map(|(point, _)| c.cgroup(point)).collect();
        made.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        for _ in 0..2 {
            // Without a pid namespace this one outlives the end of the shell.
            c.sh("sleep 601 & exec sleep 600");
            c.run_detached();
            let init = c.process();
            let rest = fs::read_to_string(made[0].join("cgroup.procs")).unwrap();
            wait_until("both", || rest.lines().count() <= 2 && init.alive());
            end(&c);
            c.delete().ok();
            wait_until("all of it is dead", || {
                fs::read_to_string(made[0].join("cgroup.procs")).unwrap().is_empty()
            });
        }
        for dir in made {
            wait_until("it is still there, and can be removed", || fs::remove_dir(&dir).is_ok());
        }
    });
}

#[test]
fn what_was_put_into_the_cgroup_from_elsewhere_is_not_killed() {
    let c = asleep();
    c.run_detached();
    let child = stranger(&c);
    let process = Proc::new(child.id().try_into().unwrap());
    end(&c);
    let number = child.id().to_string();
    c.rt.call(&["kill", "--all", &c.id, "KILL"]).ok();
    c.delete().refused(&["not known to be the container's", &number]);
    assert!(process.alive());
    done(child);
    c.delete().ok();
    c.assert_gone();
}

#[test]
fn a_create_that_died_kills_nothing_of_others() {
    if by_systemd() {
        // Systemd makes the cgroup, and ends it with its processes.
        return;
    }
    let first = asleep();
    first.write();
    // An intent as it is written before the cgroup is made.
    let dir = first.rt.root.join(&first.id);
    first.create().ok();
    let state: Value =
        serde_json::from_str(&fs::read_to_string(dir.join("state.json")).unwrap()).unwrap();
    first.delete_force().ok();
    let mut second = asleep();
    second.set("/linux/cgroupsPath", first.config["linux"]["cgroupsPath"].clone());
    second.run_detached();
    let mut cgroup = state["cgroup"].clone();
    cgroup.as_object_mut().unwrap().remove("identity");
    let intent = json!({
        "version": state["version"], "id": state["id"], "bundle": state["bundle"],
        "created": state["created"], "cgroup": cgroup, "bootId": state["bootId"],
    });
    fs::create_dir(&dir).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1700);
    fs::set_permissions(&dir, mode).unwrap();
    fs::write(dir.join("intent.json"), intent.to_string()).unwrap();
    let init = second.process();
    first.delete_force().refused(&["not known to be the container's", &init.pid.to_string()]);
    assert!(init.alive());
    second.delete_force().ok();
    first.delete_force().ok();
}
