// The program of the containers of hack/crash-sweep, and of their hooks. Static, and needs no other file.
//
//   probe report FILE           writes what the kernel says about the process, as lines "NAME TAB VALUE"
//   probe stay FILE             the same, and waits until it is killed
//   probe hook FILE NAME        appends NAME to FILE
//
// A report contains nothing that differs between two runs of the same container. It is written under another
// name and renamed, so that it is complete as soon as it exists.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static FILE *out;

static void value(const char *name, const char *text) { fprintf(out, "%s\t%s\n", name, text); }

static void number(const char *name, long result) {
    if (result < 0) fprintf(out, "%s\t%s\n", name, strerror(errno));
    else fprintf(out, "%s\t%ld\n", name, result);
}

// The lines of a file, each after the name of the file; of a status file those that say what is permitted.
static void file(const char *path, const char *const *wanted) {
    char line[4096];
    FILE *in = fopen(path, "re");
    if (!in) {
        value(path, strerror(errno));
        return;
    }
    int lines = 0;
    while (fgets(line, sizeof(line), in)) {
        int is_wanted = !wanted;
        for (const char *const *w = wanted; w && *w; w++) is_wanted |= !strncmp(line, *w, strlen(*w));
        if (is_wanted) fprintf(out, "%s\t%s", path, line);
        lines++;
    }
    if (lines == 0) value(path, ferror(in) ? strerror(errno) : "empty");
    fclose(in);
}

// Without the numbers of mounts and devices.
static void mounts(void) {
    char line[4096];
    FILE *in = fopen("/proc/self/mountinfo", "re");
    while (in && fgets(line, sizeof(line), in)) {
        char *at = line;
        for (int field = 0; field < 3 && at; field++) at = strchr(at + 1, ' ');
        if (!at) continue;
        // The numbers of peer groups, too.
        fputs("mount\t", out);
        for (char *c = at + 1; *c; c++) {
            fputc(*c, out);
            if (*c == ':')
                while (c[1] >= '0' && c[1] <= '9') c++;
        }
    }
    if (in) fclose(in);
    else value("mount", strerror(errno));
}

static void link_of(const char *path) {
    char text[4096];
    ssize_t length = readlink(path, text, sizeof(text) - 1);
    text[length < 0 ? 0 : length] = 0;
    // A pipe or a socket has another number each time.
    char *end = strstr(text, ":[");
    if (end && strncmp(path, "/proc/self/ns/", 14)) *end = 0;
    value(path, length < 0 ? strerror(errno) : text);
}

static void access_to(const char *path, int flags, const char *what) {
    char name[256];
    snprintf(name, sizeof(name), "%s %s", what, path);
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
    value(name, fd < 0 ? strerror(errno) : "permitted");
    if (fd >= 0) close(fd);
}

static void report(char **arguments, char **environment) {
    static const char *const status[] = {"Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Cap", "SigBlk",
                                         "SigIgn", "Cpus_allowed_list", "THP_enabled", NULL};
    static const char *const spaces[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
    char text[4096];
    file("/proc/self/status", status);
    file("/proc/self/limits", NULL);
    file("/proc/self/cgroup", NULL);
    file("/proc/self/uid_map", NULL);
    file("/proc/self/gid_map", NULL);
    file("/proc/self/setgroups", NULL);
    file("/proc/self/oom_score_adj", NULL);
    file("/proc/self/coredump_filter", NULL);
    file("/proc/self/timens_offsets", NULL);
    file("/proc/sys/kernel/hostname", NULL);
    file("/proc/sys/kernel/domainname", NULL);
    file("/proc/sys/kernel/shmmax", NULL);
    file("/proc/keys", NULL);
    file("/proc/timer_list", NULL);
    mounts();
    for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++) {
        snprintf(text, sizeof(text), "/proc/self/ns/%s", spaces[i]);
        link_of(text);
    }
    for (int fd = 0; fd < 256; fd++) {
        snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
        if (fd != fileno(out) && fcntl(fd, F_GETFD) >= 0) link_of(text);
    }
    for (; *arguments; arguments++) value("argument", *arguments);
    for (; *environment; environment++) value("environment", *environment);
    value("directory", getcwd(text, sizeof(text)) ? text : strerror(errno));
    number("leader of a session", getsid(0) == getpid());
    number("terminal", isatty(0));
    number("dumpable", prctl(PR_GET_DUMPABLE));
    number("secure bits", prctl(PR_GET_SECUREBITS));
    int signal = -1;
    prctl(PR_GET_PDEATHSIG, &signal);
    number("death signal", signal);
    number("scheduler", sched_getscheduler(0));
    number("priority", syscall(SYS_getpriority, PRIO_PROCESS, 0));
    number("I/O priority", syscall(SYS_ioprio_get, 1, 0));
    number("personality", syscall(SYS_personality, 0xffffffff));
    long length = syscall(SYS_keyctl, 6 /* KEYCTL_DESCRIBE */, -3, text, sizeof(text) - 1);
    // Its name ends with a random number.
    text[length > 0 ? length - 1 : 0] = 0;
    char *random = length > 0 ? strrchr(text, '.') : NULL;
    if (random) *random = 0;
    value("session keyring", length > 0 ? strrchr(text, ';') : strerror(errno));
    number("call denied by the filter", syscall(SYS_swapoff, "/none"));
    access_to("/proc/sys/kernel/domainname", O_WRONLY, "write");
    access_to("/made", O_WRONLY | O_CREAT, "create");
    access_to("/tmp/made", O_WRONLY | O_CREAT, "create");
    access_to("/dev/fuse", O_RDWR, "open");
    access_to("/dev/null", O_RDWR, "open");
    access_to("/dev/console", O_PATH, "find");
    access_to("/sys/firmware", O_RDONLY | O_DIRECTORY, "list");
}

int main(int argc, char **argv, char **environment) {
    char name[4096];
    if (argc < 3) return 2;
    if (!strcmp(argv[1], "hook")) {
        int fd = open(argv[2], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        int length = snprintf(name, sizeof(name), "%s\n", argc > 3 ? argv[3] : "");
        return fd < 0 || write(fd, name, length) != length;
    }
    snprintf(name, sizeof(name), "%s.new", argv[2]);
    out = fopen(name, "we");
    if (!out) return 3;
    report(argv + 1, environment);
    if (fclose(out) || rename(name, argv[2])) return 4;
    if (!strcmp(argv[1], "stay"))
        for (;;) pause();
    return 7;
}
