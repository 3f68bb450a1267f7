/*
 * Looks at every process that appears in the pid namespace of its container, from its first moment
 * on, for anything of the host. The shell is too slow for that.
 *
 *   watch SECRET WORD ROOTS WAITING
 *
 * SECRET   text that the caller of the runtime has in its environment, backwards: the configuration
 *          of this container, which has it too, is in the memory of an exec
 * WORD     text on the runtime's command line
 * ROOTS    the root directories that a process may have, as DEVICE:INODE[,DEVICE:INODE...]
 * WAITING  1: a process may hold sockets and FIFOs, because it waits for start
 *
 * Prints "ready", then a line "hit=..." for each kind of finding, and "seen=N early=N" at the end,
 * when /mnt/stop exists. "early" counts the processes that were seen before they executed a program.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *secret, *word, *roots;
static int waiting;
static unsigned long long own_bounding;
static char buffer[1 << 16];

static void hit(const char *what, int pid, const char *more)
{
	static char told[64][64];
	static int count;
	char line[64];
	snprintf(line, sizeof line, "%s %.40s", what, more);
	for (int i = 0; i < count; i++)
		if (!strcmp(told[i], line))
			return;
	if (count < 64)
		strcpy(told[count++], line);
	printf("hit=%s pid=%d %s\n", what, pid, more);
	fflush(stdout);
}

static int holds_secret(const char *bytes, size_t length)
{
	return memmem(bytes, length, secret, strlen(secret)) != NULL;
}

static ssize_t read_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t length = read(fd, buffer, sizeof buffer - 1);
	close(fd);
	if (length >= 0)
		buffer[length] = 0;
	return length;
}

static unsigned long long field(const char *name, int base)
{
	char *at = strstr(buffer, name);
	return at ? strtoull(at + strlen(name), NULL, base) : 0;
}

static void look_at_root(int dir, int pid)
{
	struct stat st;
	char text[64];
	if (fstatat(dir, "root", &st, 0))
		return;
	snprintf(text, sizeof text, "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	const char *at = strstr(roots, text);
	size_t length = strlen(text);
	if (!at || (at[length] && at[length] != ',') || (at != roots && at[-1] != ','))
		hit("root", pid, text);
}

static void look_at_cwd(int dir, int pid)
{
	struct stat cwd, root;
	/* Every container of the test has "/" as its working directory. */
	if (!fstatat(dir, "cwd", &cwd, 0) && !fstatat(dir, "root", &root, 0) &&
	    (cwd.st_dev != root.st_dev || cwd.st_ino != root.st_ino))
		hit("cwd", pid, "");
}

static void look_at_exe(int dir, int pid)
{
	int fd = openat(dir, "exe", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		hit("exe", pid, "can be written");
		close(fd);
	}
}

/* Whether the process has not executed a program yet. */
static int is_early(int dir)
{
	return read_file(dir, "cmdline") > 0 && !strncmp(buffer, "bulkhead", 8);
}

static void look_at_fds(int dir, int pid)
{
	int fds = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fds < 0 ? NULL : fdopendir(fds);
	struct dirent *entry;
	while (list && (entry = readdir(list))) {
		char link[256];
		if (!isdigit(entry->d_name[0]) || atoi(entry->d_name) <= 2)
			continue;
		ssize_t length = readlinkat(fds, entry->d_name, link, sizeof link - 1);
		if (length < 0)
			continue;
		link[length] = 0;
		struct stat st;
		if (waiting && (!strncmp(link, "socket:", 7) ||
				(!fstatat(fds, entry->d_name, &st, 0) && S_ISFIFO(st.st_mode))))
			continue;
		/* The program of a container that waits may open files of its own. */
		if (waiting && !is_early(dir))
			continue;
		hit("fd", pid, link);
	}
	if (list)
		closedir(list);
	else if (fds >= 0)
		close(fds);
}

static void look_at_memory(int dir, int pid)
{
	static char maps[1 << 16];
	if (read_file(dir, "maps") <= 0)
		return;
	memcpy(maps, buffer, sizeof maps);
	int mem = openat(dir, "mem", O_RDONLY | O_CLOEXEC);
	if (mem < 0)
		return;
	for (char *line = strtok(maps, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned long start, end;
		if (!strstr(line, "[stack]") && !strstr(line, "[heap]"))
			continue;
		if (sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		for (; start < end; start += sizeof buffer - 256) {
			ssize_t length = pread(mem, buffer, sizeof buffer, start);
			if (length <= 0)
				break;
			if (holds_secret(buffer, length))
				hit("memory", pid, strstr(line, "["));
		}
	}
	close(mem);
}

/* As is_early, before anything else is looked at; -1 if there is no such process. */
static int look(int pid, int turn)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/%d", pid);
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	ssize_t length = read_file(dir, "cmdline");
	int early = is_early(dir);
	if (length > 0 && memmem(buffer, length, word, strlen(word)))
		hit("cmdline", pid, "");
	/* Something else first each time: the process is not there for long. */
	for (int i = 0; i < 7; i++) {
		switch ((i + turn) % 7) {
		case 0: look_at_root(dir, pid); break;
		case 1: look_at_cwd(dir, pid); break;
		case 2: look_at_exe(dir, pid); break;
		case 3: look_at_fds(dir, pid); break;
		case 4:
			length = read_file(dir, "environ");
			if (length > 0 && holds_secret(buffer, length))
				hit("environ", pid, "");
			break;
		case 5:
			if (read_file(dir, "status") <= 0)
				break;
			if (field("CapBnd:", 16) & ~own_bounding)
				hit("CapBnd", pid, "");
			if (field("CapPrm:", 16) & ~own_bounding)
				hit("CapPrm", pid, "");
			if (field("CapEff:", 16) & ~own_bounding)
				hit("CapEff", pid, "");
			if (field("NoNewPrivs:", 10) != 1)
				hit("NoNewPrivs", pid, "");
			if (field("Seccomp:", 10) != 2)
				hit("Seccomp", pid, "");
			break;
		case 6: look_at_memory(dir, pid); break;
		}
	}
	close(dir);
	return early;
}

/* Tells the test how many were seen early, so that it can go on for longer on a busy machine. */
static void report(long early)
{
	int fd = open("/mnt/early", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0) {
		dprintf(fd, "%08ld", early);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	char *forwards = strdup(argv[1]);
	size_t length = strlen(forwards);
	for (size_t i = 0; i < length; i++)
		forwards[i] = argv[1][length - 1 - i];
	secret = forwards;
	word = argv[2];
	roots = argv[3];
	waiting = atoi(argv[4]);
	int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (read_file(self, "status") <= 0)
		return 3;
	own_bounding = field("CapBnd:", 16);
	close(self);

	long seen = 0, early = 0;
	int last = getpid(), turn = 0;
	puts("ready");
	fflush(stdout);
	int loadavg = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	for (long round = 0; round % 256 || access("/mnt/stop", F_OK); round++) {
		/* Numbers are given out in order. The last one tells if some were missed. */
		if (round % 16 == 0) {
			ssize_t length = pread(loadavg, buffer, sizeof buffer - 1, 0);
			buffer[length > 0 ? length : 0] = 0;
			char *number = strrchr(buffer, ' ');
			if (number && atoi(number) - 1 > last)
				last = atoi(number) - 1;
		}
		for (int pid = last + 1; pid < last + 4; pid++) {
			int found = look(pid, turn++);
			if (found < 0)
				continue;
			seen++;
			int was_early = found;
			while ((found = look(pid, turn++)) >= 0)
				was_early |= found;
			early += was_early;
			if (was_early)
				report(early);
			last = pid;
		}
	}
	printf("seen=%ld early=%ld\n", seen, early);
	puts("end");
	return 0;
}
