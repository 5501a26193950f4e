/*
 * Line echo on one level-triggered epoll loop: one read and one write per
 * event. Its cost is that of the system calls alone, the lower bound to which
 * the other servers are compared.
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

enum { SIZE = 64 * 1024, EVENTS = 256 };

/* The buffer holds the unsent part of a reply, then an incomplete line. */
struct client {
	int fd;
	size_t unsent, held;
	char *bytes; /* SIZE long, or NULL while nothing is held */
};

static int loop;
static char buffer[SIZE];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int watch(int op, int fd, unsigned events, struct client *c)
{
	struct epoll_event event = {.events = events, .data.ptr = c};
	return epoll_ctl(loop, op, fd, &event);
}

/* While a reply is unsent nothing is read, so a client that reads slowly is served slowly. */
static int hold(struct client *c, const char *from, size_t held, size_t unsent)
{
	int blocked = unsent > 0, was_blocked = c->unsent > 0;

	if (held == 0) {
		free(c->bytes);
		c->bytes = NULL;
	} else {
		if (!c->bytes && !(c->bytes = malloc(SIZE)))
			return -1;
		memmove(c->bytes, from, held);
	}
	c->held = held;
	c->unsent = unsent;
	return blocked == was_blocked ? 0 : watch(EPOLL_CTL_MOD, c->fd, blocked ? EPOLLOUT : EPOLLIN, c);
}

static int passing(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static int echo(struct client *c)
{
	if (c->held)
		memcpy(buffer, c->bytes, c->held);
	ssize_t n = read(c->fd, buffer + c->held, SIZE - c->held);
	if (n <= 0)
		return passing(n) ? 0 : -1;

	size_t size = c->held + n, whole = 0;
	char *end = memrchr(buffer + c->held, '\n', n);
	if (end)
		whole = end + 1 - buffer;
	else if (size == SIZE)
		return -1; /* the line is too long */

	ssize_t sent = whole ? write(c->fd, buffer, whole) : 0;
	if (sent < 0) {
		if (!passing(sent))
			return -1;
		sent = 0;
	}
	if ((size_t)sent == size && !c->held)
		return 0; /* all is out and nothing was kept: the usual case */
	return hold(c, buffer + sent, size - sent, whole - sent);
}

static int flush(struct client *c)
{
	ssize_t n = write(c->fd, c->bytes, c->unsent);
	if (n < 0)
		return passing(n) ? 0 : -1;
	return hold(c, c->bytes + n, c->held - n, c->unsent - n);
}

static void drop(struct client *c)
{
	close(c->fd);
	free(c->bytes);
	free(c);
}

static void take(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct client *c = calloc(1, sizeof *c);
		if (!c) {
			close(fd);
			return;
		}
		c->fd = fd;
		if (watch(EPOLL_CTL_ADD, fd, EPOLLIN, c) < 0)
			drop(c);
	}
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

int main(void)
{
	static struct epoll_event events[EVENTS];

	signal(SIGPIPE, SIG_IGN); /* a client that left shows in what write returns */
	raise_files();
	if ((loop = epoll_create1(EPOLL_CLOEXEC)) < 0)
		fail("epoll_create1");
	int listener = announce();
	if (watch(EPOLL_CTL_ADD, listener, EPOLLIN, NULL) < 0)
		fail("epoll_ctl");

	for (;;) {
		int n = epoll_wait(loop, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (!c)
				take(listener);
			else if ((c->unsent ? flush(c) : echo(c)) < 0)
				drop(c);
		}
	}
}
