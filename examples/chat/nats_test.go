package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"wireline/hub/natsbus"
)

// startNATS starts a NATS server on an address. stop ends it; the test's end does so too.
func startNATS(t *testing.T, listen string) (url string, stop func()) {
	t.Helper()
	server := &natsbus.Embedded{Listen: listen, Log: slog.New(slog.DiscardHandler)}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server.URL(), server.Close
}

// newChatAt starts a server that is one with the others at a NATS server.
func newChatAt(t *testing.T, url, prefix string, flags ...string) *chat {
	t.Helper()
	bus, _, err := openBus(&Chat{NATS: url, NATSPrefix: prefix}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	x := unstarted(t, bus, flags...)
	if err := x.start(); err != nil {
		t.Fatal(err)
	}
	x.tcp.Start()
	return x
}

// twoChats returns two servers that are one, and know each other.
func twoChats(t *testing.T, url string, flags ...string) (east, west *chat) {
	t.Helper()
	east, west = newChatAt(t, url, "chat", flags...), newChatAt(t, url, "chat", flags...)
	await(t, "the servers do not find each other", func() bool {
		return east.hub.Bus.Stats().Nodes == 2 && west.hub.Bus.Stats().Nodes == 2
	})
	return east, west
}

// await waits until ok returns true.
func await(t *testing.T, otherwise string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(otherwise)
		}
	}
}

// settle waits until the NATS server knows what this user's server listens to, and has what it has
// published: the other server answers a question that comes after that.
func (u *user) settle() {
	u.t.Helper()
	u.says("/who milk")
	u.sees("* In milk: none")
}

// Users of two servers are as those of one.
func TestTwoServers(t *testing.T) {
	url, _ := startNATS(t, "127.0.0.1:0")
	east, west := twoChats(t, url, "--chat.operator_password", operatorPassword)
	anna := east.login(t, "anna", "tea")
	anna.settle()
	ben := west.dial(t)
	ben.says("Anna", "ben", "/join tea")
	ben.sees("! somebody else has that nickname", "* What is your nickname?", youAre("ben"), youAreIn("tea"))
	anna.sees("* ben has joined tea")
	ben.settle()

	ben.says("/who", "/list", "Hello, east.")
	ben.sees("* In tea: anna, ben", "* Rooms: tea (1)", "[tea] ben: Hello, east.")
	anna.sees("[tea] ben: Hello, east.")
	ben.says("/msg anna a secret", "/msg carl hi")
	ben.sees("[to anna] a secret", "! carl has not got that: nobody has that nickname")
	anna.sees("[from ben] a secret")
	anna.says("Hello, west.")
	for _, u := range []*user{anna, ben} {
		u.sees("[tea] anna: Hello, west.")
	}

	anna.says("/nick ben", "/nick ann")
	anna.sees("! somebody else has that nickname", "* anna is now ann", "* You are ann.")
	ben.sees("* anna is now ann")
	ben.says("/nick anna")
	ben.sees("* ben is now anna", "* You are anna.")
	anna.sees("* ben is now anna")

	anna.says("/oper "+operatorPassword, "/kick carl", "/kick anna for a good reason")
	anna.sees("* You are an operator.", "! carl was not kicked: nobody has that nickname")
	anna.seesInAnyOrder("* You have kicked anna.", "* anna has left tea")
	ben.sees("* Goodbye: kicked by ann: for a good reason.")
	ben.ends()
}

// Servers with another prefix at the same NATS server are another chat.
func TestNATSPrefix(t *testing.T) {
	url, _ := startNATS(t, "127.0.0.1:0")
	east, _ := twoChats(t, url)
	other := newChatAt(t, url, "test.chat")
	east.login(t, "anna")
	other.login(t, "anna")
	if n := other.hub.Bus.Stats().Nodes; n != 1 {
		t.Errorf("it knows %d processes", n)
	}
}

// A server keeps what all users have said since one of its own users is in the room.
func TestHistoryOfTwoServers(t *testing.T) {
	url, _ := startNATS(t, "127.0.0.1:0")
	east, west := twoChats(t, url)
	anna := east.login(t, "anna", "tea")
	anna.says("nobody in the west hears this")
	anna.sees("[tea] anna: nobody in the west hears this")
	anna.settle()
	ben := west.login(t, "ben")
	ben.says("/join tea")
	ben.sees(youAreIn("tea"))
	ben.settle()
	anna.seesLast("* ben has joined tea")
	anna.says("one")
	ben.sees("[tea] anna: one")
	ben.says("two")
	ben.sees("[tea] ben: two")
	anna.sees("[tea] anna: one", "[tea] ben: two")

	carl := west.login(t, "carl")
	carl.says("/join tea")
	carl.sees("(just now) [tea] anna: one", "(just now) [tea] ben: two", youAreIn("tea"))
	dora := east.login(t, "dora")
	dora.says("/join tea")
	dora.sees("(just now) [tea] anna: nobody in the west hears this", "(just now) [tea] anna: one", "(just now) [tea] ben: two", youAreIn("tea"))
}

// While the NATS server is away, users of one server talk to each other, and are told that the others
// are not reached. Everything heals when it is back.
func TestNATSIsAway(t *testing.T) {
	url, stop := startNATS(t, "127.0.0.1:0")
	east, west := twoChats(t, url)
	anna := east.login(t, "anna", "tea")
	anna.settle()
	carl := west.login(t, "carl", "tea")
	carl.settle()
	ben := east.login(t, "ben", "tea")
	anna.sees("* carl has joined tea", "* ben has joined tea")
	carl.sees("* ben has joined tea")
	stop()
	const away = "! only users of this server have seen that: the other servers cannot be reached now"
	for told := false; !told; { // it takes a moment until the end of the connection is seen
		anna.says("hello?", "/msg ben that was for you")
		lines := anna.seesLast("[to ben] that was for you")
		told = slices.Equal(lines, []string{"[tea] anna: hello?", away})
		ben.sees("[tea] anna: hello?", "[from anna] that was for you")
	}
	anna.says("/msg carl hello?")
	anna.sees("! carl has not got that: the other servers cannot be reached now")
	dora := east.dial(t)
	for range maxTries { // which do not count
		dora.says("dora")
		dora.sees("! the other servers cannot be reached now", "* What is your nickname?")
	}

	startNATS(t, strings.TrimPrefix(url, "nats://"))
	await(t, "the servers do not find each other again", func() bool {
		anna.says("/msg carl hello again")
		return anna.line() == "[to carl] hello again"
	})
	await(t, "dora gets no nickname", func() bool {
		dora.says("dora")
		if dora.line() == youAre("dora") {
			return true
		}
		dora.sees("* What is your nickname?")
		return false
	})
	anna.says("/quit")
	anna.sees("* Goodbye.")
	before := carl.seesLast("* anna has left tea")
	if !slices.Contains(before, "[from anna] hello again") {
		t.Errorf("carl has seen %q", before)
	}
}

// When one of several servers stops, the users of the others see who leaves.
func TestOneServerStops(t *testing.T) {
	url, _ := startNATS(t, "127.0.0.1:0")
	east, west := twoChats(t, url)
	anna := east.login(t, "anna", "tea")
	anna.settle()
	ben := west.login(t, "ben", "tea")
	anna.sees("* ben has joined tea")
	west.announceEnd()
	ben.sees("* The server is going down now.")
	stopped := make(chan error, 1)
	go func() { stopped <- west.tcp.Shutdown(t.Context()) }()
	ben.sees("* Goodbye: the server is going down.")
	ben.ends()
	ben.Close()
	anna.sees("* ben has left tea")
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Two processes are one chat, the first of which runs the NATS server. When the other is killed, its
// nicknames are free again.
func TestTwoProcesses(t *testing.T) {
	east := start(t, "--chat.nats=embedded:127.0.0.1:0")
	if east.nats == "" {
		t.Fatal("the log does not say where NATS listens")
	}
	west := start(t, "--chat.nats", east.nats)
	await(t, "the processes do not find each other", func() bool {
		return strings.Contains(east.get("/metrics"), `wireline_hub_bus_nodes{hub="chat"} 2`)
	})
	anna, ben := east.dial(), west.dial()
	anna.says("anna", "/join tea")
	anna.sees(greeting, youAre("anna"), youAreIn("tea"))
	anna.settle()
	ben.says("anna", "ben", "/join tea", "hello")
	ben.sees(greeting, "! somebody else has that nickname", "* What is your nickname?", youAre("ben"), youAreIn("tea"), "[tea] ben: hello")
	anna.sees("* ben has joined tea", "[tea] ben: hello")

	west.cmd.Process.Kill()
	west.cmd.Wait()
	await(t, "the nickname of the killed process is not free", func() bool {
		anna.says("/nick ben")
		return anna.line() == "* anna is now ben"
	})
	anna.sees("* You are ben.")
	east.stop()
	anna.seesLast("* Goodbye: the server is going down.")
	anna.Close()
	east.wait()
}
