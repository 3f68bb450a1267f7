// Runs a command under a seccomp filter in which some system calls answer ENOSYS, as on a kernel that lacks
// them or in a container with an older profile.
//
//   without NAME[,NAME...] COMMAND [WORD...]
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct { const char *name; int number; } known[] = {
    {"clone3", SYS_clone3}, {"close_range", SYS_close_range}, {"fsconfig", SYS_fsconfig}, {"fsmount", SYS_fsmount},
    {"fsopen", SYS_fsopen}, {"keyctl", SYS_keyctl}, {"memfd_create", SYS_memfd_create},
    {"mount_setattr", SYS_mount_setattr}, {"move_mount", SYS_move_mount}, {"open_tree", SYS_open_tree},
    {"openat2", SYS_openat2}, {"pidfd_getfd", SYS_pidfd_getfd}, {"pidfd_open", SYS_pidfd_open},
    {"pidfd_send_signal", SYS_pidfd_send_signal}, {"statx", SYS_statx}, {"faccessat2", SYS_faccessat2},
    {"execveat", SYS_execveat}, {"renameat2", SYS_renameat2}, {"getrandom", SYS_getrandom},
};

static int number_of(const char *name) {
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (!strcmp(known[i].name, name)) return known[i].number;
    fprintf(stderr, "without: unknown system call %s\n", name);
    exit(125);
}

int main(int argc, char **argv) {
    struct sock_filter program[64];
    unsigned short length = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: without NAME[,NAME...] COMMAND [WORD...]\n");
        return 125;
    }
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (char *name = strtok(argv[1], ","); name && length < 60; name = strtok(NULL, ",")) {
        program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number_of(name), 0, 1);
        program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
    }
    program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {length, program};
    // Without no_new_privs, which the command would inherit: it needs root.
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter)) {
        perror("without: seccomp");
        return 125;
    }
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 125;
}
