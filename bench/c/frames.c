/*
 * Echo of long frames on one level-triggered epoll loop. "copy" writes back
 * what each read returns, whatever the frames. "whole" waits for a complete
 * frame, four bytes of length and that many more, before it writes it.
 */
#include "loop.h"

enum { HEAD = 4, LONGEST = 2 << 20, PIECE = 64 * 1024 };

/* The buffer holds bytes[out..in). The bytes before ready may be written. */
struct client {
	int fd, blocked;
	size_t out, ready, in;
	char bytes[HEAD + LONGEST];
};

static int whole;

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

static void accepted(int fd)
{
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

static void ready(void *data)
{
	if (echo(data) < 0)
		drop(data);
}

int main(int argc, char **argv)
{
	whole = argc == 2 && strcmp(argv[1], "whole") == 0;
	if (argc != 2 || (!whole && strcmp(argv[1], "copy") != 0)) {
		fprintf(stderr, "usage: %s copy|whole\n", argv[0]);
		return 2;
	}
	run(accepted, ready);
}
