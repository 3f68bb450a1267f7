//! The rules about capabilities (capabilities(7)).

use caps::Capability;

use super::rule::{Find, Rule, Scope, Severity};
use Severity::{Critical, High, Low, Medium};

/// Makes a rule. `confined` is its severity in a user namespace of the container's own; `None`
/// means that the kernel asks for the capability in the host's user namespace, so that nothing is
/// left.
const fn rule(
    id: &'static str,
    capability: Capability,
    severity: Severity,
    confined: Option<Severity>,
    means: &'static str,
    breaks: &'static str,
) -> Rule {
    Rule {
        id,
        severity,
        scope: Scope::Rights,
        confined,
        means,
        change: "remove it from every set of process.capabilities",
        breaks,
        find: Find::Capability(capability),
    }
}

/// The rules, sorted by id. Capabilities without a rule of their own are harmless, or part of what
/// root needs for its own files ([`FILES`]).
pub static RULES: &[Rule] = &[
    rule(
        "BH-CAP-AUDIT-CONTROL",
        Capability::CAP_AUDIT_CONTROL,
        Medium,
        None,
        "The program can switch the audit log of the host off and change its rules.",
        "auditd",
    ),
    rule(
        "BH-CAP-AUDIT-READ",
        Capability::CAP_AUDIT_READ,
        Medium,
        None,
        "The program can read the audit log of the host.",
        "readers of the audit log",
    ),
    rule(
        "BH-CAP-BPF",
        Capability::CAP_BPF,
        High,
        None,
        "The program can load BPF programs and maps into the kernel of the host.",
        "tools that load BPF programs",
    ),
    rule(
        "BH-CAP-CHECKPOINT-RESTORE",
        Capability::CAP_CHECKPOINT_RESTORE,
        Medium,
        Some(Low),
        "The program can choose process ids and read which files other processes map.",
        "criu in the container",
    ),
    rule(
        "BH-CAP-DAC-READ-SEARCH",
        Capability::CAP_DAC_READ_SEARCH,
        High,
        None,
        "The program can open every file of a mounted file system of the host by its handle, \
         even outside of the container's root (open_by_handle_at(2)).",
        "backup programs",
    ),
    rule(
        "BH-CAP-IPC-OWNER",
        Capability::CAP_IPC_OWNER,
        Low,
        None,
        "The program can use every System V IPC object of its ipc namespace.",
        "programs that share System V IPC between users",
    ),
    rule(
        "BH-CAP-LINUX-IMMUTABLE",
        Capability::CAP_LINUX_IMMUTABLE,
        Medium,
        None,
        "The program can remove the attributes that protect files and logs from changes.",
        "chattr +i and +a",
    ),
    rule(
        "BH-CAP-MAC-ADMIN",
        Capability::CAP_MAC_ADMIN,
        High,
        None,
        "The program can change the policy of AppArmor or Smack on the host.",
        "programs that load profiles",
    ),
    rule(
        "BH-CAP-MAC-OVERRIDE",
        Capability::CAP_MAC_OVERRIDE,
        High,
        None,
        "The program is not bound by the policy of Smack on the host.",
        "programs that override Smack",
    ),
    rule(
        "BH-CAP-MKNOD",
        Capability::CAP_MKNOD,
        Low,
        None,
        "The program can make device nodes, so the device rules alone stand between it and the \
         devices of the host.",
        "programs that make device nodes, such as package installers",
    ),
    rule(
        "BH-CAP-NET-ADMIN",
        Capability::CAP_NET_ADMIN,
        Medium,
        Some(Low),
        "The program can change addresses, routes and firewall rules of its network namespace, \
         and reaches much kernel code that has had faults.",
        "VPN clients, firewalls and programs that set up interfaces",
    ),
    rule(
        "BH-CAP-NET-RAW",
        Capability::CAP_NET_RAW,
        Low,
        Some(Low),
        "The program can forge packets, and so pose as its neighbours on a bridge.",
        "tcpdump, and ping on hosts where net.ipv4.ping_group_range is empty",
    ),
    rule(
        "BH-CAP-PERFMON",
        Capability::CAP_PERFMON,
        High,
        None,
        "The program can observe the whole kernel, and so the processes of the host.",
        "perf and tools that trace by BPF",
    ),
    rule(
        "BH-CAP-SYS-ADMIN",
        Capability::CAP_SYS_ADMIN,
        Critical,
        Some(Medium),
        "The program can mount file systems, join namespaces and much more: it can leave the \
         container as root of the host.",
        "programs that mount, and container engines in the container",
    ),
    rule(
        "BH-CAP-SYS-BOOT",
        Capability::CAP_SYS_BOOT,
        High,
        None,
        "The program can load another kernel with kexec_load(2), and reboot the host if the pid \
         namespace is the host's.",
        "kexec",
    ),
    rule(
        "BH-CAP-SYS-MODULE",
        Capability::CAP_SYS_MODULE,
        Critical,
        None,
        "The program can load modules into the kernel of the host.",
        "programs that load their own kernel modules",
    ),
    rule(
        "BH-CAP-SYS-NICE",
        Capability::CAP_SYS_NICE,
        Low,
        None,
        "The program can take the processors from the other processes of the host.",
        "real-time programs, and databases that set the NUMA policy",
    ),
    rule(
        "BH-CAP-SYS-PTRACE",
        Capability::CAP_SYS_PTRACE,
        Medium,
        Some(Low),
        "The program can trace every process that it sees, and read its memory.",
        "debuggers that trace processes of other users",
    ),
    rule(
        "BH-CAP-SYS-RAWIO",
        Capability::CAP_SYS_RAWIO,
        Critical,
        None,
        "The program can use the I/O ports and, with a device, the memory of the host.",
        "programs that drive hardware, and smartctl",
    ),
    rule(
        "BH-CAP-SYS-RESOURCE",
        Capability::CAP_SYS_RESOURCE,
        Medium,
        None,
        "The program can raise its resource limits and use the space that is reserved for root.",
        "programs that raise their own ulimits",
    ),
    rule(
        "BH-CAP-SYS-TIME",
        Capability::CAP_SYS_TIME,
        Medium,
        None,
        "The program can set the clock of the host.",
        "ntpd and chronyd",
    ),
    rule(
        "BH-CAP-SYSLOG",
        Capability::CAP_SYSLOG,
        Medium,
        None,
        "The program can read the kernel log with the addresses of the kernel, which exploits \
         need.",
        "readers of the kernel log",
    ),
];

/// What root has over the files and processes of its own container, with the reports' words for it.
pub const FILES: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];
