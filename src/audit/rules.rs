//! The rules about everything but single capabilities.

use super::rule::{Find, Rule, Scope, Severity};
use super::subject::Users;
use super::{calls, capabilities, checks};
use Scope::{Any, Files, Rights};
use Severity::{Critical, High, Low, Medium};

/// Returns every rule.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    capabilities::RULES.iter().chain(RULES)
}

/// Makes the table: `id, severity, scope, confined, means, change, breaks, function;`
macro_rules! rules {
    ($($id:literal, $severity:expr, $scope:expr, $confined:expr, $means:literal, $change:literal,
       $breaks:literal, $find:expr;)+) => {
        &[$(Rule {
            id: $id,
            severity: $severity,
            scope: $scope,
            confined: $confined,
            means: $means,
            change: $change,
            breaks: $breaks,
            find: Find::With($find),
        }),+]
    };
}

static RULES: &[Rule] = rules! {
    "BH-BIND-HOST", Critical, Files, Some(Medium),
        "The container reaches files of the host that lead to its root, or hold its secrets.",
        "remove the mount, or mount the one file or directory that is needed, read-only",
        "the program that reads or writes there", checks::host_binds;
    "BH-BIND-SOCKET", Critical, Files, Some(Medium),
        "Every process that can connect to this socket is root on the host: the server behind it \
         starts any program on request, and a read-only mount does not prevent that.",
        "remove the mount, or give a proxy that permits the few requests that are needed",
        "the program that talks to that server",
        checks::bind_socket;
    "BH-CAP-FILES", Low, Rights, None,
        "The program has rights of root over files or processes of its container.",
        "keep only those that the program uses",
        "programs that change owners, users or roots", checks::files_caps;
    "BH-CGROUP-WRITABLE", Medium, Files, Some(Low),
        "The program can change its cgroups, and with them limits that it is subject to.",
        "add the option ro to the mount",
        "systemd and container engines in the container", checks::cgroup_writable;
    "BH-CONFIG-INVALID", High, Any, None,
        "The configuration violates the specification, so runtimes refuse it, or read it in \
         different ways.",
        "correct the member that the error names", "",
        checks::config_invalid;
    "BH-CONFIG-REFUSED", Medium, Any, None,
        "No container can be created from this bundle on this host.",
        "correct what the error names, or run it on a host that has the feature", "",
        checks::config_refused;
    "BH-DEVICE-ALL", Critical, Rights, Some(Low),
        "The container may use every device of the host, its disks and its memory included.",
        "deny all devices in linux.resources.devices, and allow those that are needed",
        "programs that use devices of the host",
        checks::device_all;
    "BH-DEVICE-BLOCK", High, Rights, Some(Low),
        "The container can read or write a disk of the host below its file systems.",
        "remove the rule, and mount what is needed from the disk",
        "programs that use the disk", |s| checks::devices(s, |d| d.kind != 'c');
    "BH-DEVICE-CHAR-ALL", High, Rights, Some(Low),
        "The container may use all character devices of a class, those of the host's hardware \
         included.",
        "name the device that is needed, by its major and minor number",
        "programs that use devices of the host",
        checks::device_char_all;
    "BH-DEVICE-INPUT", Medium, Rights, Some(Low),
        "The container can read what is typed on the host, or type there.",
        "remove the rule", "programs that read the keyboard or make input devices",
        checks::device_input;
    "BH-DEVICE-KMSG", Medium, Rights, Some(Low),
        "The container can read and write the kernel log of the host.",
        "remove the rule", "readers of the kernel log, and kubelet in a container",
        checks::device_kmsg;
    "BH-DEVICE-LOOP", Medium, Rights, Some(Low),
        "The container can attach files to block devices of the host.",
        "remove the rule", "losetup and mount -o loop",
        checks::device_loop;
    "BH-DEVICE-MEMORY", Critical, Rights, Some(Low),
        "The container can read or write the memory of the host.",
        "remove the rule", "programs that drive hardware",
        checks::device_memory;
    "BH-KEY-MISSPELT", High, Any, None,
        "The key is not in the specification, so the control that its writer meant is not in \
         force.",
        "write the key as the specification does",
        "what the control forbids, once it is in force",
        checks::key_misspelt;
    "BH-KEY-CASE", Medium, Any, None,
        "Runtimes whose parsers heed case ignore the key, and the control with it.",
        "write the key as the specification does", "",
        checks::key_case;
    "BH-LIMIT-CPU", Low, Any, None,
        "The container can use all processors of the host, as far as the cgroups above it permit.",
        "set linux.resources.cpu.quota", "programs that need more processor time",
        |s| checks::limits(s, "cpu");
    "BH-LIMIT-MEMORY", Low, Any, None,
        "The container can use all memory of the host, as far as the cgroups above it permit.",
        "set linux.resources.memory.limit", "programs that need more memory",
        |s| checks::limits(s, "memory");
    "BH-LIMIT-PIDS", Low, Any, None,
        "A fork bomb in the container can take every process id of the host, as far as the cgroups \
         above it permit.",
        "set linux.resources.pids.limit", "programs with more processes and threads than the limit",
        |s| checks::limits(s, "pids");
    "BH-LSM-NONE", Low, Any, None,
        "No profile of AppArmor and no label of SELinux confines the program.",
        "set process.apparmorProfile or process.selinuxLabel to what the host has", "",
        checks::lsm_none;
    "BH-NS-CGROUP", Low, Any, None,
        "The container sees the cgroups of the host in /proc/self/cgroup.",
        "add a namespace of type cgroup", "programs that look up their cgroup on the host",
        |s| checks::namespace(s, "cgroup");
    "BH-NS-IPC", Medium, Any, None,
        "The container can use the shared memory and the message queues of the host's processes.",
        "add a namespace of type ipc", "programs that share memory with processes of the host",
        |s| checks::namespace(s, "ipc");
    "BH-NS-MOUNT", Critical, Rights, Some(High),
        "The container sees and changes the mounts of the host.",
        "add a namespace of type mount", "programs that mount on the host",
        |s| checks::namespace(s, "mount");
    "BH-NS-NETWORK", High, Rights, Some(Medium),
        "The container reaches everything that listens on the host: services on the loopback \
         interface, and abstract Unix sockets.",
        "add a namespace of type network",
        "the network of the container, until an engine sets one up",
        |s| checks::namespace(s, "network");
    "BH-NS-PID", High, Rights, Some(Medium),
        "The container sees the processes of the host, with their arguments, and can signal those \
         of the same user.",
        "add a namespace of type pid", "monitors and debuggers of the host's processes",
        |s| checks::namespace(s, "pid");
    "BH-NS-UTS", Low, Any, None,
        "The container sees the name of the host and, with CAP_SYS_ADMIN, can change it.",
        "add a namespace of type uts", "programs that report the name of the host",
        |s| checks::namespace(s, "uts");
    "BH-OOM-SPARED", Low, Any, None,
        "When memory is short, the kernel kills the processes of the host before this container.",
        "remove process.oomScoreAdj, or set it to 0 or more", "",
        checks::oom_spared;
    "BH-PRIVILEGES-GAIN", Low, Any, Some(Low),
        "A program of the image with the set-user-ID bit or file capabilities gives its rights to \
         every user of the container.",
        "set process.noNewPrivileges to true", "sudo, su, and ping in old images",
        checks::privileges_gain;
    "BH-PROC-SYS", Critical, Files, None,
        "Root can write the settings of the host's kernel, such as kernel.core_pattern, which \
         names a \
         program that the host runs as root.",
        "add /proc/sys to linux.readonlyPaths", "programs that set sysctls themselves",
        |s| checks::proc_writable(s, &["/proc/sys"]);
    "BH-PROC-SYSRQ", High, Files, None,
        "Root can crash or reboot the host.",
        "add /proc/sysrq-trigger to linux.readonlyPaths", "programs that write there",
        |s| checks::proc_writable(s, &["/proc/sysrq-trigger"]);
    "BH-PROC-UNMASKED", Medium, Files, None,
        "Root can read about the host what helps an attack: keys, timers and memory of the kernel, \
         and its firmware.",
        "add them to linux.maskedPaths", "programs that inspect the hardware", checks::unmasked;
    "BH-PROC-WRITABLE", Medium, Files, None,
        "Root can change settings of the host's file systems, buses and interrupts.",
        "add them to linux.readonlyPaths", "irqbalance and programs that drive PCI devices",
        |s| checks::proc_writable(s, &["/proc/bus", "/proc/fs", "/proc/irq"]);
    "BH-PROPAGATION-SHARED", Medium, Any, Some(Low),
        "Mounts that the container makes appear on the host, and stay there when it ends.",
        "use slave or private propagation",
        "programs that mount file systems for the host, such as storage drivers",
        checks::propagation_shared;
    "BH-PTRACE-HOST", Critical, Rights, Some(Medium),
        "The program can trace the processes of the host, and so run its code in them.",
        "add a namespace of type pid, or remove CAP_SYS_PTRACE",
        "debuggers and profilers of the host's processes",
        checks::ptrace_host;
    "BH-RLIMIT-INFINITE", Low, Any, None,
        "The container can use as much of this resource as the kernel has, as far as its cgroup \
         permits.",
        "set a number", "programs that need more than the number",
        checks::rlimit_infinite;
    "BH-ROOTFS-WRITABLE", Low, Any, None,
        "The program can change the programs and libraries that it runs, so what an intruder puts \
         there stays.",
        "set root.readonly to true, and mount a tmpfs where the program writes",
        "programs that write outside of mounts",
        checks::rootfs_writable;
    "BH-SECCOMP-BPF", Medium, Any, None,
        "The profile permits calls that load programs into the kernel; faults in their verifier \
         have \
         led to root on the host.",
        "remove the calls from linux.seccomp", "tools that trace by BPF or perf",
        |s| checks::permitted(s, calls::BPF);
    "BH-SECCOMP-DEFAULT-ALLOW", Medium, Any, None,
        "The profile permits every system call that it does not name, those of later kernels \
         included.",
        "use a profile whose default action is SCMP_ACT_ERRNO",
        "programs that use calls that the profile does not name",
        checks::seccomp_default_allow;
    "BH-SECCOMP-IO-URING", Medium, Any, None,
        "The profile permits io_uring, which runs operations that the profile does not see, and \
         whose \
         faults have led to root on the host.",
        "remove the calls from linux.seccomp", "databases and servers that require io_uring",
        |s| checks::permitted(s, calls::IO_URING);
    "BH-SECCOMP-KEYRING", Medium, Any, None,
        "The profile permits the calls of keyrings, which are shared between all containers of a \
         user.",
        "remove the calls from linux.seccomp", "Kerberos and encrypted file systems",
        |s| checks::permitted(s, calls::KEYRING);
    "BH-SECCOMP-MOUNT", Low, Any, None,
        "The profile permits mounts, which a process can make in a user namespace or by \
         CAP_SYS_ADMIN.",
        "remove the calls from linux.seccomp", "container engines in the container",
        checks::seccomp_mount;
    "BH-SECCOMP-NONE", Medium, Any, None,
        "The program can make every system call, so every fault of the kernel is in its reach.",
        "set linux.seccomp, for example to the profile default.json of bulkhead",
        "programs that use rare system calls",
        checks::seccomp_none;
    "BH-SECCOMP-TRACE", Low, Any, None,
        "The profile permits calls that read and change other processes of the same user.",
        "remove the calls from linux.seccomp", "debuggers", |s| checks::permitted(s, calls::TRACE);
    "BH-SECCOMP-USERFAULTFD", Low, Any, None,
        "The profile permits userfaultfd(2), which makes races in the kernel easy to win.",
        "remove the call from linux.seccomp", "virtual machines and CRIU",
        |s| checks::permitted(s, calls::USERFAULTFD);
    "BH-SECCOMP-USERNS", Low, Any, None,
        "The profile permits new user namespaces, in which a process without rights reaches much \
         more of the kernel.",
        "remove the calls from linux.seccomp, or permit clone only without CLONE_NEWUSER",
        "container engines and browsers in the container", |s| checks::permitted(s, calls::USERNS);
    "BH-SYS-WRITABLE", High, Files, None,
        "Root can change devices, drivers and power settings of the host.",
        "add the option ro to the mount of /sys", "programs that change devices",
        checks::sys_writable;
    "BH-SYSCTL-HOST", High, Any, None,
        "The sysctl belongs to no namespace of the container, so it would change the host.",
        "remove it, or add the namespace that it belongs to", "programs that need the setting",
        checks::sysctl_host;
    "BH-USER-NAMESPACE", Low, Any, None,
        "The users of the container are those of the host, so what leaves the container keeps its \
         user.",
        "add a namespace of type user with mappings, if the image's files can be mapped", "",
        |s| checks::flag(s.users == Users::Host, &s.users_place);
    "BH-USER-NAMESPACE-ROOT", Medium, Any, None,
        "The user namespace maps the host's root, so a file of the host's root is the container's.",
        "map ids from 100000 on", "files that belong to the host's root",
        |s| checks::flag(s.users == Users::MapsRoot, &s.users_place);
    "BH-USER-ROOT", Medium, Files, None,
        "The program is the host's root, so a fault that leads out of the container leads to the \
         host.",
        "set process.user.uid to another user, or add a user namespace",
        "programs that bind low ports or change owners", |s| checks::flag(s.uid == 0, &s.uid_place);
};
