//! A container made by a runtime that is in a container itself.

use std::path::Path;

use crate::support::*;

/// What a runtime needs that makes namespaces and mounts of its own.
const ENGINE: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

#[test]
fn a_runtime_in_a_container_makes_containers() {
    let inner = Container::with_script("echo inside $$ $(hostname)");
    inner.write();
    copy_program(&inner.rt.binary, inner.path().join("runtime"));
    let name = inner.id.clone();
    let mut c = Container::with_script(&format!(
        "run() {{ /inner/runtime --root /run/state \"$@\"; }}
         run run --bundle /inner nested; echo status=$?
         run create --bundle /inner nested </dev/null >/dev/null
         ls -d /sys/fs/cgroup/{name} /sys/fs/cgroup/*/{name} 2>/dev/null
         run exec nested sh -c 'echo joined'
         run delete --force nested; echo deleted=$?
         ls -d /sys/fs/cgroup/{name} /sys/fs/cgroup/*/{name} 2>/dev/null
         run list -q"
    ));
    // For a binary that is not linked statically.
    for dir in ["/lib", "/lib64", "/usr/lib"].into_iter().filter(|dir| Path::new(dir).is_dir()) {
        c.mount(dir, "bind", dir, &["rbind", "ro"]);
    }
    let bundle = inner.path().to_str().unwrap().to_owned();
    c.mount("/run", "tmpfs", "tmpfs", &[]).mount("/inner", "bind", &bundle, &["rbind"]);
    c.mount("/sys", "sysfs", "sysfs", &[]).mount("/sys/fs/cgroup", "cgroup", "cgroup", &[]);
    c.capabilities(ENGINE).set("/process/noNewPrivileges", json!(false));
    c.set("/linux/resources", json!({}));
    let said = c.output();
    assert!(said.starts_with("inside 1 inside\nstatus=0\n/sys/fs/cgroup/"), "{said}");
    // The cgroup is gone, and so is the state.
    assert!(said.ends_with(&format!("/{name}\njoined\ndeleted=0\n")), "{said}");
}
