/*
 * A room of all clients: when one of them sends a line that begins with
 * "publish", it is written to every other client, by one write call after the
 * other. Any other line makes its client a member, and is sent back. Its cost
 * is that of the write calls alone, the lower bound to which the other servers
 * are compared: it keeps nothing for a client that does not read, and ends
 * instead.
 */
#include "loop.h"

enum { LINE = 64, FILES = 1 << 20, NOWHERE = -1 };

static int members[FILES], count; /* descriptors */
static int at[FILES];             /* where a descriptor is in members, or NOWHERE */

static void send_line(int fd, const char *line)
{
	ssize_t n = write(fd, line, LINE);
	if (n != LINE && !(n < 0 && (errno == ECONNRESET || errno == EPIPE)))
		fail("write");
}

static void publish(const char *line)
{
	for (int i = 0; i < count; i++)
		send_line(members[i], line);
}

static void enter(int fd)
{
	if (at[fd] != NOWHERE)
		return;
	at[fd] = count;
	members[count++] = fd;
}

static void drop(int fd)
{
	if (at[fd] != NOWHERE) {
		int last = members[--count];
		members[at[fd]] = last;
		at[last] = at[fd];
		at[fd] = NOWHERE;
	}
	close(fd);
}

/* data is the client's place in at. The load sends whole lines, one at a time. */
static void ready(void *data)
{
	int fd = (int *)data - at;
	char line[LINE];
	ssize_t n = read(fd, line, LINE);

	if (passing(n))
		return;
	if (n != LINE) {
		drop(fd);
		return;
	}
	if (memcmp(line, "publish ", 8) == 0)
		publish(line);
	else
		enter(fd);
	send_line(fd, line);
}

static void accepted(int fd)
{
	if (fd >= FILES) {
		close(fd);
		return;
	}
	at[fd] = NOWHERE;
	if (watch(EPOLL_CTL_ADD, fd, EPOLLIN, &at[fd]) < 0)
		fail("epoll_ctl");
}

int main(void)
{
	run(accepted, ready);
}
