// The minimum that the kernel must do for the container of the benchmark: the bundle of `bulkhead
// spec`, set up by direct system calls, without reading config.json, recording a state, or
// defending against attacks. Everything that a runtime takes beyond it is the runtime's own cost.
// hack/bench/same.py checks that the kernel reports an equal container.
//
//   floor run [-u] [-s FILTER] [-l FILE=VALUE]... CGROUP ROOTFS PROGRAM [ARGUMENT...]
//   floor exec [-s FILTER] CGROUP PID PROGRAM [ARGUMENT...]
//
// CGROUP is a path on cgroup v2: `run` creates and removes it, `exec` enters it. -u adds a user
// namespace, -s loads a file of raw seccomp instructions, -l writes a limit of the cgroup.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what, call) \
    do { \
        if ((call) < 0) fail(what); \
    } while (0)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void fail(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static const struct {
    const char *name;
    int major, minor;
} devices[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

static const char *const links[][2] = {{"/proc/self/fd", "dev/fd"},
    {"/proc/self/fd/0", "dev/stdin"},
    {"/proc/self/fd/1", "dev/stdout"},
    {"/proc/self/fd/2", "dev/stderr"},
    {"pts/ptmx", "dev/ptmx"}};

static const char *const masked[] = {"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats",
    "proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi"};
static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};

static int in_user_namespace;
static struct sock_fprog filter;

// ---- the parent's side ---------------------------------------------------------------------------

static void read_filter(const char *path) {
    static struct sock_filter code[BPF_MAXINSNS];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(path, file);
    ssize_t size = read(file, code, sizeof(code));
    CHECK(path, size);
    close(file);
    filter = (struct sock_fprog){.len = size / sizeof(code[0]), .filter = code};
}

static void write_to(int directory, const char *name, const char *text) {
    int file = openat(directory, name, O_WRONLY | O_CLOEXEC);
    CHECK(name, file);
    CHECK(name, write(file, text, strlen(text)));
    close(file);
}

#define LOAD(to, offset) {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = 1, .off = (offset)}
#define SHIFT_RIGHT(reg, bits) {.code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = (reg), .imm = (bits)}
#define SHIFT_LEFT(reg, bits) {.code = BPF_ALU64 | BPF_LSH | BPF_K, .dst_reg = (reg), .imm = (bits)}
#define OR(to, from) {.code = BPF_ALU64 | BPF_OR | BPF_X, .dst_reg = (to), .src_reg = (from)}
#define SET(reg, value) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (reg), .imm = (value)}
#define COPY(to, from) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from)}
#define IF_EQUAL(reg, value, skip) {.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = (reg), .off = (skip), .imm = (value)}
#define UNLESS_EQUAL(reg, value, skip) \
    {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = (reg), .off = (skip), .imm = (value)}
#define END {.code = BPF_JMP | BPF_EXIT}
#define NUMBER(major, minor) ((major) << 20 | (minor))

// Default devices, pseudo-terminals, and mknod(2) of every node; no other device.
static int device_program(void) {
    static struct bpf_insn code[] = {
        LOAD(2, 0), // access << 16 | type
        COPY(3, 2),
        SET(0, 1),
        SHIFT_RIGHT(3, 16),
        IF_EQUAL(3, BPF_DEVCG_ACC_MKNOD, 15),
        SHIFT_LEFT(2, 48),
        SHIFT_RIGHT(2, 48),
        UNLESS_EQUAL(2, BPF_DEVCG_DEV_CHAR, 11),
        LOAD(3, 4), // major
        IF_EQUAL(3, 136, 10),
        SHIFT_LEFT(3, 20),
        LOAD(4, 8), // minor
        OR(3, 4),
        IF_EQUAL(3, NUMBER(1, 3), 6),
        IF_EQUAL(3, NUMBER(1, 5), 5),
        IF_EQUAL(3, NUMBER(1, 7), 4),
        IF_EQUAL(3, NUMBER(1, 8), 3),
        IF_EQUAL(3, NUMBER(1, 9), 2),
        IF_EQUAL(3, NUMBER(5, 0), 1),
        UNLESS_EQUAL(3, NUMBER(5, 2), 1),
        END,
        SET(0, 0),
        END,
    };
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insns = (uintptr_t)code,
        .insn_cnt = LENGTH(code),
        .license = (uintptr_t) "GPL"};
    return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void limit_devices(int cgroup) {
    int program = device_program();
    CHECK("load the device program", program);
    union bpf_attr attr = {.target_fd = cgroup, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE,
        .attach_flags = BPF_F_ALLOW_MULTI};
    CHECK("attach the device program", syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)));
    close(program);
}

static void map_ids(pid_t child) {
    static const char *const files[] = {"uid_map", "gid_map"};
    char path[64];
    for (size_t i = 0; i < LENGTH(files); i++) {
        snprintf(path, sizeof(path), "/proc/%d/%s", child, files[i]);
        write_to(AT_FDCWD, path, "0 100000 65536\n");
    }
}

static pid_t clone_into(int cgroup, uint64_t flags) {
    struct clone_args args = {
        .flags = flags | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup};
    return syscall(SYS_clone3, &args, sizeof(args));
}

static int status_of(pid_t child) {
    int status;
    CHECK("wait", waitpid(child, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// ---- the child's side ----------------------------------------------------------------------------

static void mount_new(const char *type, const char *source, const char *where, unsigned long flags, const char *data) {
    CHECK(where, mount(source, where, type, flags, data));
}

static void bind_tree(const char *source, const char *where) {
    CHECK(where, mount(source, where, NULL, MS_BIND | MS_REC, NULL));
}

static void fill_dev(void) {
    char path[32], source[32];
    for (size_t i = 0; i < LENGTH(devices); i++) {
        snprintf(path, sizeof(path), "dev/%s", devices[i].name);
        if (!in_user_namespace) {
            CHECK(path, mknod(path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
            continue;
        }
        CHECK(path, mknod(path, S_IFREG | 0666, 0));
        snprintf(source, sizeof(source), "/dev/%s", devices[i].name);
        bind_tree(source, path);
    }
    for (size_t i = 0; i < LENGTH(links); i++) CHECK(links[i][1], symlink(links[i][0], links[i][1]));
}

static void mount_all(const char *rootfs) {
    CHECK("/", mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
    bind_tree(rootfs, rootfs);
    CHECK(rootfs, chdir(rootfs));
    mount_new("proc", "proc", "proc", 0, NULL);
    mount_new("tmpfs", "tmpfs", "dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    CHECK("dev/pts", mkdir("dev/pts", 0755));
    CHECK("dev/shm", mkdir("dev/shm", 0755));
    CHECK("dev/mqueue", mkdir("dev/mqueue", 0755));
    mount_new("devpts", "devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    mount_new("tmpfs", "shm", "dev/shm", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k");
    mount_new("mqueue", "mqueue", "dev/mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
    mount_new("sysfs", "sysfs", "sys", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL);
    mount_new("cgroup2", "cgroup", "sys/fs/cgroup", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME | MS_RDONLY, NULL);
    fill_dev();
}

// A masked directory is an empty tmpfs, the same for all; a masked file is /dev/null.
static void mask(void) {
    const char *empty = NULL;
    struct stat entry;
    for (size_t i = 0; i < LENGTH(masked); i++) {
        if (stat(masked[i], &entry) < 0) continue;
        if (!S_ISDIR(entry.st_mode)) {
            bind_tree("dev/null", masked[i]);
        } else if (empty) {
            bind_tree(empty, masked[i]);
        } else {
            unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
            mount_new("tmpfs", "tmpfs", empty = masked[i], flags, "size=4k,nr_inodes=2,mode=755");
        }
    }
}

static void make_readonly(const char *path, int recursive) {
    struct {
        uint64_t set, clear, propagation, userns;
    } attributes = {.set = 1}; // MOUNT_ATTR_RDONLY
    CHECK(path, syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? 0x8000 /* AT_RECURSIVE */ : 0, &attributes,
                    sizeof(attributes)));
}

static void enter_root(void) {
    CHECK("pivot_root", syscall(SYS_pivot_root, ".", "."));
    CHECK("detach the old root", umount2(".", MNT_DETACH));
    CHECK("/", chdir("/"));
    mask();
    for (size_t i = 0; i < LENGTH(readonly); i++) {
        if (access(readonly[i], F_OK) < 0) continue;
        bind_tree(readonly[i], readonly[i]);
        make_readonly(readonly[i], 1);
    }
    make_readonly("/", 0);
}

static void bring_up_loopback(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK("socket", handle);
    CHECK("loopback", ioctl(handle, SIOCSIFFLAGS, &request));
    close(handle);
}

static void give_up_rights(void) {
    const uint32_t kept = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
    const struct rlimit files = {1024, 1024};
    CHECK("rlimit", setrlimit(RLIMIT_NOFILE, &files));
    for (int cap = 0; cap <= 63; cap++)
        if ((cap > 31 || !(kept >> cap & 1)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) break;
    CHECK("no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = kept, .permitted = kept}};
    CHECK("capabilities", syscall(SYS_capset, &header, data));
    umask(0022);
    CHECK("descriptors", syscall(SYS_close_range, 3, ~0u, 0));
    if (filter.len) CHECK("seccomp", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
}

static void run_program(char **arguments) {
    char *environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/", NULL};
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/bin/%s", arguments[0]);
    execve(path, arguments, environment);
    fail(path);
}

// ---- the two commands ----------------------------------------------------------------------------

static int run(const char *path, const char *rootfs, char **limits, int count, char **arguments) {
    // With a user namespace the others are made once its root is mapped, or nobody would own them.
    const uint64_t others = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP;
    int mapped[2], go[2];
    char byte = 0;
    CHECK("pipe", pipe2(mapped, O_CLOEXEC));
    CHECK("pipe", pipe2(go, O_CLOEXEC));
    CHECK(path, mkdir(path, 0755));
    int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(path, cgroup);
    for (int i = 0; i < count; i++) {
        char *value = strchr(limits[i], '=');
        if (!value) fail(limits[i]);
        *value++ = 0;
        write_to(cgroup, limits[i], value);
    }
    pid_t child = clone_into(cgroup, CLONE_NEWPID | (in_user_namespace ? CLONE_NEWUSER : others));
    CHECK("clone3", child);
    if (child == 0) {
        CHECK("setsid", setsid());
        CHECK("keyring", syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
        if (in_user_namespace) {
            CHECK("pipe", read(mapped[0], &byte, 1));
            CHECK("gid", setresgid(0, 0, 0));
            CHECK("uid", setresuid(0, 0, 0));
            CHECK("unshare", unshare(others));
        }
        bring_up_loopback();
        CHECK("host name", sethostname("bulkhead", 8));
        umask(0);
        mount_all(rootfs);
        enter_root();
        // No program before the rules of its devices are in force.
        CHECK("pipe", read(go[0], &byte, 1));
        give_up_rights();
        run_program(arguments);
    }
    if (in_user_namespace) {
        map_ids(child);
        CHECK("pipe", write(mapped[1], &byte, 1));
    }
    limit_devices(cgroup);
    CHECK("pipe", write(go[1], &byte, 1));
    int status = status_of(child);
    CHECK(path, rmdir(path));
    return status;
}

static int exec(const char *path, const char *init, char **arguments) {
    int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(path, cgroup);
    int pidfd = syscall(SYS_pidfd_open, atoi(init), 0);
    CHECK("pidfd_open", pidfd);
    int namespaces = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP;
    CHECK("setns", setns(pidfd, namespaces));
    pid_t child = clone_into(cgroup, 0);
    CHECK("clone3", child);
    if (child == 0) {
        CHECK("setsid", setsid());
        CHECK("keyring", syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
        give_up_rights();
        run_program(arguments);
    }
    return status_of(child);
}

int main(int argc, char **argv) {
    char *limits[8];
    int option, count = 0;
    const char *verb = argc > 1 ? argv[1] : "";
    optind = 2;
    while ((option = getopt(argc, argv, "+us:l:")) != -1) {
        if (option == 'u') in_user_namespace = 1;
        else if (option == 's') read_filter(optarg);
        else if (option == 'l' && count < (int)LENGTH(limits)) limits[count++] = optarg;
        else return 125;
    }
    if (argc - optind >= 3 && !strcmp(verb, "run"))
        return run(argv[optind], argv[optind + 1], limits, count, argv + optind + 2);
    if (argc - optind >= 3 && !strcmp(verb, "exec")) return exec(argv[optind], argv[optind + 1], argv + optind + 2);
    fprintf(stderr, "usage: floor run|exec ... (see the head of floor.c)\n");
    return 125;
}
