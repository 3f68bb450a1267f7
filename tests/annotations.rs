//! Annotations that the runtime itself reads: those of crun that engines set.

use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use crate::support::*;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The bytes of a connection; what /proc/self/fd says of each descriptor that came with them, and its
/// /proc/self/fdinfo.
type Received = (Vec<u8>, Vec<(String, String)>);

/// A socket that takes one connection.
pub(crate) struct Receiver {
    path: PathBuf,
    thread: JoinHandle<Received>,
}

impl Receiver {
    pub(crate) fn new(c: &Container, name: &str) -> Receiver {
        let path = c.path().join(name);
        let socket = UnixListener::bind(&path).unwrap();
        let thread = thread::spawn(move || receive(socket.accept().unwrap().0));
        Receiver { path, thread }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(crate) fn received(self) -> Received {
        wait_until("a connection to the socket and its end", || self.thread.is_finished());
        self.thread.join().unwrap()
    }
}

fn receive(stream: UnixStream) -> Received {
    let (mut all, mut files) = (Vec::new(), Vec::new());
    loop {
        let mut bytes = vec![0; 1 << 16];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let mut iov = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::empty())
                .unwrap();
        for control in message.cmsgs().unwrap() {
            let ControlMessageOwned::ScmRights(sent) = control else { continue };
            for fd in sent {
                let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
                let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
                files.push((link.display().to_string(), info));
                nix::unistd::close(fd).unwrap();
            }
        }
        let length = message.bytes;
        if length == 0 {
            return (all, files);
        }
        all.extend_from_slice(&bytes[..length]);
    }
}

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// The groups of a process as the kernel has them.
fn groups(process: Proc) -> Vec<u32> {
    process.status("Groups").split_whitespace().map(|group| group.parse().unwrap()).collect()
}

fn with_callers_groups(c: &mut Container) {
    c.rt.through = ["setpriv", "--groups", "12,34"].iter().map(Into::into).collect();
}

#[test]
fn the_groups_of_the_caller_stay_where_they_are_asked_for() {
    for (value, expected) in [(None, vec![]), (Some("0"), vec![]), (Some("1"), vec![12, 34])] {
        let mut c = asleep();
        with_callers_groups(&mut c);
        if let Some(value) = value {
            c.set("/annotations", json!({"run.oci.keep_original_groups": value}));
        }
        c.run_detached();
        assert_eq!(groups(c.process()), expected, "{value:?}");
        let file = c.path().join("exec-pid");
        c.exec(&["--detach", "--pid-file", file.to_str().unwrap()], &["sleep", "600"]).ok();
        let pid = fs::read_to_string(file).unwrap().parse().unwrap();
        assert_eq!(groups(Proc::new(pid)), expected, "exec, {value:?}");
        c.rt.through.clear();
    }
}

/// What `podman run --group-add keep-groups` is for: a directory of a group that is not mapped.
#[test]
fn groups_that_are_kept_reach_into_a_user_namespace() {
    let mut c = asleep();
    with_callers_groups(&mut c);
    c.map_users(100_000, 65536);
    c.set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
    let shared = c.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "for the group").unwrap();
    std::os::unix::fs::chown(&shared, Some(0), Some(34)).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o750)).unwrap();
    c.mount("/mnt", "bind", shared.to_str().unwrap(), &["bind"]);
    c.sh("cat /mnt/file; exec sleep 600");
    c.run_detached().wait_for("for the group");
    assert_eq!(groups(c.process()), [12, 34]);
    c.rt.through.clear();
}

#[test]
fn groups_that_are_kept_displace_those_of_the_configuration() {
    let mut c = asleep();
    with_callers_groups(&mut c);
    c.set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
    c.set("/process/user/additionalGids", json!([56]));
    let ran = c.run_detached();
    assert!(ran.stderr.contains("process.user.additionalGids: ignored"), "{}", ran.stderr);
    assert_eq!(groups(c.process()), [12, 34]);
    c.rt.through.clear();
}

const ON_THE_HOST: [&str; 5] =
    ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

fn talking_hooks(c: &mut Container, dir: &Path) -> (PathBuf, PathBuf) {
    let (out, err) = (dir.join("hooks.out"), dir.join("hooks.err"));
    c.set("/annotations", json!({"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err}));
    for kind in ON_THE_HOST {
        let script = format!("echo {kind}; echo {kind} >&2");
        c.push(&format!("/hooks/{kind}"), json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    }
    (out, err)
}

#[test]
fn hooks_write_into_the_files_named() {
    for user_namespace in [false, true] {
        let mut c = asleep();
        let dir = c.path().to_owned();
        if user_namespace {
            c.map_users(100_000, 65536);
        }
        let (out, err) = talking_hooks(&mut c, &dir);
        fs::write(&out, "before\n").unwrap();
        c.push(
            "/hooks/startContainer",
            json!({"path": "/bin/sh", "args": ["sh", "-c", "echo startContainer"]}),
        );
        c.create().ok();
        // No descriptor of these files is left in the container.
        let fds = format!("/proc/{}/fd", c.process().pid);
        for entry in fs::read_dir(fds).unwrap() {
            let link = fs::read_link(entry.unwrap().path()).unwrap();
            assert!(link != out && link != err, "{link:?}");
        }
        c.start().ok();
        c.kill("KILL").ok();
        c.wait_status("stopped");
        c.delete().ok();
        let lines = ON_THE_HOST.join("\n");
        assert_eq!(fs::read_to_string(&out).unwrap(), format!("before\n{lines}\n"));
        assert_eq!(fs::read_to_string(&err).unwrap(), format!("{lines}\n"));
        assert_eq!(fs::metadata(&err).unwrap().mode() & 0o7777, 0o600);
    }
}

#[test]
fn a_hook_that_fails_with_its_output_elsewhere_is_told() {
    let mut c = Container::new();
    let dir = c.path().to_owned();
    let (out, err) = (dir.join("out"), dir.join("err"));
    c.set("/annotations", json!({"run.oci.hooks.stdout": out}));
    let script = "echo to the file; echo to the runtime >&2; exit 3";
    c.push("/hooks/createRuntime", json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    c.create().refused(&["hook #0", "exit status 3: to the runtime"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "to the file\n");
    c.set("/annotations", json!({"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err}));
    c.create().refused(&["hook #0", "exit status 3"]);
    assert_eq!(fs::read_to_string(&err).unwrap(), "to the runtime\n");
}

#[test]
fn a_file_that_cannot_be_opened_fails_the_create() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut c = Container::new();
        let missing = c.path().join("no/such/file");
        c.set("/annotations", json!({"run.oci.hooks.stderr": missing}));
        c.push(&format!("/hooks/{kind}"), json!({"path": "/bin/true"}));
        c.create().refused(&["no/such/file", "for the output of hooks", "no such file"]);
        c.assert_gone();
    }
    // A FIFO that nobody reads is not waited for.
    let mut c = Container::new();
    let fifo = c.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    c.set("/annotations", json!({"run.oci.hooks.stdout": fifo}));
    c.push("/hooks/prestart", json!({"path": "/bin/true"}));
    c.create().refused(&["fifo", "for the output of hooks"]);
    // Without a hook there is nothing to open.
    c.remove("/hooks");
    c.run().ok();
}

fn notifying(c: &mut Container) {
    c.sh("mkdir /refused; echo mkdir=$?; exec sleep 600");
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]);
    c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
}

/// The listener goes to the agent, which closes it: the kernel answers ENOSYS then.
fn agent_got_the_listener(c: &Container, agent: Receiver, ran: &Ran) -> Value {
    let (document, files) = agent.received();
    assert_eq!(files.len(), 1);
    assert!(files[0].0.contains("seccomp notify"), "{files:?}");
    assert_ne!(ran.wait_for("mkdir="), "mkdir=0\n");
    assert!(!c.rootfs().join("refused").exists());
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["fds"], json!(["seccompFd"]));
    assert_eq!(document["pid"], json!(c.process().pid));
    assert_eq!(document["state"]["id"], json!(c.id));
    document
}

// Proves: linux.seccomp.{listenerPath, listenerMetadata}, linux.seccomp:state,
// linux.seccomp.syscalls[].action=SCMP_ACT_NOTIFY
#[test]
fn the_listener_of_the_filter_goes_to_the_path_of_the_configuration() {
    let mut c = Container::new();
    notifying(&mut c);
    let agent = Receiver::new(&c, "agent");
    c.set("/linux/seccomp/listenerPath", json!(agent.path()));
    c.set("/linux/seccomp/listenerMetadata", json!("for the agent"));
    // The field has the last word.
    c.set("/annotations", json!({"run.oci.seccomp.receiver": "/no/such/agent"}));
    let ran = c.run_detached();
    assert!(ran.stderr.contains("listenerPath takes precedence"), "{}", ran.stderr);
    let document = agent_got_the_listener(&c, agent, &ran);
    assert_eq!(document["metadata"], "for the agent");
}

#[test]
fn the_listener_of_the_filter_goes_to_the_path_of_the_annotation() {
    let mut c = Container::new();
    notifying(&mut c);
    let agent = Receiver::new(&c, "agent");
    c.set("/annotations", json!({"run.oci.seccomp.receiver": agent.path()}));
    let ran = c.run_detached();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    agent_got_the_listener(&c, agent, &ran);
    // So does that of a process that joins.
    fs::remove_file(c.path().join("agent")).unwrap();
    let agent = Receiver::new(&c, "agent");
    c.exec(&[], &["sh", "-c", "mkdir /refused-too; true"]).ok();
    assert!(agent.received().1[0].0.contains("seccomp notify"));
    assert!(!c.rootfs().join("refused-too").exists());
}

/// The agent hears of the process that executes the program, and not of one that has cloned it.
#[test]
fn the_agent_is_told_the_process_of_an_exec() {
    let mut c = Container::new();
    notifying(&mut c);
    let agent = Receiver::new(&c, "agent");
    c.set("/linux/seccomp/listenerPath", json!(agent.path()));
    c.run_detached();
    agent.received();
    fs::remove_file(c.path().join("agent")).unwrap();
    let agent = Receiver::new(&c, "agent");
    let file = c.path().join("exec.pid");
    c.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["sleep", "600"]).ok();
    let document: Value = serde_json::from_slice(&agent.received().0).unwrap();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    assert_eq!(document["pid"], json!(pid));
    assert_eq!(document["state"]["pid"], json!(c.process().pid));
    // An agent that has gone: nothing is left of the process.
    fs::remove_file(c.path().join("agent")).unwrap();
    c.exec(&[], &["sleep", "601"]).not_started(&["failed to connect with seccomp agent"]);
    assert_eq!(c.rt.call(&["ps", "--format", "json", &c.id]).ok().stdout.split(',').count(), 2);
}

#[test]
fn the_agent_is_told_the_init_of_a_pid_namespace_that_is_joined() {
    let holder = asleep();
    holder.run_detached();
    let mut c = Container::new();
    notifying(&mut c);
    let path = format!("/proc/{}/ns/pid", holder.process().pid);
    c.namespace(json!({"type": "pid", "path": path}));
    let agent = Receiver::new(&c, "agent");
    c.set("/linux/seccomp/listenerPath", json!(agent.path()));
    let ran = c.run_detached();
    let document = agent_got_the_listener(&c, agent, &ran);
    assert_eq!(document["state"]["pid"], json!(c.process().pid));
}

/// The agent has the listener by then; it closes it, and the kernel answers ENOSYS.
#[test]
fn the_agent_decides_about_the_execve_of_an_exec() {
    let mut c = asleep();
    let rules = json!([{"names": ["execve"], "action": "SCMP_ACT_NOTIFY"}]);
    c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let agent = Receiver::new(&c, "agent");
    c.set("/linux/seccomp/listenerPath", json!(agent.path()));
    c.create().ok();
    assert!(agent.received().1[0].0.contains("seccomp notify"));
    fs::remove_file(c.path().join("agent")).unwrap();
    let agent = Receiver::new(&c, "agent");
    c.exec(&[], &["sleep", "600"]).not_started(&["exec sleep: function not implemented"]);
    assert!(agent.received().1[0].0.contains("seccomp notify"));
}

// Proves: linux.seccomp.listenerPath:error
#[test]
fn an_agent_that_is_missing_is_told_in_the_words_of_runc() {
    let mut c = Container::new();
    notifying(&mut c);
    c.set("/linux/seccomp/listenerPath", json!("/no/such/agent"));
    c.create().refused(&["failed to connect with seccomp agent", "\"/no/such/agent\""]);
    c.assert_gone();
}

#[test]
fn the_receiver_gets_a_pidfd_of_the_process() {
    for verb in ["create", "run"] {
        let mut c = asleep();
        let receiver = Receiver::new(&c, "receiver");
        c.set("/annotations", json!({"run.oci.pidfd_receiver": receiver.path()}));
        match verb {
            "create" => c.create().ok(),
            _ => c.run_detached(),
        };
        let (bytes, files) = receiver.received();
        assert!(!bytes.is_empty());
        assert_eq!(files.len(), 1, "{verb}");
        let pid = format!("Pid:\t{}\n", c.process().pid);
        assert!(files[0].1.contains(&pid), "{verb}: {files:?}");
    }
    let mut c = asleep();
    c.set("/annotations", json!({"run.oci.pidfd_receiver": "/no/such/receiver"}));
    c.create().refused(&["run.oci.pidfd_receiver", "/no/such/receiver"]);
    c.assert_gone();
}

#[test]
fn paths_are_absolute() {
    for name in ["hooks.stdout", "hooks.stderr", "seccomp.receiver", "pidfd_receiver"] {
        let name = format!("run.oci.{name}");
        let mut c = Container::new();
        c.set("/annotations", json!({name.as_str(): "relative"}));
        c.run().refused(&[&name, "\"relative\"", "must be an absolute path"]);
    }
}

#[test]
fn what_is_not_known_is_ignored_with_a_warning() {
    let mut c = Container::new();
    c.set(
        "/annotations",
        json!({"run.oci.systemd.force_cgroup_v1": "/x", "run.oci.other": "x", "org.example": "x"}),
    );
    let ran = c.run().ok();
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    for name in ["run.oci.systemd.force_cgroup_v1", "run.oci.other"] {
        assert!(ran.stderr.contains(&format!("annotations: {name:?}: ignored")), "{}", ran.stderr);
    }
}

/// A container without the virtual machine or the filter would be less isolated than requested.
#[test]
fn an_isolation_that_cannot_be_given_is_refused() {
    for name in ["run.oci.handler", "run.oci.seccomp.plugins", "run.oci.seccomp_bpf_data"] {
        let mut c = Container::new();
        c.set("/annotations", json!({name: "krun"}));
        c.create().refused(&[&format!("annotations.{name}: \"krun\": not supported")]);
    }
    let mut c = Container::new();
    c.set("/annotations", json!({"run.oci.mount_context_type": "size"}));
    c.create().refused(&["annotations.run.oci.mount_context_type: \"size\"", "rootcontext"]);
}

/// As under crun, and under runc before the specification.
#[test]
fn hooks_find_the_root_file_system_in_their_state() {
    let mut c = asleep();
    for kind in ON_THE_HOST {
        let script = format!("cat > {}", c.path().join(kind).display());
        c.push(&format!("/hooks/{kind}"), json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    }
    c.run_detached();
    assert!(c.state().get("root").is_none());
    c.delete_force().ok();
    for kind in ON_THE_HOST {
        let text = fs::read_to_string(c.path().join(kind)).unwrap();
        let state: Value = serde_json::from_str(&text).unwrap();
        let root = json!(fs::canonicalize(c.rootfs()).unwrap());
        assert_eq!((&state["root"], &state["rootfs"]), (&root, &root), "{kind}");
    }
}
