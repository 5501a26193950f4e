/*
 * A room of all clients: when one of them sends a line that begins with
 * "publish", it is written to every other client, by one write call after the
 * other. Any other line makes its client a member, and is sent back. Its cost
 * is that of the write calls alone, the lower bound to which the other servers
 * are compared: it keeps nothing for a client that does not read, and ends
 * instead.
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

enum { LINE = 64, EVENTS = 256, FILES = 1 << 20, NOWHERE = -1 };

static int loop;
static int members[FILES], count; /* descriptors */
static int at[FILES];             /* where a descriptor is in members, or NOWHERE */

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

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

/* The load sends whole lines, one at a time. */
static void serve(int fd)
{
	char line[LINE];
	ssize_t n = read(fd, line, LINE);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
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

static void take(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		at[fd] = NOWHERE;
		if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
			fail("epoll_ctl");
	}
}

static int announce(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof here;
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* Clients inherit TCP_NODELAY, which the Go servers have as well. */
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
		fail("socket");
	if (bind(fd, (struct sockaddr *)&here, size) < 0 || listen(fd, 4096) < 0)
		fail("listen");
	if (getsockname(fd, (struct sockaddr *)&here, &size) < 0)
		fail("getsockname");
	printf("listening 127.0.0.1:%d\n", ntohs(here.sin_port));
	fflush(stdout);
	return fd;
}

/* The Go runtime also raises this limit. */
static void raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max < FILES ? files.rlim_max : FILES;
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
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	if (epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event) < 0)
		fail("epoll_ctl");

	for (;;) {
		int n = epoll_wait(loop, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				take(listener);
			else
				serve(events[i].data.fd);
		}
	}
}
