package handshakes

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"wireline/internal/testutil"
)

// scripted is a connection of which reader is what the peer sends. It notes how much each Read asks for.
type scripted struct {
	net.Conn
	reader io.Reader
	asked  []int
}

func (s *scripted) Read(p []byte) (int, error) {
	s.asked = append(s.asked, len(p))
	return s.reader.Read(p)
}

// manyProtocols make a hello longer by that many bytes.
func manyProtocols(size int) (names []string) {
	for i := range size / 100 {
		names = append(names, strings.Repeat(string(rune('a'+i%26)), 99))
	}
	return names
}

// newPair returns both ends of a connection with a handshake that is still to be made. what is the
// server's end beneath it.
func newPair(t *testing.T, config *tls.Config, through func(io.Reader) io.Reader) (server, client *tls.Conn, what *scripted) {
	t.Helper()
	cert := testutil.SelfSigned(t)
	ours, theirs := net.Pipe()
	t.Cleanup(func() {
		ours.Close()
		theirs.Close()
	})
	what = &scripted{Conn: ours, reader: through(ours)}
	config.InsecureSkipVerify = true
	all := new(Limiter)
	server = tls.Server(all.Conn(t.Context(), what), &tls.Config{Certificates: []tls.Certificate{cert}})
	return server, tls.Client(theirs, config), what
}

// A handshake does not notice how its first message has come, or how long it is.
func TestHelloArrives(t *testing.T) {
	ways := map[string]func(io.Reader) io.Reader{
		"at once":       func(r io.Reader) io.Reader { return r },
		"in halves":     iotest.HalfReader,
		"byte by byte":  iotest.OneByteReader,
		"in 600 bytes":  func(r io.Reader) io.Reader { return &upTo{r, 600} },
		"in 1448 bytes": func(r io.Reader) io.Reader { return &upTo{r, 1448} },
	}
	for way, through := range ways {
		for _, size := range []int{0, 1000, 2000, 12000} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				server, client, _ := newPair(t, &tls.Config{MaxVersion: version, NextProtos: manyProtocols(size)}, through)
				failed := make(chan error, 1)
				go func() { failed <- client.Handshake() }()
				if err := server.Handshake(); err != nil {
					t.Errorf("%s, %d more bytes: %v", way, size, err)
				}
				if err := <-failed; err != nil {
					t.Errorf("%s, %d more bytes: the client: %v", way, size, err)
				}
			}
		}
	}
}

// upTo is a Reader that returns at most n bytes.
type upTo struct {
	io.Reader
	n int
}

func (u *upTo) Read(p []byte) (int, error) { return u.Reader.Read(p[:min(len(p), u.n)]) }

// crypto/tls keeps the buffer into which it has read the hello. It is not to be larger than what the
// reading of short records needs.
func TestHelloLeavesSmallBuffer(t *testing.T) {
	server, client, what := newPair(t, &tls.Config{}, func(r io.Reader) io.Reader { return r })
	go func() {
		client.Handshake()
		client.Write([]byte("x"))
	}()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if first, last := what.asked[0], what.asked[len(what.asked)-1]; last != first {
		t.Errorf("the first Read was for %d bytes, the last one for %d, of %v", first, last, what.asked)
	}
}

// handshakeRecord returns a record of a handshake message.
func handshakeRecord(body []byte) []byte {
	record := binary.BigEndian.AppendUint16([]byte{typeHandshake, 3, 1}, uint16(len(body)))
	return append(record, body...)
}

// readRecords reads whole records, until the first error.
func readRecords(t *testing.T, r io.Reader) (bodies [][]byte, err error) {
	t.Helper()
	b := make([]byte, 576)
	for {
		n, err := r.Read(b)
		if err != nil {
			return bodies, err
		}
		if n < recordHeader || int(binary.BigEndian.Uint16(b[3:])) != n-recordHeader || !bytes.Equal(b[:3], []byte{typeHandshake, 3, 1}) {
			t.Fatalf("no whole record: %x", b[:n])
		}
		bodies = append(bodies, slices.Clone(b[recordHeader:n]))
	}
}

// The pieces are the message, and each of them is a record that one Read returns.
func TestHelloPieces(t *testing.T) {
	for _, size := range []int{1, 571, 572, 573, 1450, 2028, 2029, 5000, maxPlaintext} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i)
		}
		conn := new(Limiter).Conn(t.Context(), &scripted{reader: bytes.NewReader(handshakeRecord(want))})
		bodies, err := readRecords(t, conn)
		if got := bytes.Join(bodies, nil); !bytes.Equal(got, want) || err != io.EOF {
			t.Errorf("of %d bytes %d arrive, then %v", size, len(got), err)
		}
		if pieces := len(bodies); size > 571 && size <= 2028 && pieces != 4 {
			t.Errorf("%d bytes in %d pieces", size, pieces)
		}
	}
}

// What is no hello, or no valid one, is passed on as it is.
func TestHelloIsNone(t *testing.T) {
	request := bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 100)
	tooLong := append(handshakeRecord(nil)[:3], 0xff, 0xff)
	tooLong = append(tooLong, make([]byte, 1000)...)
	for _, want := range [][]byte{request, tooLong} {
		conn := new(Limiter).Conn(t.Context(), &scripted{reader: bytes.NewReader(want)})
		if got, err := io.ReadAll(conn); !bytes.Equal(got, want) || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// The error of a connection that fails within the hello is that of the handshake.
func TestHelloFails(t *testing.T) {
	start := handshakeRecord(make([]byte, 1450))[:800]
	broken := errors.New("broken")
	for _, want := range []error{broken, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF} {
		end := iotest.ErrReader(want)
		if want == io.ErrUnexpectedEOF {
			end = iotest.ErrReader(io.EOF)
		}
		conn := new(Limiter).Conn(t.Context(), &scripted{reader: io.MultiReader(bytes.NewReader(start), end)})
		err := tls.Server(conn, &tls.Config{}).HandshakeContext(t.Context())
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// What is left of a hello is returned without a wait for a place.
func TestHelloKeepsItsPlace(t *testing.T) {
	all := Limiter{Limit: 1}
	conn := all.Conn(t.Context(), &scripted{reader: bytes.NewReader(handshakeRecord(make([]byte, 1450)))})
	b := make([]byte, 576)
	if _, err := conn.Read(b); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	other := make(chan error, 1)
	go func() {
		var two turn
		other <- all.acquire(ctx, &two)
	}()
	for _, waiting := all.Counts(); waiting == 0; _, waiting = all.Counts() {
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Read(b); err != nil {
		t.Fatal(err)
	}
	if computing, waiting := all.Counts(); computing != 1 || waiting != 1 {
		t.Errorf("%d computing, %d waiting", computing, waiting)
	}
	conn.Done()
	if err := <-other; err != nil {
		t.Error(err)
	}
}
