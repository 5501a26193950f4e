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

	"github.com/google/go-cmp/cmp"
)

// TestRecords ends connections in every way that an echo server supports.
func TestRecords(t *testing.T) {
	t.Parallel()
	const stalls = "--echo.max_line=8MiB"
	tests := []struct {
		name string
		args []string
		// end makes the connection end, and returns it.
		end  func(t *testing.T, p *process) net.Conn
		want entry
	}{{
		name: "fin",
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			send(t, conn, "a\r\nb")
			closeWrite(t, conn)
			receiveRest(t, conn, "a\r\nb")
			return conn
		},
		want: entry{"by": "client", "reason": "fin", "bytes_in": "4", "bytes_out": "4", "frames_in": "2", "frames_out": "2"},
	}, {
		name: "reset",
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			echoes(t, conn, "hello\n")
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			return conn
		},
		want: entry{"by": "client", "reason": "reset", "bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1"},
	}, {
		name: "idle_timeout",
		args: []string{"--echo.idle_timeout=100ms"},
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			echoes(t, conn, "hello\n")
			receiveRest(t, conn, "")
			return conn
		},
		want: entry{"by": "server", "reason": "idle_timeout", "bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1"},
	}, {
		name: "frame_timeout",
		args: []string{"--echo.frame_timeout=100ms"},
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			send(t, conn, "half")
			receiveRest(t, conn, "")
			closeWrite(t, conn) // or the server would linger
			return conn
		},
		want: entry{"by": "server", "reason": "frame_timeout", "bytes_in": "4", "bytes_out": "0", "frames_in": "0", "frames_out": "0"},
	}, {
		name: "first_frame_timeout",
		args: []string{"--echo.first_frame_timeout=100ms"},
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			send(t, conn, "half")
			receiveRest(t, conn, "")
			return conn
		},
		want: entry{"by": "server", "reason": "first_frame_timeout", "bytes_in": "4", "bytes_out": "0", "frames_in": "0", "frames_out": "0"},
	}, {
		name: "read_timeout",
		args: []string{"--echo.read_timeout=100ms"},
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			receiveRest(t, conn, "")
			return conn
		},
		want: entry{"by": "server", "reason": "read_timeout", "bytes_in": "0", "bytes_out": "0", "frames_in": "0", "frames_out": "0"},
	}, {
		name: "max_lifetime",
		args: []string{"--echo.max_lifetime=500ms", "--echo.limit.frames=1000"},
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			echoes(t, conn, "hello\n")
			receiveRest(t, conn, "")
			closeWrite(t, conn) // or the server would linger
			return conn
		},
		want: entry{"by": "server", "reason": "max_lifetime", "bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1"},
	}, {
		name: "write_timeout",
		args: []string{stalls, "--echo.write_timeout=200ms"},
		end:  func(_ *testing.T, p *process) net.Conn { return p.stall() },
		want: entry{"by": "server", "reason": "write_timeout", "bytes_in": strconv.Itoa(longReply), "frames_in": "1", "frames_out": "1"},
	}, {
		name: "line too long",
		args: []string{"--echo.max_line=10"},
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			send(t, conn, "12345678901\n")
			closeWrite(t, conn)
			receiveRest(t, conn, "error: line too long (max 10 bytes)\n")
			return conn
		},
		want: entry{"by": "server", "reason": "frame_error", "bytes_in": "12", "bytes_out": "36", "frames_in": "0", "frames_out": "1"},
	}, {
		name: "drain",
		end: func(t *testing.T, p *process) net.Conn {
			conn := p.dial()
			echoes(t, conn, "hello\n")
			p.signal(syscall.SIGTERM)
			return conn
		},
		want: entry{"by": "server", "reason": "drain", "bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1"},
	}, {
		name: "cut",
		args: []string{stalls, "--tcp.drain_timeout=100ms"},
		end: func(_ *testing.T, p *process) net.Conn {
			conn := p.stall()
			p.signal(syscall.SIGTERM)
			return conn
		},
		want: entry{"by": "server", "reason": "cut", "bytes_in": strconv.Itoa(longReply), "frames_in": "1", "frames_out": "1"},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, test.args...)
			conn := test.end(t, p)
			got := p.await("msg", "connection")
			if _, known := test.want["bytes_out"]; !known {
				delete(got, "bytes_out") // depends on the kernel's buffers
			}
			delete(got, "err") // the reason covers it
			want := test.want
			want["level"], want["msg"], want["id"], want["peer"] = "INFO", "connection", "1", conn.LocalAddr().String()
			checkLog(t, []entry{got}, []entry{want})
		})
	}
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
