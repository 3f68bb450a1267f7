//! A container of a test: a bundle, a runtime, and a promise that nothing stays behind.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::bundle::Bundle;
use super::kernel::{Proc, by_systemd, cgroup_below_root, leftovers, scrub};
use super::runtime::{Ran, Runtime};
use super::wait_for;

/// A bundle with the runtime that is to run it. Dropping it deletes the container by force and
/// fails the test if a process, cgroup, mount or state is left of it.
pub struct Container {
    /// The runtime, for calls that have no method here.
    pub rt: Runtime,
    /// The container's id.
    pub id: String,
    bundle: Bundle,
}

impl Deref for Container {
    type Target = Bundle;
    fn deref(&self) -> &Bundle {
        &self.bundle
    }
}

impl DerefMut for Container {
    fn deref_mut(&mut self) -> &mut Bundle {
        &mut self.bundle
    }
}

impl Container {
    /// A new bundle whose process is `/bin/true`.
    pub fn new() -> Self {
        let bundle = Bundle::new();
        Container { rt: Runtime::new(bundle.path()), id: bundle.name().to_owned(), bundle }
    }

    /// A new bundle with a shell script as its process.
    pub fn with_script(script: &str) -> Self {
        let mut container = Container::new();
        container.sh(script);
        container
    }

    /// Another bundle under the same state directory.
    pub fn beside(other: &Container) -> Self {
        let mut container = Container::new();
        container.rt.root.clone_from(&other.rt.root);
        container
    }

    /// The file that `create` and detached runs leave the pid in.
    pub fn pid_file(&self) -> PathBuf {
        self.path().join("pid")
    }

    /// Its cgroup in the hierarchy that is mounted at `root`, which its processes need not be in.
    /// Not for a test that has set a `cgroupsPath` of its own.
    pub fn cgroup(&self, root: &Path) -> PathBuf {
        root.join(cgroup_below_root(&self.id))
    }

    /// `verb --bundle ... options... id`, with `--systemd-cgroup` if systemd is to make the cgroup
    /// that the configuration names.
    pub fn words<'a>(&'a self, verb: &'a str, options: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec![verb, "--bundle", self.path().to_str().unwrap()];
        let path = self.config.pointer("/linux/cgroupsPath").and_then(Value::as_str);
        if by_systemd() && path.is_some_and(|path| path.contains(':')) {
            words.push("--systemd-cgroup");
        }
        words.extend(options);
        words.push(&self.id);
        words
    }

    /// Writes the configuration and makes the call of [`Container::words`].
    #[track_caller]
    pub fn call(&self, verb: &str, options: &[&str]) -> Ran {
        self.write();
        self.rt.call(&self.words(verb, options))
    }

    /// `run` in the foreground, whatever comes of it.
    #[track_caller]
    pub fn run(&self) -> Ran {
        self.call("run", &[])
    }

    /// `run` in the foreground, which must succeed; gives what the container wrote.
    #[track_caller]
    pub fn output(&self) -> String {
        self.run().ok().stdout
    }

    /// `run --detach`, which must succeed; the container's output goes on in [`Ran::later`].
    #[track_caller]
    pub fn run_detached(&self) -> Ran {
        let pid_file = self.pid_file();
        self.call("run", &["--detach", "--pid-file", pid_file.to_str().unwrap()]).ok()
    }

    /// `create`, whatever comes of it.
    #[track_caller]
    pub fn create(&self) -> Ran {
        let pid_file = self.pid_file();
        self.call("create", &["--pid-file", pid_file.to_str().unwrap()])
    }

    /// `start`, whatever comes of it.
    #[track_caller]
    pub fn start(&self) -> Ran {
        self.rt.call(&["start", &self.id])
    }

    /// `exec OPTIONS ID COMMAND`, whatever comes of it.
    #[track_caller]
    pub fn exec(&self, options: &[&str], command: &[&str]) -> Ran {
        let mut words = vec!["exec"];
        words.extend(options);
        words.push(&self.id);
        words.extend(command);
        self.rt.call(&words)
    }

    /// `exec ID sh -c SCRIPT`, which must succeed; gives what it wrote.
    #[track_caller]
    pub fn exec_sh(&self, script: &str) -> String {
        self.exec(&[], &["sh", "-c", script]).ok().stdout
    }

    /// `state`, whatever comes of it.
    #[track_caller]
    pub fn state_call(&self) -> Ran {
        self.rt.call(&["state", &self.id])
    }

    /// The state, which must be there.
    #[track_caller]
    pub fn state(&self) -> Value {
        let ran = self.state_call().ok();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
    }

    /// The `status` of the state.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("status is text").to_owned()
    }

    /// Waits until the state's status is `status`.
    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        wait_for(status, || (self.status() == status).then_some(()));
    }

    /// `kill ID SIGNAL`, whatever comes of it.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Ran {
        self.rt.call(&["kill", &self.id, signal])
    }

    /// `delete`, whatever comes of it.
    #[track_caller]
    pub fn delete(&self) -> Ran {
        self.rt.call(&["delete", &self.id])
    }

    /// `delete --force`, whatever comes of it.
    #[track_caller]
    pub fn delete_force(&self) -> Ran {
        self.rt.call(&["delete", "--force", &self.id])
    }

    /// The process of the container, as the host sees it.
    #[track_caller]
    pub fn process(&self) -> Proc {
        let pid = self.state()["pid"].as_i64().expect("pid is a number");
        assert!(pid > 1, "no process: pid {pid}");
        Proc::new(i32::try_from(pid).unwrap())
    }

    /// Everything of this container that is still on the machine.
    pub fn leftovers(&self) -> Vec<String> {
        leftovers(&self.id, self.path(), &self.rt.root)
    }

    /// Fails the test if anything of this container is on the machine.
    #[track_caller]
    pub fn assert_gone(&self) {
        let left = self.leftovers();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let deleted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Nothing was ever created: there is no state directory to ask.
            if self.rt.root.exists() {
                self.delete_force().ok();
            }
            self.assert_gone();
        }));
        if deleted.is_err() {
            // The test has failed; the machine is left clean all the same.
            scrub(&self.id);
            if !std::thread::panicking() {
                panic!("the container {} did not go", self.id);
            }
        }
    }
}
