// Runs a command under ptrace(2), and at one of its system calls kills processes or changes the result.
//
//   inject list FILE SECONDS COMMAND...                         writes every call to FILE
//   inject kill VICTIM SIDE PROCESS CALL NUMBER FILE SECONDS COMMAND...
//   inject fail ERRNO PROCESS CALL NUMBER FILE SECONDS COMMAND...
//
// PROCESS is the place of a process in the order of birth, from 0 for the command itself; CALL is the
// place of a system call in that process, from 0, and NUMBER its number: nothing is done if the process
// makes another call there this time. Processes other than the command are followed until
// they execute a program. VICTIM is `command`, `others` or `all`, SIDE is `before` or `after` the call.
// A call that fails is not made, except close(2), which the kernel makes in any case.
//
// A line of FILE for a call: "PROCESS CALL NUMBER RESULT ALIVE ARGUMENT", where ALIVE is the number of
// processes that are followed and ARGUMENT a path that the call names. With kill and fail there is one
// line, for the call in question, if it was reached.
//
// The exit status is that of the command, 128 and the signal that killed it, 124 if it did not end within
// SECONDS (then everything that is followed is killed), or 125 for an error of this program. Processes that
// the command leaves run on, not followed.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

#ifndef __x86_64__
#error "the registers are those of x86-64"
#endif

enum { LIST, KILL, FAIL };
enum { COMMAND = 1, OTHERS = 2, ALL = 3 };

struct process {
    pid_t pid;
    long calls;       // entered so far
    long number;      // of the call that it is in
    int is_inside;    // of a call
    int is_failing;   // the call that it is in gets another result
    int is_followed;
    unsigned long long arguments[6];
};

static struct process processes[256];
static int count, mode, victims, is_after, error;
static long wanted_process, wanted_call, wanted_number;
static FILE *report;
static volatile sig_atomic_t is_late;

static void die(const char *what) {
    fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void late(int signal) {
    (void)signal;
    is_late = 1;
}

static struct process *find(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (processes[i].pid == pid && processes[i].is_followed) return &processes[i];
    if (count == sizeof(processes) / sizeof(*processes)) {
        errno = ENOSPC;
        die("too many processes");
    }
    processes[count] = (struct process){.pid = pid, .calls = -1, .is_followed = 1};
    return &processes[count++];
}

static int alive(void) {
    int followed = 0;
    for (int i = 0; i < count; i++) followed += processes[i].is_followed;
    return followed;
}

static void kill_all(int which) {
    for (int i = 0; i < count; i++)
        if (processes[i].is_followed && which & (i == 0 ? COMMAND : OTHERS)) kill(processes[i].pid, SIGKILL);
}

// The path that a call names, for people.
static const char *path(const struct process *p) {
    static char text[128];
    int place;
    switch (p->number) {
    case SYS_open: case SYS_stat: case SYS_lstat: case SYS_mkdir: case SYS_rmdir: case SYS_unlink: case SYS_chdir:
    case SYS_chmod: case SYS_access: case SYS_readlink: case SYS_execve: case SYS_statfs: case SYS_rename:
    case SYS_umount2: case SYS_memfd_create: case SYS_fsopen: place = 0; break;
    case SYS_openat: case SYS_openat2: case SYS_mkdirat: case SYS_mknodat: case SYS_unlinkat: case SYS_newfstatat:
    case SYS_statx: case SYS_readlinkat: case SYS_faccessat: case SYS_faccessat2: case SYS_renameat: case SYS_fchmodat:
    case SYS_fchownat: case SYS_symlinkat: case SYS_execveat: case SYS_open_tree: case SYS_mount: case SYS_write: place = 1; break;
    default: return "";
    }
    struct iovec to = {text, sizeof(text) - 1};
    // The string may end with its page.
    unsigned long long from = p->arguments[place], left = 4096 - from % 4096;
    struct iovec there = {(void *)from, left < to.iov_len ? left : to.iov_len};
    ssize_t got = process_vm_readv(p->pid, &to, 1, &there, 1, 0);
    if (got < 0) return "";
    if (p->number == SYS_write && p->arguments[2] < (unsigned long long)got) got = p->arguments[2];
    text[got] = 0;
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return text;
}

static void tell(const struct process *p, long result, const char *argument) {
    fprintf(report, "%ld %ld %ld %ld %d %s\n", (long)(p - processes), p->calls, p->number, result, alive(), argument);
}

static void set(const struct process *p, size_t offset, long value) {
    if (ptrace(PTRACE_POKEUSER, p->pid, offset, value) < 0 && errno != ESRCH) die("set a register");
}

static void at_call(struct process *p) {
    struct ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, p->pid, sizeof(info), &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        p->calls++;
        p->number = info.entry.nr;
        memcpy(p->arguments, info.entry.args, sizeof(p->arguments));
        p->is_inside = 1;
    } else if (info.op != PTRACE_SYSCALL_INFO_EXIT || !p->is_inside) {
        return;
    } else {
        p->is_inside = 0;
    }
    const int is_wanted = mode != LIST && p - processes == wanted_process && p->calls == wanted_call &&
                          p->number == wanted_number;
    if (mode == LIST) {
        static char kept[128];
        if (p->is_inside) snprintf(kept, sizeof(kept), "%s", path(p));
        // A call that does not return must be in the list too.
        if (p->is_inside) tell(p, 0, kept);
    } else if (!is_wanted) {
        return;
    } else if (mode == KILL && p->is_inside != is_after) {
        tell(p, 0, path(p));
        // A process that is killed here does not make the call.
        if (p->is_inside && victims & (p == processes ? COMMAND : OTHERS))
            set(p, offsetof(struct user, regs.orig_rax), SYS_getpid);
        kill_all(victims);
    } else if (mode == FAIL && p->is_inside) {
        tell(p, -error, path(p));
        p->is_failing = 1;
        if (p->number != SYS_close) set(p, offsetof(struct user, regs.orig_rax), SYS_getpid);
    } else if (mode == FAIL && p->is_failing) {
        p->is_failing = 0;
        set(p, offsetof(struct user, regs.rax), -error);
    }
}

static pid_t start(char **arguments) {
    int gate[2];
    char byte = 0;
    if (pipe(gate) < 0) die("pipe");
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
        close(gate[1]);
        if (read(gate[0], &byte, 1) != 1) _exit(125);
        close(gate[0]);
        execv(arguments[0], arguments);
        die(arguments[0]);
    }
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                         PTRACE_O_TRACECLONE;
    if (ptrace(PTRACE_SEIZE, child, 0, options) < 0) die("ptrace");
    find(child);
    if (write(gate[1], &byte, 1) != 1) die("pipe");
    close(gate[0]);
    close(gate[1]);
    return child;
}

static int follow(pid_t first) {
    int status, has_started = 0;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (is_late) {
            kill_all(ALL);
            return 124;
        }
        if (pid < 0) {
            if (errno == EINTR) continue;
            die("wait");
        }
        struct process *p = find(pid);
        if (!WIFSTOPPED(status)) {
            p->is_followed = 0;
            if (pid == first) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        int signal = WSTOPSIG(status);
        enum __ptrace_request onwards = PTRACE_SYSCALL;
        switch (status >> 16) {
        case 0:
            if (signal == (SIGTRAP | 0x80)) {
                signal = 0;
                if (has_started) at_call(p);
            }
            break;
        case PTRACE_EVENT_EXEC:
            signal = 0;
            // The program of a container or a hook is not part of the runtime.
            if (pid != first) onwards = PTRACE_DETACH;
            has_started = 1;
            break;
        case PTRACE_EVENT_STOP:
            if (signal != SIGTRAP) onwards = PTRACE_LISTEN;
            signal = 0;
            break;
        default: signal = 0;
        }
        if (onwards == PTRACE_DETACH) p->is_followed = 0;
        // It may have been killed meanwhile.
        if (ptrace(onwards, pid, 0, signal) < 0 && errno != ESRCH) die("ptrace");
    }
}

static void usage(void) {
    fprintf(stderr, "usage: inject list|kill|fail [VICTIM SIDE|ERRNO] [PROCESS CALL NUMBER] FILE SECONDS COMMAND...\n");
    exit(125);
}

int main(int argc, char **argv) {
    char **word = argv + 1;
    if (argc < 5) usage();
    mode = !strcmp(*word, "list") ? LIST : !strcmp(*word, "kill") ? KILL : FAIL;
    word++;
    if (argc < (int[]){5, 10, 9}[mode]) usage();
    if (mode == KILL) {
        victims = !strcmp(*word, "command") ? COMMAND : !strcmp(*word, "others") ? OTHERS : ALL;
        is_after = !strcmp(word[1], "after");
        word += 2;
    } else if (mode == FAIL) {
        error = atoi(*word++);
    }
    if (mode != LIST) {
        wanted_process = atol(*word++);
        wanted_call = atol(*word++);
        wanted_number = atol(*word++);
    }
    report = fopen(*word, "we");
    if (!report) die(*word);
    struct sigaction action = {.sa_handler = late};
    sigaction(SIGALRM, &action, NULL);
    alarm(atoi(word[1]));
    return follow(start(word + 2));
}
