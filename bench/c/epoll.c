/*
 * Line echo on one level-triggered epoll loop: one read and one write per
 * event. Its cost is that of the system calls alone, the lower bound to which
 * the other servers are compared.
 */
#include "loop.h"

enum { SIZE = 64 * 1024 };

/* The buffer holds the unsent part of a reply, then an incomplete line. */
struct client {
	int fd;
	size_t unsent, held;
	char *bytes; /* SIZE long, or NULL while nothing is held */
};

static char buffer[SIZE];

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

static void accepted(int fd)
{
	struct client *c = calloc(1, sizeof *c);
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	if (watch(EPOLL_CTL_ADD, fd, EPOLLIN, c) < 0)
		drop(c);
}

static void ready(void *data)
{
	struct client *c = data;
	if ((c->unsent ? flush(c) : echo(c)) < 0)
		drop(c);
}

int main(void)
{
	run(accepted, ready);
}
