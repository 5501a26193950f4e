// Makes a reset visible to Windows programs, as it is on Windows: a library for LD_PRELOAD.
//
// Wine's server polls every socket, and takes a pending error off it with
// getsockopt(SO_ERROR), or with a recv that peeks. If it does so before the program reads,
// the program's recvmsg returns zero, and the program sees the end of the stream. So the
// one that takes ECONNRESET off a socket marks the socket, and recvmsg fails on a marked
// one. The mark is SO_PRIORITY: all processes that have the socket see it, and nobody else
// uses it here.
//
// The functions make the system calls themselves. Wine also calls them in signal handlers,
// where dlsym must not be called.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum mark { NONE, TAKING = 4, RESET = 5 };

static enum mark get_mark(int fd)
{
	int priority = NONE;
	socklen_t size = sizeof priority;
	syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PRIORITY, &priority, &size);
	return priority;
}

static void set_mark(int fd, enum mark mark)
{
	int priority = mark;
	setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	if (level != SOL_SOCKET || name != SO_ERROR || get_mark(fd) == RESET)
		return syscall(SYS_getsockopt, fd, level, name, value, size);
	set_mark(fd, TAKING); // a program that reads meanwhile waits for the result
	int result = syscall(SYS_getsockopt, fd, level, name, value, size), saved = errno;
	set_mark(fd, result == 0 && *(int *)value == ECONNRESET ? RESET : NONE);
	errno = saved;
	return result;
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
	ssize_t n = syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
	if (n < 0 && errno == ECONNRESET) {
		set_mark(fd, RESET);
		errno = ECONNRESET;
	}
	return n;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t n = syscall(SYS_recvmsg, fd, message, flags);
	if (n != 0)
		return n;
	enum mark mark;
	while ((mark = get_mark(fd)) == TAKING)
		usleep(100);
	if (mark != RESET)
		return 0;
	errno = ECONNRESET;
	return -1;
}

// AcceptEx asks for the address of a peer that may have reset the connection already. Then
// it fails with WSAECONNRESET on Windows, and package net accepts the next one. Wine fails
// with WSAENOTCONN, which looks like a broken listener.
int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict size)
{
	int result = syscall(SYS_getpeername, fd, address, size);
	if (result < 0 && errno == ENOTCONN)
		errno = ECONNRESET;
	return result;
}
