package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/config"
	"wireline/hub"
	"wireline/tcptest"
)

// patience limits how long a test waits.
const patience = 30 * time.Second

const (
	greeting         = "* Welcome! What is your nickname?"
	operatorPassword = "open sesame"
)

// TestMain makes the test binary act as the program, if a variable says so.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_ACT_AS_CHAT") != "" {
		main()
	}
	tcptest.Timeout = patience
	goleak.VerifyTestMain(m)
}

// chat is a server that a test talks to.
type chat struct {
	*server
	tcp *tcptest.Server
}

// newChat starts a server with flags, over real sockets.
func newChat(t *testing.T, flags ...string) *chat {
	t.Helper()
	x := unstarted(t, nil, flags...)
	x.tcp.Start()
	return x
}

// newChatInMemory starts a server with flags, over connections in memory.
func newChatInMemory(t *testing.T, flags ...string) *chat {
	t.Helper()
	x := unstarted(t, nil, flags...)
	x.tcp.Serve(tcptest.Listen())
	return x
}

func unstarted(t *testing.T, bus hub.Bus, flags ...string) *chat {
	t.Helper()
	var cfg Config
	flags = append([]string{"--chat.limit.frames=0", "--chat.limit.frame_burst=0", "--chat.limit.bytes=0"}, flags...)
	if _, err := config.Load(&cfg, options(flags, nil)); err != nil {
		t.Fatal(err)
	}
	s := newServer(&cfg, bus, slog.New(slog.DiscardHandler))
	x := &chat{server: s, tcp: tcptest.NewUnstartedServer(&s.frames)}
	t.Cleanup(func() {
		x.tcp.Close()
		s.close()
	})
	return x
}

// user is a connection to a chat.
type user struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

// dial returns a user who has been greeted.
func (x *chat) dial(t *testing.T) *user {
	t.Helper()
	u := newUser(t, x.tcp.Dial())
	u.sees(greeting)
	return u
}

func newUser(t *testing.T, conn net.Conn) *user {
	t.Cleanup(func() { conn.Close() })
	return &user{Conn: conn, t: t, in: bufio.NewReader(conn)}
}

// login returns a user who has a nickname, and is in the rooms.
func (x *chat) login(t *testing.T, nick string, rooms ...string) *user {
	t.Helper()
	u := x.dial(t)
	u.says(nick)
	u.sees(youAre(nick))
	for _, room := range rooms {
		u.says("/join " + room)
		u.seesLast(youAreIn(room))
	}
	return u
}

func youAre(nick string) string {
	return "* You are " + nick + ". Enter a room with /join ROOM; /help shows all commands."
}

func youAreIn(room string) string { return "* You are in " + room + ". It gets what you say now." }

// says sends lines.
func (u *user) says(lines ...string) {
	u.t.Helper()
	tcptest.Send(u.t, u.Conn, strings.Join(lines, "\n")+"\n")
}

// line returns the next line without its end.
func (u *user) line() string {
	u.t.Helper()
	u.SetReadDeadline(time.Now().Add(patience))
	line, err := u.in.ReadString('\n')
	line, ok := strings.CutSuffix(line, "\r\n")
	if err != nil || !ok {
		u.t.Fatalf("read %q, %v", line, err)
	}
	return line
}

// sees expects exactly these lines, and nothing before them.
func (u *user) sees(lines ...string) {
	u.t.Helper()
	for _, want := range lines {
		if got := u.line(); got != want {
			u.t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

// seesInAnyOrder expects exactly two lines.
func (u *user) seesInAnyOrder(a, b string) {
	u.t.Helper()
	one, two := u.line(), u.line()
	if (one != a || two != b) && (one != b || two != a) {
		u.t.Fatalf("got %q and %q, want %q and %q", one, two, a, b)
	}
}

// seesLast reads up to a line, and returns the lines before it.
func (u *user) seesLast(last string) (before []string) {
	u.t.Helper()
	for {
		line := u.line()
		if line == last {
			return before
		}
		before = append(before, line)
	}
}

// ends expects the end of the connection, and nothing before it.
func (u *user) ends() {
	u.t.Helper()
	u.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(u.in); len(rest) > 0 || err != nil {
		u.t.Fatalf("got %q, %v; want the end", rest, err)
	}
}

// doesNotSee expects that nothing has come before the answer to a line of this user.
func (u *user) doesNotSee() {
	u.t.Helper()
	u.says("/nosuch")
	u.sees("! there is no command /nosuch; /help shows all, and //text says /text")
}

// numbered returns the lines "prefix0" to "prefix(n-1)".
func numbered(prefix string, n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprint(prefix, i))
	}
	return lines
}
