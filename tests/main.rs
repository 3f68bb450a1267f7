//! The end-to-end tests: the real binary, and what the kernel says about its containers.
//!
//! Every file is a module of this one program, so that the library is linked once. A test is
//! selected by `cargo test --test e2e -- mounts::`. The tests run in parallel threads of one process:
//! a test that needs a process of its own (for its umask, user or system call filter) starts this
//! program again with `--exact` and its own name.

mod activation;
mod annotations;
mod apparmor;
mod architecture;
mod audit;
mod badinput;
mod block_io;
mod cgroup_delegation;
mod cgroup_rules;
mod cgroup_safety;
mod cgroup_v2;
mod checkpoint;
mod cleanup;
mod cli_state;
mod completions;
mod config_keys;
mod conformance;
mod console;
mod device_nodes;
mod events;
mod evidence;
mod exec;
mod exec_cgroup;
mod features;
mod forged_messages;
mod help;
mod hooks;
mod hostile_config;
mod hostile_exec;
mod hostile_files;
mod hostile_handles;
mod hostile_identity;
mod hostile_paths;
mod hostile_proc;
mod hostile_support;
mod identity;
mod info;
mod intel_rdt;
mod interop;
mod lifecycle;
mod limits;
mod limits_felt;
mod manual;
mod messages;
mod mount_flags;
mod mount_idmap;
mod mount_locks;
mod mount_options;
mod mount_order;
mod mounts;
mod namespaces;
mod nested;
mod net_devices;
mod process;
mod ps_pause;
mod record;
mod rootfs;
mod rootless;
mod scheduling;
mod seccomp;
mod selinux;
mod signals;
mod skip;
mod starvation;
mod streams;
mod support;
mod systemd;
mod tables;
mod update;
mod visible_processes;
mod wording;
