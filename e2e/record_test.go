//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wireline/internal/testutil"
)

// recordTest ends a connection, and checks its record.
type recordTest struct {
	name    string
	args    []string
	timeout string                                        // the key of the timeout that ends the connection, or empty
	limit   time.Duration                                 // its value
	before  func(conn net.Conn) error                     // what the client does before the timeout; may be nil
	end     func(t *testing.T, p *process, conn net.Conn) // may be nil
	want    entry
}

// TestRecords ends connections in every way that an echo server supports.
func TestRecords(t *testing.T) {
	t.Parallel()
	const stalls = "--echo.max_line=8MiB"
	hello := func(conn net.Conn) error { return tryEcho(conn, "") }
	half := func(conn net.Conn) error { _, err := io.WriteString(conn, "half"); return err }
	ended := func(t *testing.T, _ *process, conn net.Conn) { receiveRest(t, conn, "") }
	endedBoth := func(t *testing.T, _ *process, conn net.Conn) {
		receiveRest(t, conn, "")
		closeWrite(t, conn) // or the server would linger
	}
	tests := []recordTest{{
		name: "fin",
		end: func(t *testing.T, _ *process, conn net.Conn) {
			send(t, conn, "a\r\nb")
			closeWrite(t, conn)
			receiveRest(t, conn, "a\r\nb")
		},
		want: entry{"by": "client", "reason": "fin", "bytes_in": "4", "bytes_out": "4", "frames_in": "2", "frames_out": "2"},
	}, {
		name:   "reset",
		before: hello,
		end: func(_ *testing.T, _ *process, conn net.Conn) {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		},
		want: entry{"by": "client", "reason": "reset", "bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1"},
	}, {
		name:    "idle_timeout",
		timeout: "echo.idle_timeout", limit: 100 * time.Millisecond,
		before: hello,
		end:    ended,
		want:   entry{"by": "server", "reason": "idle_timeout", "bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1"},
	}, {
		name:    "frame_timeout",
		timeout: "echo.frame_timeout", limit: 100 * time.Millisecond,
		before: half,
		end:    endedBoth,
		want:   entry{"by": "server", "reason": "frame_timeout", "bytes_in": "4", "bytes_out": "0", "frames_in": "0", "frames_out": "0"},
	}, {
		name:    "first_frame_timeout",
		timeout: "echo.first_frame_timeout", limit: 100 * time.Millisecond,
		before: half,
		end:    ended,
		want:   entry{"by": "server", "reason": "first_frame_timeout", "bytes_in": "4", "bytes_out": "0", "frames_in": "0", "frames_out": "0"},
	}, {
		name:    "read_timeout",
		timeout: "echo.read_timeout", limit: 100 * time.Millisecond,
		end:  ended,
		want: entry{"by": "server", "reason": "read_timeout", "bytes_in": "0", "bytes_out": "0", "frames_in": "0", "frames_out": "0"},
	}, {
		name:    "max_lifetime",
		args:    []string{"--echo.limit.frames=1000"},
		timeout: "echo.max_lifetime", limit: 500 * time.Millisecond,
		before: hello,
		end:    endedBoth,
		want:   entry{"by": "server", "reason": "max_lifetime", "bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1"},
	}, {
		name:    "write_timeout",
		args:    []string{stalls},
		timeout: "echo.write_timeout", limit: 200 * time.Millisecond,
		before: tryStallClient,
		want:   entry{"by": "server", "reason": "write_timeout", "bytes_in": strconv.Itoa(longReply), "frames_in": "1", "frames_out": "1"},
	}, {
		name: "line too long",
		args: []string{"--echo.max_line=10"},
		end: func(t *testing.T, _ *process, conn net.Conn) {
			send(t, conn, "12345678901\n")
			closeWrite(t, conn)
			receiveRest(t, conn, "error: line too long (max 10 bytes)\n")
		},
		want: entry{"by": "server", "reason": "frame_error", "bytes_in": "12", "bytes_out": "36", "frames_in": "0", "frames_out": "1"},
	}, {
		name:   "drain",
		before: hello,
		end:    func(_ *testing.T, p *process, _ net.Conn) { p.signal(syscall.SIGTERM) },
		want:   entry{"by": "server", "reason": "drain", "bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1"},
	}, {
		name:   "cut",
		args:   []string{stalls, "--tcp.drain_timeout=100ms"},
		before: tryStallClient,
		end:    func(_ *testing.T, p *process, _ net.Conn) { p.signal(syscall.SIGTERM) },
		want:   entry{"by": "server", "reason": "cut", "bytes_in": strconv.Itoa(longReply), "frames_in": "1", "frames_out": "1"},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.timeout == "" {
				test.limit = patience
			}
			testutil.InTime(t, test.limit, func(limit time.Duration) error { return test.try(t, limit) })
		})
	}
}

// try returns ErrLate if the client was too late for the timeout.
func (r *recordTest) try(t *testing.T, limit time.Duration) error {
	args := r.args
	if r.timeout != "" {
		args = append(args[:len(args):len(args)], "--"+r.timeout+"="+limit.String())
	}
	p := start(t, args...)
	begin := time.Now()
	conn := p.dial()
	var err error
	if r.before != nil {
		err = r.before(conn)
	}
	if time.Since(begin) >= limit*9/10 { // max_lifetime may be a tenth shorter
		p.kill()
		return testutil.ErrLate
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.end != nil {
		r.end(t, p, conn)
	}
	got := p.await("msg", "connection")
	if _, known := r.want["bytes_out"]; !known {
		delete(got, "bytes_out") // depends on the kernel's buffers
	}
	delete(got, "err") // the reason covers it
	r.want["level"], r.want["msg"], r.want["id"], r.want["peer"] = "INFO", "connection", "1", conn.LocalAddr().String()
	checkLog(t, []entry{got}, []entry{r.want})
	return nil
}

// Every connection has one record, whose numbers match those of its client.
func TestRecordOfEach(t *testing.T) {
	t.Parallel()
	const clients = 100
	p := start(t, "--log.format=json")
	var mu sync.Mutex
	want := map[string]string{} // peer to bytes
	var all sync.WaitGroup
	for i := range clients {
		conn := p.dial()
		all.Go(func() {
			defer conn.Close()
			line := strings.Repeat("x", i) + "\n"
			io.WriteString(conn, line)
			if got := make([]byte, len(line)); !readsFull(conn, got) || string(got) != line {
				t.Errorf("client %d received %q", i, got)
			}
			mu.Lock()
			defer mu.Unlock()
			want[conn.LocalAddr().String()] = strconv.Itoa(len(line))
		})
	}
	all.Wait()
	p.stop()
	got, ids := map[string]string{}, map[string]bool{}
	for _, e := range p.find("msg", "connection") {
		if e["bytes_in"] != e["bytes_out"] {
			t.Errorf("%s bytes in, %s out", e["bytes_in"], e["bytes_out"])
		}
		got[e["peer"]] = e["bytes_in"]
		ids[e["id"]] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("peer and bytes (-want +got):\n%s", diff)
	}
	for i := range clients {
		if id := fmt.Sprint(i + 1); !ids[id] {
			t.Errorf("no record has the id %s", id)
		}
	}
}

func readsFull(r io.Reader, p []byte) bool {
	_, err := io.ReadFull(r, p)
	return err == nil
}

func TestRecordsOff(t *testing.T) {
	t.Parallel()
	p := start(t, "--log.connections=false")
	conn := p.dial()
	echoes(t, conn, "hello\n")
	conn.Close()
	echoes(t, p.dial(), "hello\n")
	p.stop()
	if records := p.find("msg", "connection"); len(records) != 0 {
		t.Errorf("records %v, want none", records)
	}
}
