/* Prints what the kernel says about the process and its surroundings, as lines "NAME TAB VALUE",
 * then waits for the end of its standard input. A value has no newline: it is written as "\n".
 * Static, and without any file of the root file system.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

static void escaped(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\n')
			fputs("\\n", stdout);
		else if (text[i] == '\0')
			fputs("\\0", stdout);
		else
			putchar(text[i]);
	}
}

static void file(const char *path)
{
	static char text[1 << 20];
	size_t length = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	printf("file:%s\t", path);
	if (fd < 0) {
		printf("%s\n", strerror(errno));
		return;
	}
	while ((got = read(fd, text + length, sizeof(text) - length)) > 0)
		length += got;
	close(fd);
	if (got < 0)
		printf("%s", strerror(errno));
	escaped(text, length);
	putchar('\n');
}

static void link_of(const char *name, const char *path)
{
	char text[4096];
	ssize_t length = readlink(path, text, sizeof(text));

	printf("%s\t", name);
	if (length < 0)
		printf("%s", strerror(errno));
	else
		escaped(text, length);
	putchar('\n');
}

static void look(const char *path)
{
	struct stat s;

	printf("stat:%s\t", path);
	if (lstat(path, &s) < 0)
		printf("%s", strerror(errno));
	else
		printf("%o %u:%u %u:%u", s.st_mode, s.st_uid, s.st_gid, major(s.st_rdev),
		       minor(s.st_rdev));
	putchar('\n');
}

static void directory(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);

	printf("list:%s\t", path);
	if (count < 0)
		printf("%s", strerror(errno));
	for (int i = 0; i < count; i++)
		if (entries[i]->d_name[0] != '.')
			printf("%s ", entries[i]->d_name);
	putchar('\n');
	for (int i = 0; i < count; i++) {
		char name[4096];

		if (entries[i]->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", strcmp(path, "/") ? path : "",
			 entries[i]->d_name);
		look(name);
	}
}

static void writable(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == EISDIR)
		fd = open(path, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	printf("write:%s\t%s\n", path, fd < 0 ? strerror(errno) : "yes");
	if (fd >= 0)
		close(fd);
}

static void call(const char *name, long number, long a, long b)
{
	long result = syscall(number, a, b, 0L, 0L, 0L, 0L);

	printf("call:%s(%#lx,%#lx)\t%ld %s\n", name, a, b, result,
	       result < 0 ? strerror(errno) : "");
}

static void calls(void)
{
	static const long numbers[] = { 0, 1, 2, 3, 0x100000001 };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		call("sched_get_priority_max", SYS_sched_get_priority_max, numbers[i], 0);
		call("sched_get_priority_min", SYS_sched_get_priority_min, numbers[i], 0);
		call("getpriority", SYS_getpriority, numbers[i], 0);
		call("ioprio_get", SYS_ioprio_get, numbers[i], 0);
	}
	call("personality", SYS_personality, 0xffffffff, 0);
	call("sync", SYS_sync, 0, 0);
	call("unshare", SYS_unshare, 0, 0);
	call("membarrier", SYS_membarrier, 0, 0);
	call("mknod", SYS_mknod, (long)"/tmp/node", S_IFIFO | 0600);
}

static void mknod_device(unsigned type, unsigned major_, unsigned minor_)
{
	int made = mknod("/tmp/device", type | 0600, makedev(major_, minor_));

	printf("mknod:%c%u:%u\t%s", type == S_IFCHR ? 'c' : 'b', major_, minor_,
	       made < 0 ? strerror(errno) : "made");
	if (made == 0) {
		int fd = open("/tmp/device", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

		printf(", read: %s", fd < 0 ? strerror(errno) : "yes");
		if (fd >= 0)
			close(fd);
		fd = open("/tmp/device", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		printf(", write: %s", fd < 0 ? strerror(errno) : "yes");
		if (fd >= 0)
			close(fd);
	}
	putchar('\n');
	unlink("/tmp/device");
}

static void pairs(const char *kind, char **list)
{
	for (int i = 0; list[i]; i++) {
		printf("%s:%d\t", kind, i);
		escaped(list[i], strlen(list[i]));
		putchar('\n');
	}
}

int main(int argc, char **argv, char **environment)
{
	static const char *const files[] = {
		"/proc/self/status", "/proc/self/mountinfo", "/proc/self/limits", "/proc/self/cgroup",
		"/proc/self/oom_score_adj", "/proc/self/uid_map", "/proc/self/gid_map",
		"/proc/self/setgroups", "/proc/self/timens_offsets", "/proc/self/personality",
		"/proc/self/loginuid", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname",
		"/proc/sys/kernel/msgmax", "/proc/sys/kernel/shmmax", "/proc/sys/kernel/sem",
		"/proc/sys/fs/mqueue/msg_max", "/proc/sys/net/ipv4/ip_forward",
		"/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/net/core/somaxconn",
		"/proc/sys/net/ipv4/ping_group_range", "/sys/class/net/lo/flags", "/proc/keys",
		"/proc/timer_list", "/secret/file", "/secret-file", "/bound/file", "/bound/sub/file",
		"/other/file", "/scratch/here",
	};
	static const char *const spaces[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };
	static const char *const places[] = { "/", "/data", "/data/file", "/scratch", "/bound", "/bound/file",
		"/other", "/tmp", "/dev", "/dev/null", "/dev/shm", "/secret", "/secret-file",
		"/proc/sys/kernel/domainname", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
		"/sys/fs/cgroup" };
	char text[4096], name[64];
	struct utsname uts;
	struct sched_param parameter = { 0 };
	int value = 0;
	char end;

	(void)argc;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		file(files[i]);
	for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++) {
		snprintf(name, sizeof(name), "ns:%s", spaces[i]);
		snprintf(text, sizeof(text), "/proc/self/ns/%s", spaces[i]);
		link_of(name, text);
	}
	pairs("arg", argv);
	pairs("env", environment);
	printf("cwd\t%s\n", getcwd(text, sizeof(text)) ? text : strerror(errno));
	if (uname(&uts) == 0)
		printf("uname\t%s %s %s\n", uts.nodename, uts.domainname, uts.machine);
	printf("session\t%s\n", getsid(0) == getpid() ? "its own" : "another's");
	printf("process group\t%s\n", getpgrp() == getpid() ? "its own" : "another's");
	printf("pid\t%s\n", getpid() == 1 ? "1" : "another");
	printf("tty\t%s\n", isatty(0) ? "yes" : "no");
	printf("dumpable\t%d\n", prctl(PR_GET_DUMPABLE));
	printf("secure bits\t%d\n", prctl(PR_GET_SECUREBITS));
	printf("parent death signal\t%d\n", prctl(PR_GET_PDEATHSIG, &value) ? -1 : value);
	printf("subreaper\t%d\n", prctl(PR_GET_CHILD_SUBREAPER, &value) ? -1 : value);
	printf("scheduler\t%d %d %d\n", sched_getscheduler(0), sched_getparam(0, &parameter),
	       parameter.sched_priority);
	for (int fd = 0; fd < 64; fd++) {
		snprintf(name, sizeof(name), "fd:%d", fd);
		snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
		if (fcntl(fd, F_GETFD) >= 0)
			link_of(name, text);
	}
	directory("/");
	directory("/dev");
	link_of("link:/dev/ptmx", "/dev/ptmx");
	link_of("link:/dev/fd", "/dev/fd");
	link_of("link:/dev/stdin", "/dev/stdin");
	directory("/dev/pts");
	directory("/secret");
	directory("/data");
	directory("/srv");
	look("/made/for/it");
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		writable(places[i]);
	mknod_device(S_IFCHR, 1, 3);
	mknod_device(S_IFCHR, 1, 11);
	mknod_device(S_IFCHR, 10, 200);
	mknod_device(S_IFBLK, 7, 0);
	calls();
	puts("end\t");
	fflush(stdout);
	while (read(0, &end, 1) > 0)
		;
	return 7;
}
