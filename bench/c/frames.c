/*
 * Echo of long frames on one level-triggered epoll loop. "copy" writes back
 * what each read returns, whatever the frames. "whole" waits for a complete
 * frame, four bytes of length and that many more, before it writes it.
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
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 4, LONGEST = 2 << 20, PIECE = 64 * 1024, EVENTS = 256 };

/* The buffer holds bytes[out..in). The bytes before ready may be written. */
struct client {
	int fd, blocked;
	size_t out, ready, in;
	char bytes[HEAD + LONGEST];
};

static int loop, whole;

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

static int passing(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* The size of the frame at the start of the buffer, or 0 while it is not known. */
static size_t frame(const struct client *c)
{
	uint32_t size;

	if (c->in < HEAD)
		return 0;
	memcpy(&size, c->bytes, HEAD);
	return HEAD + (size_t)ntohl(size);
}

/* The client sends one frame and waits, so the buffer holds at most one frame. */
static int fill(struct client *c)
{
	size_t room = whole ? sizeof c->bytes : PIECE;
	ssize_t n = read(c->fd, c->bytes + c->in, room - c->in);
	if (n <= 0)
		return passing(n) ? 0 : -1;
	c->in += n;
	if (whole) {
		size_t end = frame(c);
		if (end > sizeof c->bytes)
			return -1; /* the frame is too long */
		if (end == 0 || c->in < end)
			return 0;
	}
	c->ready = c->in;
	return 0;
}

/* While anything is unsent nothing is read. */
static int flush(struct client *c)
{
	ssize_t n = write(c->fd, c->bytes + c->out, c->ready - c->out);
	if (n < 0 && !passing(n))
		return -1;
	if (n > 0)
		c->out += n;
	int blocked = c->out < c->ready;
	if (!blocked)
		c->out = c->ready = c->in = 0;
	if (blocked == c->blocked)
		return 0;
	c->blocked = blocked;
	return watch(EPOLL_CTL_MOD, c->fd, blocked ? EPOLLOUT : EPOLLIN, c);
}

static int echo(struct client *c)
{
	if (!c->blocked && fill(c) < 0)
		return -1;
	return c->ready ? flush(c) : 0;
}

static void drop(struct client *c)
{
	close(c->fd);
	free(c);
}

static void take(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct client *c = malloc(sizeof *c);
		if (!c) {
			close(fd);
			return;
		}
		c->fd = fd;
		c->blocked = 0;
		c->out = c->ready = c->in = 0;
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

int main(int argc, char **argv)
{
	static struct epoll_event events[EVENTS];

	whole = argc == 2 && strcmp(argv[1], "whole") == 0;
	if (argc != 2 || (!whole && strcmp(argv[1], "copy") != 0)) {
		fprintf(stderr, "usage: %s copy|whole\n", argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN); /* a client that left shows in what write returns */
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
			else if (echo(c) < 0)
				drop(c);
		}
	}
}
