/*
 * Takes the socket to the runtime from the next process that appears in the pid namespace of its
 * container, and sends a message to the runtime through it.
 *
 *   forge TAG [NUMBER]
 *
 * TAG     the first byte of the message (src/protocol.rs)
 * NUMBER  its payload, a 32-bit integer
 *
 * Standard output goes with a message C, which brings a terminal.
 *
 * Prints "ready", then "held" when it has the socket. Sends when /mnt/go exists, and prints "sent".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_socket_to_runtime(int fd)
{
	int type = 0;
	socklen_t length = sizeof type;
	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_SEQPACKET;
}

/*
 * Returns a copy of the socket of process `pid`, or -1. Passes over the process that makes the procfs
 * on Linux before 6.18: it has a socket, but no standard error.
 */
static int take(int pid)
{
	int process = syscall(SYS_pidfd_open, pid, 0);
	if (process < 0)
		return -1;
	int standard_error = syscall(SYS_pidfd_getfd, process, STDERR_FILENO, 0);
	if (standard_error < 0) {
		close(process);
		return -1;
	}
	close(standard_error);
	for (int number = 3; number < 256; number++) {
		int fd = syscall(SYS_pidfd_getfd, process, number, 0);
		if (fd < 0)
			continue;
		if (is_socket_to_runtime(fd)) {
			close(process);
			return fd;
		}
		close(fd);
	}
	close(process);
	return -1;
}

/* Sends the message; a message C with a descriptor. */
static int sends(int fd, char *message, size_t length)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec part = { message, length };
	struct msghdr all = { .msg_iov = &part, .msg_iovlen = 1 };
	int output = STDOUT_FILENO;
	if (message[0] == 'C') {
		all.msg_control = control.bytes;
		all.msg_controllen = sizeof control.bytes;
		struct cmsghdr *rights = CMSG_FIRSTHDR(&all);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof output);
		memcpy(CMSG_DATA(rights), &output, sizeof output);
	}
	return sendmsg(fd, &all, 0) == (ssize_t)length;
}

int main(int argc, char **argv)
{
	char message[5];
	size_t length = 1;
	if (argc < 2)
		return 2;
	message[0] = argv[1][0];
	if (argc > 2) {
		int number = atoi(argv[2]);
		memcpy(message + 1, &number, sizeof number);
		length += sizeof number;
	}
	puts("ready");
	fflush(stdout);
	int fd = -1, own = getpid();
	for (int turn = 0; fd < 0; turn++)
		fd = take(own + 1 + turn % 16);
	puts("held");
	fflush(stdout);
	while (access("/mnt/go", F_OK))
		usleep(1000);
	if (!sends(fd, message, length)) {
		printf("sendmsg: %s\n", strerror(errno));
		return 3;
	}
	/* The runtime may wait for the end of file. */
	close(fd);
	puts("sent");
	fflush(stdout);
	pause();
	return 0;
}
