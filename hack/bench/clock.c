// Runs a command and measures it. Small and static, because the peak memory that the kernel reports
// for a process starts with that of the process that spawned it.
//
//   clock [-n COUNT] [-j AT_ONCE] [-t SECONDS] COMMAND [WORD...]
//
// Runs the command COUNT times, AT_ONCE at a time; `@` in a word is replaced by the number of the
// run. Standard input and output of the command are /dev/null. Prints one line:
//
//   wall_ns user_us system_us minor_faults major_faults peak_kib voluntary involuntary failed
//
// The figures after wall_ns are those of the commands and the children that they have waited for:
// sums, except for the peak, which is the maximum. `failed` counts the runs that did not exit with
// 0. After SECONDS (60) the remaining runs are killed, and no more are started.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static pid_t *running;
static int slots;
static volatile sig_atomic_t expired;

static void die(const char *what) {
    fprintf(stderr, "clock: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void kill_all(int signal) {
    (void)signal;
    expired = 1;
    for (int i = 0; i < slots; i++)
        if (running[i]) kill(running[i], SIGKILL);
}

// The word with `number` in place of `@`.
static char *numbered(const char *word, int number) {
    const char *at = strchr(word, '@');
    char *new;
    if (!at) return strdup(word);
    if (asprintf(&new, "%.*s%d%s", (int)(at - word), word, number, at + 1) < 0) die("memory");
    return new;
}

static pid_t start(char **arguments, int number, const posix_spawn_file_actions_t *files) {
    char *own[256] = {0};
    pid_t pid;
    int i;
    for (i = 0; arguments[i] && i < 255; i++) own[i] = numbered(arguments[i], number);
    errno = posix_spawnp(&pid, own[0], files, NULL, own, environ);
    if (errno) die(arguments[0]);
    while (i--) free(own[i]);
    return pid;
}

int main(int argc, char **argv) {
    int option, count = 1, seconds = 60, started = 0, ended = 0, failed = 0, status;
    long user = 0, system = 0, minor = 0, major = 0, peak = 0, voluntary = 0, involuntary = 0;
    struct timespec from, to;
    struct rusage used;
    posix_spawn_file_actions_t files;
    slots = 1;
    while ((option = getopt(argc, argv, "+n:j:t:")) != -1) {
        if (option == 'n') count = atoi(optarg);
        else if (option == 'j') slots = atoi(optarg);
        else if (option == 't') seconds = atoi(optarg);
        else return 125;
    }
    if (optind == argc || count < 1 || slots < 1) {
        fprintf(stderr, "usage: clock [-n COUNT] [-j AT_ONCE] [-t SECONDS] COMMAND [WORD...]\n");
        return 125;
    }
    running = calloc(slots, sizeof(*running));
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    signal(SIGALRM, kill_all);
    alarm(seconds);
    clock_gettime(CLOCK_MONOTONIC, &from);
    while (ended < count && !(expired && ended == started)) {
        for (int i = 0; i < slots && started < count && !expired; i++)
            if (!running[i]) running[i] = start(argv + optind, ++started, &files);
        pid_t pid = wait4(-1, &status, 0, &used);
        if (pid < 0) {
            if (errno == EINTR) continue;
            die("wait");
        }
        for (int i = 0; i < slots; i++)
            if (running[i] == pid) running[i] = 0;
        ended++;
        failed += status != 0;
        user += used.ru_utime.tv_sec * 1000000 + used.ru_utime.tv_usec;
        system += used.ru_stime.tv_sec * 1000000 + used.ru_stime.tv_usec;
        minor += used.ru_minflt;
        major += used.ru_majflt;
        if (used.ru_maxrss > peak) peak = used.ru_maxrss;
        voluntary += used.ru_nvcsw;
        involuntary += used.ru_nivcsw;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    failed += count - started;
    printf("%lld %ld %ld %ld %ld %ld %ld %ld %d\n",
        (to.tv_sec - from.tv_sec) * 1000000000LL + (to.tv_nsec - from.tv_nsec), user, system, minor, major, peak,
        voluntary, involuntary, failed);
    return 0;
}
