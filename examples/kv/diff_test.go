package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wireline/tcp"
	"wireline/tcptest"
)

// likeRedis has the limits of Redis.
var likeRedis = Codec{MaxBulk: 512 << 20, MaxCommand: 1 << 30}

// pair is a Redis and a server of ours, each on a unix socket. Both must give the same
// replies.
type pair struct{ redis, ours string }

func startPair(t *testing.T) pair {
	redis := startRedis(t)
	s := newServer(likeRedis)
	ours := tcptest.NewUnstartedServer(&s.frames)
	ours.TCP.Config = tcp.Config{Network: "unix", Address: filepath.Join(t.TempDir(), "kv")}
	ours.Start()
	t.Cleanup(func() {
		ours.Close()
		s.close()
	})
	return pair{redis, ours.Addr}
}

// talk sends in, in pieces of size bytes, and a FIN, and returns all that it receives until
// the end of the connection. Size zero means one piece. There is no FIN after QUIT: when a FIN
// arrives, Redis discards what it has not sent yet.
func talk(path string, in []byte, size int) (out string, err error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	all := make(chan []byte)
	go func() {
		b, failed := io.ReadAll(conn)
		if timeout, ok := failed.(net.Error); ok && timeout.Timeout() {
			err = failed // a reset counts as an end, like a FIN
		}
		all <- b
	}()
	if size <= 0 {
		size = len(in) + 1
	}
	quits := bytes.HasSuffix(in, array("QUIT"))
	for len(in) > 0 {
		n := min(size, len(in))
		if _, err := conn.Write(in[:n]); err != nil {
			break // the server has closed already after a protocol error
		}
		in = in[n:]
	}
	if !quits {
		conn.(*net.UnixConn).CloseWrite()
	}
	out = string(<-all)
	return out, err
}

// same sends the stream to both, whole and in pieces, and compares the replies.
func (p pair) same(t *testing.T, in []byte, sizes ...int) {
	t.Helper()
	for _, size := range sizes {
		want := fresh(t, p.redis, in, size)
		if got := fresh(t, p.ours, in, size); got != want {
			at := 0
			for at < min(len(got), len(want)) && got[at] == want[at] {
				at++
			}
			t.Errorf("in pieces of %d: sent %d bytes: %.1000q\nreplies differ from byte %d on:\n got %.200q\nwant %.200q",
				size, len(in), in, at, got[at:], want[at:])
		}
	}
}

// fresh is talk to a server without keys.
func fresh(t *testing.T, path string, in []byte, size int) string {
	t.Helper()
	if out, err := talk(path, array("FLUSHALL"), 0); out != "+OK\r\n" {
		t.Fatalf("FLUSHALL: %q, %v", out, err)
	}
	out, err := talk(path, in, size)
	if err != nil {
		t.Fatalf("sent %.2000q, then %v", in, err)
	}
	return out
}

// protocolStreams test where commands begin and end.
var protocolStreams = []string{
	"", "\n", "\r\n", "\r\r\n", " \r\n", "\r\n\r\nPING\r\n", "PING", "PING\r", "PING\n", "PING\r\nPIN",
	"  ping  \r\n", "ping\r\r\n", "ping \t\v\f x\r\n", "\vping\r\n", "ping\vx\r\n", "p\ting\r\n",
	"*1\r\n$4\r\nPING\r\n", "*1\r\n$4\r\nPINGxy*1\r\n$4\r\nPING\r\n", "*1\rx$4\ryPING\r\n",
	"*0\r\nPING\r\n", "*-1\r\nPING\r\n", "*-9223372036854775808\r\nPING\r\n",
	"*\r\nPING\r\n", "* 1\r\n", "*1 \r\n", "*+1\r\n", "*01\r\n", "*00\r\n", "*-0\r\n", "*--1\r\n", "*x\r\n", "*1x\r\n",
	"*2147483648\r\n", "*9223372036854775807\r\n", "*9223372036854775808\r\n", "*99999999999999999999999\r\n",
	"*1\n$4\nPING\n", "*1\r\n$4\r\nPING\r", "*1\r", "*1\r\n", "*1\r\n$", "*1\r\n$4\r", "*1\r\n$4\r\nPIN",
	"*1\r\nx", "*1\r\nx\r", "*1\r\nx\r\n", "*1\r\n4\r\nPING\r\n", "*1\r\n*1\r\n", "*1\r\n\r\n", "*1\r\n\n\r\n",
	"*1\r\n\xff\r\n", "*1\r\n'\r\n", "*1\r\n%s\r\n",
	"*1\r\n$-1\r\n", "*1\r\n$-0\r\n", "*1\r\n$x\r\n", "*1\r\n$\r\n", "*1\r\n$+4\r\nPING\r\n", "*1\r\n$04\r\nPING\r\n",
	"*1\r\n$536870913\r\n", "*1\r\n$9223372036854775808\r\n", "*1\r\n$99999999999999999999999\r\n", "*1\r\n$536870912\r\nx",
	"*1\r\n$0\r\n\r\nPING\r\n", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\n",
	"*2\r\n$4\r\nECHO\r\n$3\r\na\x00b\r\n",
	"*2\r\n$4\r\nECHO\r\n$-5\r\nPING\r\n", "PING\r\n*1\r\n$4\r\nPING\r\n*1\r\nPING\r\nPING\r\n",
	"$4\r\nPING\r\n", "+OK\r\n", ":1\r\n", "-ERR\r\n", "{}\r\n", "GET / HTTP/1.1\r\nA: b\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n", "host: x\r\nPING\r\n",
	"QUIT\r\nPING\r\n", "quit a b c\r\nPING\r\n", "PING\r\n*1\r\n$4\r\nqUiT\r\nPING\r\n",
	// Quotes.
	`echo ""` + "\r\n", `echo ''` + "\r\n", `echo "a b" ` + "\r\n", `echo a"b c"` + "\r\n", `echo a'b c'` + "\r\n",
	`echo "a"b` + "\r\nPING\r\n", `echo 'a'b` + "\r\nPING\r\n", `echo "a` + "\r\nPING\r\n", `echo 'a` + "\r\nPING\r\n",
	`echo "a"'b'` + "\r\nPING\r\n", `echo "a` + "\v" + `"` + "\v" + `` + "\r\n", `echo "\x41\x4a\xFf\xfF\x00"` + "\r\n",
	`echo "\x4"` + "\r\n", `echo "\x"` + "\r\n", `echo "\xg0"` + "\r\n", `echo "\x0g"` + "\r\n", `echo "\x4` + "\r\n",
	`echo "\n\r\t\b\a\q\"\\"` + "\r\n", `echo "\` + "\r\n", `echo "a\"` + "\r\n", `echo '\n\'\"\\'` + "\r\n", `echo '\` + "\r\n",
	`echo '\'` + "\r\n", `echo \x41` + "\r\n", `echo a\ b` + "\r\n", `echo "` + "\r\n", `"` + "\r\n", `"" a` + "\r\n", `"ping"` + "\r\n",
	`'pi'"ng"` + "\r\n", "echo \"a\rb\"\r\n", "echo a\rb\r\n",
	"echo \xff\xfe\r\n",
}

// recordedStreams are the streams whose replies of Redis are in recordFile, for machines
// without Redis.
func recordedStreams() (list []string) {
	list = append(list, protocolStreams...)
	for _, stream := range commandStreams {
		list = append(list, stream+"\n")
	}
	return list
}

const recordFile = "testdata/redis-7.0.txt"

var update = flag.Bool("update", false, "record redis-server's replies in "+recordFile)

// The file has a line for each stream, and one for its reply.
func TestAsRecorded(t *testing.T) {
	if *update {
		record(t)
	}
	file, err := os.ReadFile(recordFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
	streams := recordedStreams()
	if len(lines) != 2*len(streams) {
		t.Fatalf("%d lines for %d streams: record them with -update", len(lines), len(streams))
	}
	m := startMemory(t, likeRedis)
	for i, stream := range streams {
		m.store.clear()
		if want := strconv.Quote(stream); lines[2*i] != want {
			t.Fatalf("line %d is %s, want %s: record it with -update", 2*i+1, lines[2*i], want)
		}
		if got := strconv.Quote(m.converse(stream)); got != lines[2*i+1] {
			t.Errorf("sent %q\n got %s\nwant %s", stream, got, lines[2*i+1])
		}
	}
}

// record writes the file.
func record(t *testing.T) {
	redis := startRedis(t)
	var file bytes.Buffer
	for _, stream := range recordedStreams() {
		fmt.Fprintf(&file, "%q\n%q\n", stream, fresh(t, redis, []byte(stream), 0))
	}
	if err := os.WriteFile(recordFile, file.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestProtocolAsRedis(t *testing.T) {
	p := startPair(t)
	for _, stream := range protocolStreams {
		p.same(t, []byte(stream), 0, 1)
	}
}

// Lines near the limits. When Redis reports an error depends on how much it has read at once.
// So a line that is too long exceeds the limit by more than one read, and is sent without its
// end.
func TestLongLinesAsRedis(t *testing.T) {
	p := startPair(t)
	long := func(head string, n int, tail string) []byte {
		return []byte(head + strings.Repeat("1", n-len(head)) + tail)
	}
	for _, in := range [][]byte{
		long("echo ", 65536, "\nping\n"),
		long("echo ", 65535, "\r\nping\n"),
		long("echo ", 65536, ""),
		long("echo ", 100000, ""),
		long("*", 65536, "\r\n"),
		long("*", 65536, ""),
		long("*", 100000, ""),
		long("*1\r\n$", 65536+4, "\r\n"),
		long("*1\r\n$", 65536+4, ""),
		long("*1\r\n$", 100000, ""),
		long("*1\r\nx", 65536+4, "\r\n"),
		long("*1\r\nx", 100000, ""),
	} {
		p.same(t, in, 0, 16384)
	}
}

// commandStreams are lines of inline commands.
var commandStreams = []string{
	"ping\nping a\nping a b\necho\necho a\necho a b",
	"foo\nfoo a b\nfoo \"\\r\\n\" \"a\\x00b\" c\n\"a\\x00b\" c\n\"\"\n\"a\\r\\nb\"",
	strings.Repeat("x", 130) + " a\nfoo " + strings.Repeat("y", 127) + " b c\nfoo " + strings.Repeat("y", 128) + " b\nfoo " +
		strings.Repeat("y", 100) + " " + strings.Repeat("z", 100) + " b",
	"get\nget a b\nset\nset a\ndel\nexists\nincr\nincr a b\ndecr\nincrby a\ndecrby a\nexpire a\nttl\nttl a b\npttl\nmget\nmset\nmset a\nmset a b c",
	"dbsize a\ndbsize\nflushall a\nflushall a b\nflushall async\nflushall SYNC\nflushdb\nselect\nselect 0\nselect 1\nselect -1\nselect a\nselect 99999999999\nselect 99999999999999999999",
	"get a\nset a 1\nget a\nGET A\nset a 2\nget a\nstrlen a\nstrlen b\ntype a\ntype b\ndel a a b\nget a",
	"set a 1 nx\nset a 2 nx\nget a\nset a 3 xx\nget a\nset b 1 xx\nget b",
	"set a 1 get\nset a 2 get\nset a 3 nx get\nset b 4 xx get\nset b 5 nx get\nget a\nget b",
	"set a 1 nx xx\nset a 1 xx nx\nset a 1 foo\nset a 1 ex\nset a 1 ex ex\nset a 1 ex x\nset a 1 ex 0\nset a 1 ex -1\nset a 1 px 0\nset a 1 px 1.5\nget a",
	"set a 1 ex 100 px 100\nset a 1 ex 100 keepttl\nset a 1 keepttl ex 100\nset a 1 ex 100 ex 200\nttl a\nset a 1 NX EX 10 GET\nset a 1 nx nx\nset a 1 keepttl keepttl\nttl a",
	"set a 1 ex 9223372036854775807\nset a 1 ex 9223372036854775\nset a 1 ex 9223372036854776\nset a 1 px 9223372036854775807\nset a 1 exat 9223372036854775\nset a 1 ex 9223372036854775808\nget a",
	"set a 1 ex 100\nttl a\nset a 2 keepttl\nttl a\nset a 3\nttl a\nttl b\npttl a\npttl b",
	"set a 1 exat 1\nget a\nset a 1 pxat 1\nexists a\nset a 1 exat 4102444800\nget a\npersist a\npersist a\npersist b\nttl a",
	"setnx a 1\nsetnx a 2\nget a\nsetex a 100 3\nttl a\nget a\nsetex a 0 3\nsetex a x 3\nsetex a 9223372036854775807 3\npsetex a 100000 4\nttl a\npsetex a -1 4\nget a",
	"getset a 1\ngetset a 2\nexpire a 100\ngetset a 3\nttl a\ngetdel a\ngetdel a\nget a",
	"incr a\nincr a\ndecr a\nincrby a 10\ndecrby a 3\nget a\nincrby a x\nincrby a 1.0\ndecrby a -9223372036854775808\nget a",
	"set a x\nincr a\nset a 1.0\nincr a\nset a ' 1'\nincr a\nset a '1 '\nincr a\nset a 01\nincr a\nset a -0\nincr a\nset a +1\nincr a\nset a ''\nincr a\nset a -1\nincr a\nincr a",
	"set a 9223372036854775807\nincr a\nincrby a -1\nincr a\nincr a\nset a -9223372036854775808\ndecr a\nincr a\ndecrby a 2\nincrby a 9223372036854775807\nset a 9223372036854775808\nincr a",
	"set a 1 ex 100\nincr a\nttl a\nget a",
	"expire a 100\nset a 1\nexpire a 100\nttl a\nexpire a 0\nget a\nset a 1\nexpire a -1\nexists a\nset a 1\nexpire a x\nexpire a 9223372036854775807\nexpire a -9223372036854775808\nexpire a 9223372036854775\nget a",
	"set a 1\npexpire a 100000\nttl a\npexpire a 9223372036854775807\npexpire a -9223372036854775808\nexists a\nset a 1\nexpireat a 1\nexists a\nset a 1\npexpireat a 4102444800000\nexists a\nexpireat a 9223372036854775807\npexpireat a x",
	"set a 1\nexpire a 100 xx\nexpire a 100 nx\nexpire a 200 nx\nexpire a 50 gt\nttl a\nexpire a 50 lt\nttl a\nexpire a 100 GT\nttl a\nexpire a 100 gt xx\nexpire a 10 lt xx\nttl a",
	"set a 1\nexpire a 100 gt\nexpire a 100 lt\nttl a\nexpire a 1 nx xx\nexpire a 1 gt lt\nexpire a 1 nx gt\nexpire a 1 foo\nexpire a x foo\nexpire a 1 nx nx\nexpire a 1 gt lt nx",
	"mset a 1 b 2 a 3\nmget a b c a\nexists a b c a\nexpire a 100\nmset a 4\nttl a\nunlink a b c\nmget a b\ndbsize",
	"auth a\nauth a b\nauth default b\nauth a b c\nauth",
	"hello 1\nhello 4\nhello x\nhello 2 foo\nhello 2 auth a\nhello 2 auth a b\nhello 2 setname\nhello 2 setname 'a b'\nclient getname",
	"client\nclient foo\nclient foo bar\nclient id 1\nclient getname\nclient setname a\nclient getname\nclient setname 'a b'\nclient getname\nclient setname ''\nclient getname\nclient setname\nclient setname a b\nclient getname a\nCLIENT \"a\\x00b\\r\\n\"",
	"config\nconfig foo\nconfig get\nconfig get save\nconfig get nosuch\nconfig get SAV[eE]\ncommand foo\ncommand count a\ncommand docs nosuch\ncommand info nosuch\ncommand list a",
	"info nosuch",
}

func TestCommandsAsRedis(t *testing.T) {
	p := startPair(t)
	for _, stream := range commandStreams {
		p.same(t, []byte(stream+"\n"), 0, 1)
	}
}

// Texts that the client's replies contain unchanged.
func TestLongValuesAsRedis(t *testing.T) {
	p := startPair(t)
	long := strings.Repeat("0123456789abcdef", 20000)
	in := bytes.Join([][]byte{array("SET", "a", long), array("GET", "a"), array("MSET", "b", long[1:], "c", "1"),
		array("MGET", "a", "b", "c", "d", "a"), array("SET", "a", "short"), array("GET", "a"), array("STRLEN", "b"), array("QUIT")}, nil)
	p.same(t, in, 0, 1000)
}

// generator generates streams of commands, valid and invalid.
type generator struct{ *rand.Rand }

func (g generator) pick(list []string) string { return list[g.IntN(len(list))] }

var (
	someKeys = []string{"a", "b", "key", "A", "long key with spaces", ""}
	// No times that pass during the test, or that are near the end of a second.
	someNumbers = []string{"0", "-1", "100000", "7000000", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "01", "+1", " 1", "1 ", "1.5"}
	someValues  = []string{"", "x", "abc", "two words", "\r\n", "\"", "'", "\\x41", "\xff\xfe", "$3\r\nfoo\r\n", "*1\r\n", "text\nmore"}
	someOptions = []string{"ex", "px", "nx", "xx", "get", "keepttl", "exat", "pxat", "gt", "lt", "EX", "Nx", "async"}
	someNames   = []string{"ping", "echo", "get", "get", "set", "set", "set", "setnx", "setex", "psetex", "getset", "getdel", "strlen",
		"mget", "mset", "incr", "decr", "incrby", "decrby", "del", "unlink", "exists", "type", "expire", "expire", "pexpire",
		"expireat", "pexpireat", "persist", "ttl", "ttl", "select", "auth", "flushall", "client", "config", "foo", "x y", "", "quit"}
)

// name returns a command's name, in any case.
func (g generator) name() string {
	name := []byte(g.pick(someNames))
	for i := range name {
		if g.IntN(4) == 0 {
			name[i] = strings.ToUpper(string(name[i]))[0]
		}
	}
	return string(name)
}

func (g generator) arg() string {
	switch g.IntN(8) {
	case 0, 1, 2:
		return g.pick(someKeys[:3])
	case 3, 4:
		return g.pick(someNumbers)
	case 5:
		return g.pick(someOptions)
	case 6:
		return g.pick(someKeys)
	}
	return g.pick(someValues)
}

func (g generator) command() []byte {
	args := []string{g.name()}
	for range min(g.IntN(6), g.IntN(8)) {
		args = append(args, g.arg())
	}
	if g.IntN(3) == 0 {
		return g.inline(args)
	}
	return array(args...)
}

// inline returns args as a line, with quotes of some kind.
func (g generator) inline(args []string) []byte {
	var line []byte
	for _, arg := range args {
		line = append(line, g.pick([]string{" ", "  ", "\t"})...)
		switch g.IntN(6) {
		case 0:
			line = append(line, arg...) // may be valid by chance
		case 1:
			line = fmt.Appendf(line, "'%s'", strings.ReplaceAll(arg, "'", `\'`))
		case 2:
			for _, c := range []byte(arg) {
				line = fmt.Appendf(line, `"\x%02x"`, c)
				break
			}
		default:
			line = fmt.Appendf(line, "%q", arg)
		}
	}
	return append(line, g.pick([]string{"\n", "\r\n"})...)
}

func (g generator) stream() (in []byte) {
	for range 1 + g.IntN(20) {
		in = append(in, g.command()...)
	}
	return in
}

// damage changes some bytes.
func (g generator) damage(in []byte) []byte {
	const bytes = "\r\n\r\n$*-0123456789 '\"\\xaA:+\t"
	for range 1 + g.IntN(4) {
		at := g.IntN(len(in))
		c := bytes[g.IntN(len(bytes))]
		switch g.IntN(4) {
		case 0:
			in[at] = c
		case 1:
			in = append(in[:at], in[at+1:]...)
		case 2:
			in = append(in[:at], append([]byte{c}, in[at:]...)...)
		case 3:
			if g.IntN(4) == 0 {
				in = in[:at+1] // truncated
			}
		}
		if len(in) == 0 {
			return in
		}
	}
	return in
}

func TestRandomStreamsAsRedis(t *testing.T) {
	p := startPair(t)
	n := 2000
	if testing.Short() || raceEnabled {
		n = 100
	}
	for seed := range n {
		g := generator{rand.New(rand.NewPCG(uint64(seed), 1))}
		in := g.stream()
		if seed%2 == 1 {
			in = g.damage(in)
		}
		p.same(t, in, 0, 1+seed%5)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
