/*
 * What the servers share: a level-triggered epoll loop that accepts clients on
 * a free port of 127.0.0.1 and prints its address.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int loop;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* The loop passes data to ready. It must not be NULL, which stands for the listener. */
static int watch(int op, int fd, unsigned events, void *data)
{
	struct epoll_event event = {.events = events, .data.ptr = data};
	return epoll_ctl(loop, op, fd, &event);
}

/* Whether a read or write that returned n is to be tried again later. */
static int passing(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static int announce(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* Clients inherit TCP_NODELAY, which the Go servers have as well. */
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
		fail("socket");
	if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 4096) < 0)
		fail("listen");
	if (getsockname(fd, (struct sockaddr *)&at, &size) < 0)
		fail("getsockname");
	printf("listening 127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

/* The Go runtime also raises this limit. */
static void raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Calls accepted for each new client, and ready for what watch was given. */
static void run(void (*accepted)(int fd), void (*ready)(void *data))
{
	static struct epoll_event events[256];
	int fd, listener;

	signal(SIGPIPE, SIG_IGN); /* a client that left shows in what write returns */
	raise_files();
	if ((loop = epoll_create1(EPOLL_CLOEXEC)) < 0)
		fail("epoll_create1");
	listener = announce();
	if (watch(EPOLL_CTL_ADD, listener, EPOLLIN, NULL) < 0)
		fail("epoll_ctl");

	for (;;) {
		int n = epoll_wait(loop, events, sizeof events / sizeof *events, -1);
		if (n < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr) {
				ready(events[i].data.ptr);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
				accepted(fd);
		}
	}
}
