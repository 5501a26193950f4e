package tcptest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wireline/internal/testutil"
	"wireline/tcptest"
)

// The cases of this file are transcripts: each line is a step and, after the arrow, its
// result. They were recorded from sockets. The tests replay them over both kinds of
// connection: in memory on every system, and over loopback on Linux, whose behaviour Conn
// has.

const kernelIsModel = runtime.GOOS == "linux"

var connCases = []struct{ name, transcript string }{
	{"fin", `
		a write bye -> 3
		a close -> ok
		b read -> "bye"
		b read -> EOF
		b read -> EOF
		b close -> ok`},
	{"half-close by a, then data both ways", `
		a write question -> 8
		a closewrite -> ok
		b read -> "question"
		b read -> EOF
		b write answer -> 6
		a read -> "answer"
		a write x -> 0 EPIPE
		a write -> 0 EPIPE
		a closewrite -> ok
		b write more -> 4
		b closewrite -> ok
		a read -> "more"
		a read -> EOF
		a closewrite -> ENOTCONN
		a closeread -> ENOTCONN
		b closewrite -> ENOTCONN
		b write x -> 0 EPIPE
		b close -> ok
		a close -> ok`},
	{"half-close by b, then a closes", `
		b closewrite -> ok
		a read -> EOF
		a write late -> 4
		a close -> ok
		b read -> "late"
		b read -> EOF`},
	{"close with unread input", `
		a write reply -> 5
		b write unread -> 6
		a close -> ok
		b read -> "reply"
		b read -> ECONNRESET
		b read -> EOF
		b write x -> 0 EPIPE`},
	{"close with unread input, peer writes first", `
		b write unread -> 6
		a close -> ok
		b write x -> 0 ECONNRESET
		b write x -> 0 EPIPE
		b read -> EOF`},
	{"close with half of the input read", `
		b write unread -> 6
		a read 2 -> "un"
		a close -> ok
		b read -> ECONNRESET`},
	{"close with unread input after the peer's fin", `
		b write unread -> 6
		b closewrite -> ok
		a close -> ok
		b read -> ECONNRESET
		b read -> EOF
		b write x -> 0 EPIPE`},
	{"close with unread input after both fins", `
		b write unread -> 6
		b closewrite -> ok
		a closewrite -> ok
		a close -> ok
		b read -> EOF
		b write x -> 0 EPIPE`},
	{"close with unread input after own fin", `
		b write unread -> 6
		a closewrite -> ok
		a close -> ok
		b read -> EOF
		b write x -> 0 EPIPE`},
	{"reset", `
		a write reply -> 5
		a reset -> ok
		b read -> "reply"
		b read -> ECONNRESET
		b read -> EOF
		b closewrite -> ENOTCONN
		b closeread -> ENOTCONN
		b close -> ok`},
	{"reset, peer writes nothing first", `
		a reset -> ok
		b write -> 0 ECONNRESET
		b write x -> 0 EPIPE
		b write -> 0 EPIPE
		b read -> EOF`},
	{"reset with input unread on both sides", `
		a write 1 -> 1
		b write 2 -> 1
		a reset -> ok
		b close -> ok`},
	{"reset after own fin", `
		a closewrite -> ok
		a reset -> ok
		b read -> EOF
		b write x -> 0 EPIPE
		b write x -> 0 EPIPE`},
	{"reset after the peer's fin", `
		b closewrite -> ok
		a reset -> ok
		b read -> ECONNRESET
		b read -> EOF
		b write x -> 0 EPIPE`},
	{"reset and a deadline in the past", `
		a reset -> ok
		b deadline past -> ok
		b read -> TIMEOUT
		b read 0 -> ""
		b write -> 0 TIMEOUT
		b deadline none -> ok
		b read -> ECONNRESET`},
	{"linger 0", `
		a linger 0 -> ok
		a write x -> 1
		a close -> ok
		b read -> "x"
		b read -> ECONNRESET`},
	{"linger 0 reset to the default", `
		a linger 0 -> ok
		a linger -1 -> ok
		a close -> ok
		b read -> EOF`},
	{"linger of a second", `
		a linger 1 -> ok
		a write x -> 1
		a close -> ok
		b read -> "x"
		b read -> EOF`},
	{"write after the peer's close", `
		a write bye -> 3
		a close -> ok
		b write x -> 1
		b write x -> 0 EPIPE
		b write x -> 0 EPIPE
		b read -> "bye"
		b read -> EOF
		b closewrite -> ENOTCONN`},
	{"empty write after the peer's close", `
		a close -> ok
		b read -> EOF
		b write -> 0
		b write x -> 1
		b write -> 0 EPIPE
		b read -> EOF`},
	{"closeread keeps earlier and later data", `
		b write one -> 3
		a closeread -> ok
		a read -> "one"
		a read -> EOF
		b write two -> 3
		a read -> "two"
		a read -> EOF
		a write out -> 3
		b read -> "out"
		a closeread -> ok
		a closewrite -> ok
		b read -> EOF`},
	{"closeread blocks the peer when the buffer is full", `
		a closeread -> ok
		b soon write big -> some TIMEOUT`},
	{"closeread, then close with unread input", `
		a closeread -> ok
		b write x -> 1
		a close -> ok
		b read -> ECONNRESET`},
	{"data for an end that has shut down both directions", `
		a write last -> 4
		a closewrite -> ok
		a closeread -> ok
		b write x -> 1
		a read -> ECONNRESET
		a read -> EOF
		a write x -> 0 EPIPE
		b read -> "last"
		b read -> EOF
		b write x -> 0 EPIPE
		a closewrite -> ENOTCONN
		a close -> ok`},
	{"data for an end that has shut down both directions and then writes", `
		a closeread -> ok
		a closewrite -> ok
		b write x -> 1
		a write x -> 0 ECONNRESET
		a write x -> 0 EPIPE
		a read -> EOF`},
	{"data for an end that has shut down both directions, with unread input", `
		b write early -> 5
		a closeread -> ok
		a closewrite -> ok
		b write x -> 1
		a read -> "early"
		a read -> ECONNRESET`},
	{"closed", `
		a close -> ok
		a close -> CLOSED
		a read -> CLOSED
		a read 0 -> CLOSED
		a write x -> 0 CLOSED
		a write -> 0 CLOSED
		a closeread -> CLOSED
		a closewrite -> CLOSED
		a linger 0 -> CLOSED
		a deadline none -> CLOSED
		a readdeadline none -> CLOSED
		a writedeadline none -> CLOSED`},
	{"deadline in the past with data waiting", `
		b write x -> 1
		a readdeadline past -> ok
		a read -> TIMEOUT
		a read 0 -> ""
		a readdeadline none -> ok
		a read -> "x"
		b writedeadline past -> ok
		b write x -> 0 TIMEOUT
		b write -> 0 TIMEOUT
		b writedeadline none -> ok
		b write y -> 1
		a read -> "y"`},
	{"deadline in the past after a fin", `
		b close -> ok
		a readdeadline past -> ok
		a read -> TIMEOUT`},
	{"deadline while no data arrives", `
		a soon read -> TIMEOUT
		a read -> TIMEOUT
		a deadline none -> ok
		b write x -> 1
		a read -> "x"`},
	{"deadline during a write", `
		a soon write big -> some TIMEOUT
		a close -> ok
		b drain -> some EOF`},
	{"deadline in the past ends a blocked read", `
		a start read -> blocked
		a readdeadline past -> ok
		a finish -> TIMEOUT`},
	{"deadline in the past ends a blocked write", `
		a start write big -> blocked
		a writedeadline past -> ok
		a finish -> some TIMEOUT`},
	{"deadline of the other kind ends nothing", `
		a start read -> blocked
		a writedeadline past -> ok
		b write x -> 1
		a finish -> "x"`},
	{"data ends a blocked read", `
		a start read -> blocked
		b write x -> 1
		a finish -> "x"`},
	{"fin ends a blocked read", `
		a start read -> blocked
		b closewrite -> ok
		a finish -> EOF`},
	{"reset ends a blocked read", `
		a start read -> blocked
		b reset -> ok
		a finish -> ECONNRESET`},
	{"closeread ends a blocked read", `
		a start read -> blocked
		a closeread -> ok
		a finish -> EOF`},
	{"close ends a blocked read", `
		a start read -> blocked
		a close -> ok
		a finish -> CLOSED
		b read -> EOF`},
	{"close ends a blocked write, what it wrote is delivered", `
		a start write big -> blocked
		a close -> ok
		a finish -> some CLOSED
		b drain -> some EOF`},
	{"reset ends a blocked write", `
		a start write big -> blocked
		a reset -> ok
		a finish -> some CLOSED
		b drain -> some ECONNRESET`},
	{"closewrite ends a blocked write", `
		a start write big -> blocked
		a closewrite -> ok
		a finish -> some EPIPE
		b drain -> some EOF`},
	{"the peer's close ends a blocked write", `
		a start write big -> blocked
		b close -> ok
		a finish -> some ECONNRESET
		a write x -> 0 EPIPE
		a read -> EOF`},
	{"the peer's reset ends a blocked write", `
		a start write big -> blocked
		b reset -> ok
		a finish -> some ECONNRESET`},
	{"reset with a full buffer", `
		a soon write big -> some TIMEOUT
		a reset -> ok
		b drain -> some ECONNRESET`},
}

func TestConnBehavesLikeTheKernel(t *testing.T) {
	for _, tt := range connCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := lines(tt.transcript)
			got, errs := playInMemory(t, want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("in memory (-want +got):\n%s", diff)
			}
			if !kernelIsModel {
				return
			}
			got, kernelErrs := playOverLoopback(t, want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("over loopback (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(kernelErrs, errs); diff != "" {
				t.Errorf("error texts (-loopback +memory):\n%s", diff)
			}
		})
	}
}

func playInMemory(t *testing.T, transcript []string) (got, errs []string) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tcptest.Pipe()
		got, errs = play(a, b, synctest.Wait, transcript)
	})
	return got, errs
}

// playOverLoopback waits longer at each try: the kernel does not tell when a segment
// has reached the other end.
func playOverLoopback(t *testing.T, transcript []string) (got, errs []string) {
	for _, pause := range []time.Duration{5, 50, 500} {
		a, b := testutil.Pair(t)
		settle := func() { time.Sleep(pause * time.Millisecond) }
		got, errs = play(a.(*net.TCPConn), b.(*net.TCPConn), settle, transcript)
		if cmp.Equal(transcript, got) {
			break
		}
	}
	return got, errs
}

// lines splits a transcript into its lines.
func lines(s string) []string {
	var out []string
	for line := range strings.Lines(strings.TrimSpace(s)) {
		out = append(out, strings.TrimSpace(line))
	}
	return out
}

// play runs the steps of a transcript. It returns the transcript with the results of
// this run, and the full texts of the errors.
func play(a, b tcpConn, settle func(), transcript []string) (got, errs []string) {
	stuck := time.AfterFunc(10*time.Second, func() { a.Close(); b.Close() })
	defer stuck.Stop()
	ends := map[string]*actor{"a": {conn: a}, "b": {conn: b}}
	for _, line := range transcript {
		step, _, _ := strings.Cut(line, " -> ")
		who, what, _ := strings.Cut(step, " ")
		result, err := ends[who].do(what, settle)
		got = append(got, step+" -> "+result)
		errs = append(errs, errText(err, ends[who].conn.LocalAddr(), ends[who].conn.RemoteAddr()))
		settle()
	}
	a.Close()
	b.Close()
	return got, errs
}

// tcpConn has the methods that net.TCPConn and Conn have in common.
type tcpConn interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
	SetLinger(sec int) error
}

// actor runs the steps of one end.
type actor struct {
	conn    tcpConn
	started chan func() (string, error)
}

func (a *actor) do(what string, settle func()) (string, error) {
	verb, arg, _ := strings.Cut(what, " ")
	switch verb {
	case "start":
		return a.start(arg, settle), nil
	case "soon":
		// One step, so that settling does not use up the time.
		if err := a.conn.SetDeadline(moment("soon")); err != nil {
			return kind(err), err
		}
		return a.do(arg, settle)
	case "finish":
		return (<-a.started)()
	case "read":
		return a.read(arg)
	case "write":
		return a.write(arg)
	case "drain":
		return a.drain()
	}
	err := a.control(verb, arg)
	return kind(err), err
}

// start takes a step that is not to return before finish.
func (a *actor) start(what string, settle func()) string {
	a.started = make(chan func() (string, error), 1)
	go func() {
		result, err := a.do(what, settle)
		a.started <- func() (string, error) { return result, err }
	}()
	settle()
	if len(a.started) > 0 {
		return "returned"
	}
	return "blocked"
}

func (a *actor) read(arg string) (string, error) {
	size := 64
	if arg != "" {
		size, _ = strconv.Atoi(arg)
	}
	buf := make([]byte, size)
	n, err := a.conn.Read(buf)
	if err != nil {
		return kind(err), err
	}
	return strconv.Quote(string(buf[:n])), nil
}

// bigWrite is more than the buffers of a loopback connection hold.
const bigWrite = 32 << 20

func (a *actor) write(arg string) (string, error) {
	b := []byte(arg)
	if arg == "big" {
		b = make([]byte, bigWrite)
	}
	n, err := a.conn.Write(b)
	if err != nil {
		return amount(n) + " " + kind(err), err
	}
	return amount(n), nil
}

// drain reads to the end. It hides the WriteTo of a net.TCPConn, which names
// other operations in its errors.
func (a *actor) drain() (string, error) {
	n, err := io.Copy(io.Discard, struct{ io.Reader }{a.conn})
	if err == nil {
		return amount(int(n)) + " EOF", nil
	}
	return amount(int(n)) + " " + kind(err), err
}

func (a *actor) control(verb, arg string) error {
	c := a.conn
	switch verb {
	case "close":
		return c.Close()
	case "closeread":
		return c.CloseRead()
	case "closewrite":
		return c.CloseWrite()
	case "reset":
		if m, ok := c.(*tcptest.Conn); ok {
			return m.Reset()
		}
		return errors.Join(c.SetLinger(0), c.Close())
	case "linger":
		sec, _ := strconv.Atoi(arg)
		return c.SetLinger(sec)
	case "deadline":
		return c.SetDeadline(moment(arg))
	case "readdeadline":
		return c.SetReadDeadline(moment(arg))
	case "writedeadline":
		return c.SetWriteDeadline(moment(arg))
	}
	return fmt.Errorf("unknown step %q", verb)
}

func moment(name string) time.Time {
	switch name {
	case "past":
		return time.Unix(1, 0)
	case "soon":
		return time.Now().Add(100 * time.Millisecond)
	}
	return time.Time{}
}

// amount hides numbers that depend on the size of the kernel buffers.
func amount(n int) string {
	if n > 1024 && n < bigWrite {
		return "some"
	}
	return strconv.Itoa(n)
}

func kind(err error) string {
	kinds := []struct {
		err  error
		name string
	}{
		{net.ErrClosed, "CLOSED"},
		{os.ErrDeadlineExceeded, "TIMEOUT"},
		{context.Canceled, "CANCELED"},
		{syscall.ECONNRESET, "ECONNRESET"},
		{syscall.ECONNREFUSED, "ECONNREFUSED"},
		{syscall.EPIPE, "EPIPE"},
		{syscall.ENOTCONN, "ENOTCONN"},
	}
	switch err {
	case nil:
		return "ok"
	case io.EOF:
		return "EOF"
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return err.Error()
}

// errText is the text of an error of c, with names for the addresses, and what
// else can be asked of it.
func errText(err error, local, remote net.Addr) string {
	if err == nil {
		return ""
	}
	names := strings.NewReplacer(local.String(), "LOCAL", remote.String(), "REMOTE")
	ne, ok := err.(net.Error)
	return fmt.Sprintf("%s (%T, timeout: %v)", names.Replace(err.Error()), err, ok && ne.Timeout())
}
