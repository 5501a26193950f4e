package transport_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"time"

	"wireline/internal/transport"
	"wireline/tcptest"
)

// FuzzRecords plays steps on a connection after its handshake: good records in pieces of any
// length, bytes that are changed, garbage, output, the end. Whatever the peer sent before
// the first change is read as it is, and nothing that comes after it; there is no third way.
func FuzzRecords(f *testing.F) {
	f.Add(false, false, []byte{0, 10, 1, 3, 1, 255, 3, 40, 0, 200, 1, 50, 5, 0})
	f.Add(true, false, []byte{0, 10, 2, 7, 1, 255, 6, 0})
	f.Add(false, true, []byte{0, 10, 4, 30, 1, 255, 0, 10, 1, 255, 5, 0})
	f.Add(true, true, []byte{3, 255, 7, 9, 0, 1, 1, 7, 1, 8, 7, 255, 3, 1})
	f.Add(false, false, []byte{0, 10, 2, 5, 0, 48, 2, 5}) // the same bit twice
	f.Fuzz(func(t *testing.T, client, old bool, steps []byte) {
		version := uint16(tls.VersionTLS13)
		if old {
			version = tls.VersionTLS12
		}
		e := handshake(t, client, version)
		e.use(newPoll(t))
		e.poll.accepts = 0
		var want, got []byte // before the first change
		var written, pending []byte
		var stream []byte
		changed, notified, failed := false, false, false
		read := func(size int) {
			more, err := e.readAll(size)
			if !failed {
				got = append(got, more...)
			}
			failed = failed || err != nil
		}
		for steps = steps[:min(len(steps), 400)]; len(steps) >= 2; steps = steps[2:] {
			n := int(steps[1])
			switch steps[0] % 8 {
			case 0: // a record
				p := pattern(n * n)
				if len(p) > 0 && !changed {
					want = append(want, p...)
				}
				if len(p) > 0 && !notified {
					stream = append(stream, e.records(p)...)
				}
			case 1: // a piece of it arrives
				k := min(n*8, len(stream))
				e.poll.arrive(stream[:k])
				stream = stream[k:]
			case 2: // a bit changes; a second change could take the first one back
				if n < len(stream) && !changed {
					stream[n] ^= 1 << (n % 8)
					changed = true
				}
			case 3: // output
				pending = append(pending, pattern(n)...)
				m, err := e.near.Write([3][]byte{pending})
				if m > len(pending) || err != nil && !failed {
					t.Fatalf("Write of %d bytes returned %d, %v", len(pending), m, err)
				}
				written, pending = append(written, pending[:m]...), pending[m:]
				e.near.WatchOut(false)
			case 4: // garbage
				stream = append(stream, pattern(n)...)
				changed = changed || n > 0
			case 5:
				e.poll.fail(io.EOF)
				changed = true // what follows does not arrive
			case 6:
				stream = append(stream, e.closeNotify()...)
				changed, notified = true, true // what follows is not read
			case 7:
				e.accept(n * 4)
			}
			read(1 + n)
		}
		e.poll.arrive(stream)
		e.poll.fail(io.EOF)
		read(4096)
		if !failed {
			t.Fatal("the end of the stream was not read")
		}
		if !bytes.Equal(got, want) && !(changed && bytes.HasPrefix(want, got)) {
			t.Fatalf("read %d bytes, which are not the %d that were sent", len(got), len(want))
		}
		e.accept(1 << 20)
		if received, _ := e.received(); !bytes.HasPrefix(received, written) {
			t.Fatalf("the peer has %d bytes, %d count as written", len(received), len(written))
		}
		e.near.Close()
	})
}

// FuzzHandshake sends a ClientHello, changed and cut, to a server over a connection that holds
// little. The handshake ends, with an error at the latest when the client has gone.
func FuzzHandshake(f *testing.F) {
	var hello recorder
	tls.Client(&hello, &tls.Config{InsecureSkipVerify: true}).Handshake()
	f.Add(hello.Bytes(), uint16(0), uint16(0), uint16(65535))
	f.Add(hello.Bytes(), uint16(5), uint16(1), uint16(65535))
	f.Add(hello.Bytes(), uint16(3), uint16(255), uint16(100))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(0), uint16(0), uint16(65535))
	f.Add([]byte{0x80, 0x2e, 1, 0, 2}, uint16(0), uint16(0), uint16(65535))
	config := &tls.Config{Certificates: []tls.Certificate{certificate(f)}}
	f.Fuzz(func(t *testing.T, hello []byte, at, change, upto uint16) {
		hello = bytes.Clone(hello[:min(len(hello), int(upto))])
		if int(at) < len(hello) {
			hello[at] ^= byte(change)
		}
		client, server := tcptest.PipeSize(64)
		near := transport.Server(server, config)
		done := make(chan error, 1)
		go func() {
			done <- near.Conn().Handshake()
			server.Close()
		}()
		go func() {
			client.Write(hello)
			client.CloseWrite()
		}()
		io.Copy(io.Discard, client) // until the server closes
		if err := <-done; err == nil {
			t.Error("a handshake without a Finished")
		}
		client.Close()
	})
}

// recorder is a connection that keeps what is written, and from which nothing can be read.
type recorder struct {
	tcptest.Conn
	bytes.Buffer
}

var errNothing = errors.New("nothing to read")

func (r *recorder) Write(p []byte) (int, error)      { return r.Buffer.Write(p) }
func (r *recorder) Read([]byte) (int, error)         { return 0, errNothing }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }
func (r *recorder) Close() error                     { return nil }
