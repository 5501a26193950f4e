package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/tcptest"
)

// memory is a server on connections in memory.
type memory struct {
	*server
	t       *testing.T
	net     *tcptest.Server
	records chan handler.Record
}

func startMemory(t *testing.T, codec Codec) *memory {
	m := &memory{server: newServer(codec), t: t, records: make(chan handler.Record, 1000)}
	m.frames.OnRecord = func(r handler.Record) { m.records <- r }
	m.net = tcptest.NewUnstartedServer(&m.frames)
	ln := tcptest.Listen()
	ln.Buffer = 1 << 20
	m.net.Serve(ln)
	t.Cleanup(func() {
		m.net.Close()
		m.close()
	})
	return m
}

// connect returns a connection that is closed at the end of the test.
func (m *memory) connect() net.Conn {
	conn := m.net.Dial()
	m.t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends text and reads want.
func ask(t *testing.T, conn net.Conn, text, want string) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(conn, got)
	if err != nil || string(got) != want {
		t.Fatalf("sent %.200q: got %.200q, %v; want %.200q", text, got[:n], err, want)
	}
}

// converse sends text and a FIN, and returns all that it receives.
func (m *memory) converse(text string) string {
	m.t.Helper()
	conn := m.connect()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		m.t.Fatal(err)
	}
	conn.(*tcptest.Conn).CloseWrite()
	got, err := io.ReadAll(conn)
	if err != nil {
		m.t.Fatal(err)
	}
	conn.Close()
	return string(got)
}

// figure returns a number from INFO.
func (m *memory) figure(key string) int {
	m.t.Helper()
	_, rest, ok := strings.Cut(m.converse("INFO\n"), "\r\n"+key+":")
	digits, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil {
		m.t.Fatalf("INFO says %q about %s", digits, key)
	}
	return n
}

func TestConversation(t *testing.T) {
	for _, test := range []struct{ name, in, out string }{
		{"inline", "PING\r\nPING hello\nECHO 'a b'\n", "+PONG\r\n$5\r\nhello\r\n$3\r\na b\r\n"},
		{"array", "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "+OK\r\n$2\r\n\r\n\r\n"},
		{"many keys", "MSET a 1 b 2\nMGET a b c\nDEL a b c\nDBSIZE\n", "+OK\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n:2\r\n:0\r\n"},
		{"an error is no end", "FOO\nGET\nINCR a b\nPING\n", "-ERR unknown command 'FOO', with args beginning with: \r\n" +
			"-ERR wrong number of arguments for 'get' command\r\n-ERR wrong number of arguments for 'incr' command\r\n+PONG\r\n"},
		{"a protocol error is", "PING\n*1\r\n+PING\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: expected '$', got '+'\r\n"},
		{"open quotes are", "PING\nECHO \"a\nPING\n", "+PONG\r\n-ERR Protocol error: unbalanced quotes in request\r\n"},
		{"quit", "PING\nQUIT\nPING\n", "+PONG\r\n+OK\r\n"},
		{"cut off", "PING\n*2\r\n$4\r\nECHO\r\n", "+PONG\r\n"},
		{"other protocol", "HELLO 3\nPING\n", "-NOPROTO unsupported protocol version\r\n+PONG\r\n"},
		{"this protocol", "HELLO 2 SETNAME me\nCLIENT GETNAME\n", "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n" +
			"$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n$2\r\nme\r\n"},
		{"library", "CLIENT SETINFO LIB-NAME x\nCLIENT SETINFO lib-ver 1.0\nCLIENT SETINFO lib-name 'a b'\nCLIENT SETINFO foo x\nCLIENT ID\n",
			"+OK\r\n+OK\r\n-ERR lib-name cannot contain spaces, newlines or special characters.\r\n-ERR Unrecognized option 'foo'\r\n:1\r\n"},
		{"benchmark", "CONFIG GET save\nCONFIG GET appendonly\n", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"},
		{"help", "CONFIG HELP\n", "*5\r\n+CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n" +
			"+GET\r\n+    Get the parameters whose names match.\r\n+HELP\r\n+    List the subcommands.\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := startMemory(t, Codec{}).converse(test.in); got != test.out {
				t.Errorf("got  %q\nwant %q", got, test.out)
			}
		})
	}
}

// The server has limits of its own: a longer command ends the connection.
func TestOwnLimits(t *testing.T) {
	m := startMemory(t, Codec{MaxBulk: 10, MaxCommand: 60})
	for in, want := range map[string]string{
		"*2\r\n$4\r\nECHO\r\n$10\r\n0123456789\r\n":                                                      "$10\r\n0123456789\r\n",
		"*2\r\n$4\r\nECHO\r\n$11\r\n0123456789a\r\nPING\r\n":                                             "-ERR Protocol error: invalid bulk length\r\n",
		"*5\r\n$4\r\nMGET\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$1\r\na\r\n": "-ERR Protocol error: too big request\r\n",
		"CONFIG GET proto-max-bulk-len\n":                                                                "*2\r\n$18\r\nproto-max-bulk-len\r\n$2\r\n10\r\n",
	} {
		if got := m.converse(in); got != want {
			t.Errorf("sent %q: got %q, want %q", in, got, want)
		}
	}
}

// The records report which side has ended a connection, and why.
func TestRecords(t *testing.T) {
	m := startMemory(t, Codec{})
	for _, test := range []struct {
		in     string
		reason handler.Reason
		by     handler.Party
	}{
		{"PING\r\n", handler.ReasonFIN, handler.ByClient},
		{"QUIT\r\n", handler.ReasonClosed, handler.ByServer},
		{"*x\r\n", handler.ReasonFrameError, handler.ByServer},
		{"POST / HTTP/1.1\r\n", handler.ReasonClosed, handler.ByServer},
	} {
		m.converse(test.in)
		if r := <-m.records; r.Reason != test.reason || r.By != test.by {
			t.Errorf("after %q: by %s, %s", test.in, r.By, r.Reason)
		}
	}
}

// The last reply and the FIN behind it come at once, although the client keeps its side open. What
// lasts for two seconds is the lingering close behind that, so that what the client is still
// sending does not destroy the reply.
func TestLastReplyComesAtOnce(t *testing.T) {
	for in, want := range map[string]string{
		"*1\r\n+PING\r\n":         "-ERR Protocol error: expected '$', got '+'\r\n",
		"*1\r\n+PING\r\nPING\r\n": "-ERR Protocol error: expected '$', got '+'\r\n",
		"ECHO \"a\n":              "-ERR Protocol error: unbalanced quotes in request\r\n",
		"QUIT\n":                  "+OK\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			m := startMemory(t, Codec{})
			conn, begin := m.connect(), time.Now()
			tcptest.Send(t, conn, in)
			tcptest.ReceiveAll(t, conn, want)
			if d := time.Since(begin); d != 0 {
				t.Errorf("%q: the reply and the FIN came after %v", in, d)
			}
			if n := m.figure("connected_clients"); n != 1 { // the one that asks
				t.Errorf("%q: %d clients are counted, want 1", in, n)
			}
			<-m.records // of the client that has asked
			<-m.records
			if d := time.Since(begin); d != 2*time.Second {
				t.Errorf("%q: the connection was closed after %v, want 2s", in, d)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := startMemory(t, Codec{}).connect()
		ask(t, conn, "SET a 1 EX 10\nSET b 1 PX 1500\nTTL a\nPTTL b\nTTL b\n", "+OK\r\n+OK\r\n:10\r\n:1500\r\n:2\r\n")
		time.Sleep(1500 * time.Millisecond)
		ask(t, conn, "EXISTS a b\nPTTL a\nPTTL b\n", ":2\r\n:8500\r\n:0\r\n")
		time.Sleep(time.Millisecond)
		ask(t, conn, "EXISTS a b\nGET b\nTTL b\nSET b 2 XX\nPERSIST b\n", ":1\r\n$-1\r\n:-2\r\n$-1\r\n:0\r\n")
		ask(t, conn, "INCR a\nPERSIST a\nTTL a\n", ":2\r\n:1\r\n:-1\r\n")
		time.Sleep(time.Minute)
		ask(t, conn, "GET a\nEXPIRE a 1\nINCR a\nTTL a\n", "$1\r\n2\r\n:1\r\n:3\r\n:1\r\n")
		time.Sleep(1001 * time.Millisecond)
		ask(t, conn, "INCR a\nTTL a\nSETNX a 5\n", ":1\r\n:-1\r\n:0\r\n")
		ask(t, conn, "SET c x EXAT 1\nGET c\nDEL c\n", "+OK\r\n$-1\r\n:0\r\n")
		ask(t, conn, "SET d 1 EX 1\nSET d 2\nSET e 1\nPEXPIRE e 1\n", "+OK\r\n+OK\r\n+OK\r\n:1\r\n")
		time.Sleep(time.Minute)
		ask(t, conn, "MGET d e\n", "*2\r\n$1\r\n2\r\n$-1\r\n")
	})
}

// Expired keys are removed although no client asks for them.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 20000
		m := startMemory(t, Codec{})
		var in bytes.Buffer
		for i := range keys {
			fmt.Fprintf(&in, "SET %d x EX %d\n", i, 10+i%2*100)
		}
		conn := m.connect()
		ask(t, conn, in.String(), strings.Repeat("+OK\r\n", keys))
		ask(t, conn, "DBSIZE\n", ":20000\r\n")
		time.Sleep(9900 * time.Millisecond)
		ask(t, conn, "DBSIZE\n", ":20000\r\n")
		time.Sleep(time.Second)
		if n := m.figure("expired_keys"); n < keys/4 {
			t.Errorf("a second later %d of %d keys are gone", n, keys/2)
		}
		time.Sleep(time.Minute)
		ask(t, conn, "DBSIZE\n", ":10000\r\n")
		if n := m.figure("expired_keys"); n != keys/2 {
			t.Errorf("%d keys have expired, want %d", n, keys/2)
		}
		time.Sleep(time.Minute)
		ask(t, conn, "DBSIZE\n", ":0\r\n")
	})
}

func TestInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMemory(t, Codec{})
		time.Sleep(90 * time.Second)
		for range 3 {
			m.converse("SET a 1\nGET a\nGET b\nFOO\nGET\n")
		}
		conn := m.connect()
		ask(t, conn, "SET b 1 EX 100\nGET b\n", "+OK\r\n$1\r\n1\r\n")
		all := m.converse("INFO\n")
		for _, want := range []string{
			"# Server\r\n", "\r\nredis_version:7.", "\r\nuptime_in_seconds:90\r\n",
			"# Clients\r\n", "\r\nconnected_clients:2\r\n",
			"# Memory\r\n", "\r\nused_memory:", "\r\nused_memory_human:",
			"# Stats\r\n", "\r\ntotal_connections_received:5\r\n", "\r\ntotal_commands_processed:12\r\n",
			"\r\nkeyspace_hits:4\r\n", "\r\nkeyspace_misses:3\r\n",
			"# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=100000\r\n",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("no %q in %q", want, all)
			}
		}
		for _, test := range [][2]string{
			{"INFO nosuch\n", "$0\r\n\r\n"},
			{"INFO KEYSPACE\n", "$49\r\n# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=100000\r\n\r\n"},
			{"INFO clients keyspace\n", "$102\r\n# Clients\r\nconnected_clients:2\r\nblocked_clients:0\r\n\r\n" +
				"# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=100000\r\n\r\n"},
			{"FLUSHALL\nINFO keyspace\n", "+OK\r\n$12\r\n# Keyspace\r\n\r\n"},
		} {
			if got := m.converse(test[0]); got != test[1] {
				t.Errorf("%q is answered by %q, want %q", test[0], got, test[1])
			}
		}
		if n := m.figure("used_memory"); n <= 0 {
			t.Errorf("used_memory is %d", n)
		}
	})
}

func TestHuman(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 1023: "1023B", 1024: "1.00K", 1536: "1.50K", 3 << 30: "3.00G", 1 << 50: "1024.00T"} {
		if got := human(n); got != want {
			t.Errorf("human(%d) = %s, want %s", n, got, want)
		}
	}
}

// crowd runs f in many goroutines, each with a connection of its own.
func (m *memory) crowd(n int, f func(i int, conn net.Conn)) {
	var wg sync.WaitGroup
	for i := range n {
		conn := m.connect()
		conn.SetDeadline(time.Now().Add(patience))
		wg.Go(func() { f(i, conn) })
	}
	wg.Wait()
}

func TestConcurrentIncr(t *testing.T) {
	m := startMemory(t, Codec{})
	const clients, each = 50, 100
	m.crowd(clients, func(_ int, conn net.Conn) {
		io.WriteString(conn, strings.Repeat("INCR a\n", each)+"QUIT\n")
		io.Copy(io.Discard, conn)
	})
	if got, want := m.converse("GET a\n"), "$4\r\n5000\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n, want := m.figure("total_commands_processed"), clients*(each+1)+2; n != want {
		t.Errorf("%d commands were counted, want %d", n, want)
	}
}

// A value is read whole while others write it, both in place and where it is too long for
// that.
func TestValuesAreReadWhole(t *testing.T) {
	m := startMemory(t, Codec{})
	lengths := []int{10, 12, maxInPlace - 10, maxInPlace, maxInPlace + 10, 10 * maxInPlace}
	m.crowd(8, func(i int, conn net.Conn) {
		for round := range 50 {
			n := lengths[(i+round)%len(lengths)]
			conn.Write(array("SET", "a", strings.Repeat(string(rune('a'+i)), n)))
			io.ReadFull(conn, make([]byte, len("+OK\r\n")))
			conn.Write(array("GET", "a"))
			value := readBulk(t, conn)
			if len(value) == 0 || strings.Trim(value, value[:1]) != "" {
				t.Errorf("value %.100q of %d bytes", value, len(value))
			}
		}
	})
}

// readBulk reads a bulk string.
func readBulk(t *testing.T, r io.Reader) string {
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n")); head = append(head, b...) {
		if _, err := io.ReadFull(r, b); err != nil {
			t.Error(err)
			return ""
		}
	}
	n, err := strconv.Atoi(string(head[1 : len(head)-2]))
	if err != nil {
		t.Errorf("head %q", head)
		return ""
	}
	value := make([]byte, n+2)
	io.ReadFull(r, value)
	return string(value[:n])
}

// All commands at the same time, for the race detector.
func TestConcurrentCommands(t *testing.T) {
	m := startMemory(t, Codec{})
	m.crowd(8, func(i int, conn net.Conn) {
		go func() {
			for range 3 {
				io.WriteString(conn, strings.Join(commandStreams, "\nINFO\nCOMMAND DOCS\n")+"\n")
			}
			io.WriteString(conn, "QUIT\n")
		}()
		if all, err := io.ReadAll(conn); err != nil || !bytes.HasSuffix(all, []byte("+OK\r\n")) {
			t.Errorf("%d bytes, %v", len(all), err)
		}
	})
}

// A reply of many values is sent in pieces: it is not held as a whole.
func TestLargeReplyIsNotHeld(t *testing.T) {
	m := startMemory(t, Codec{})
	const size, times = 100000, 200
	value := strings.Repeat("x", size)
	conn := m.connect()
	ask(t, conn, string(array("SET", "a", value)), "+OK\r\n")
	go conn.Write(array(append([]string{"MGET"}, strings.Split(strings.Repeat("a", times), "")...)...))
	reader := io.MultiReader(conn, strings.NewReader(""))
	head := make([]byte, len("*200\r\n"))
	io.ReadFull(reader, head)
	for range times {
		if got := readBulk(t, reader); got != value {
			t.Fatalf("a value of %d bytes", len(got))
		}
	}
	ask(t, conn, "PING\n", "+PONG\r\n")
	for x := range m.sessions { // the set of sessions does not change here
		if n := x.client.Record().FramesOut; n < size*times/maxKeptOut/2 {
			t.Errorf("all was written in %d pieces", n)
		}
		if cap(x.out) > maxKeptOut || cap(x.args) > maxKeptArgs {
			t.Errorf("%d bytes and %d arguments are kept", cap(x.out), cap(x.args))
		}
	}
}

// A session keeps no reference to its last command.
func TestSessionDropsLastCommand(t *testing.T) {
	x := newSession(t)
	many := make([]string, 2*maxKeptArgs)
	x.do(t, array(append([]string{"MGET"}, many...)...))
	if cap(x.args) > maxKeptArgs {
		t.Errorf("%d arguments are kept", cap(x.args))
	}
	x.do(t, array("ECHO", strings.Repeat("x", 2*maxKeptOut)))
	if cap(x.out) > maxKeptOut {
		t.Errorf("%d bytes are kept", cap(x.out))
	}
	x.do(t, array("SET", "a", "b"))
	for i, arg := range x.args[:cap(x.args)] {
		if arg != nil {
			t.Errorf("argument %d is kept: %q", i, arg)
		}
	}
	if x.out == nil || x.args == nil {
		t.Error("small buffers are not kept")
	}
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	x := newSession(t)
	for _, in := range [][]byte{
		[]byte("PING\r\n"), []byte("get 'a'\r\n"),
		array("PING"), array("SET", "a", "some value"), array("GET", "a"), array("GET", "b"), array("MGET", "a", "b"),
		array("SET", "a", "other", "EX", "100"), array("TTL", "a"), array("EXISTS", "a"), array("INCR", "n"), array("MSET", "a", "x", "n", "1"),
	} {
		space := make([]byte, len(in)) // the quotes are removed in place
		if n := testing.AllocsPerRun(100, func() { x.do(t, append(space[:0], in...)) }); n != 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
	}
}

// Clients do not receive the handler's own errors.
func TestLastWordsOnlyForProtocolErrors(t *testing.T) {
	lastWords(nil, errors.New("timeout")) // would panic if it wrote
}
