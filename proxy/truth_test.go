package proxy_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/proxy"
)

// event is what one side does with its connection.
type event string

const (
	silence    event = "silence"
	data       event = "data"
	fin        event = "FIN"
	rst        event = "RST"
	dataAndFIN event = "data, FIN"
	dataAndRST event = "data, RST"
	stall      event = "stall" // it reads nothing until the other side has done its part

	// Only against a stall: a RST behind bytes that nobody takes. It is told to who
	// does not read.
	muchAndRST event = "much data, RST"
)

var events = []event{silence, data, fin, rst, dataAndFIN, dataAndRST, stall}

const (
	// little fits into every buffer: a reset behind it cannot overtake it.
	little = 40 << 10
	// much does not.
	much = 8 << 20

	// settled is after how long without anything a connection counts as open. A busy machine may pause
	// for a while.
	settled = 4 * time.Second
)

// What is sent, made before anybody waits for it.
var (
	littleData = pattern(little)
	muchData   = pattern(much)
)

// outcome is what one side sees: what it gets, and how the stream ends.
type outcome struct {
	bytes int
	sum   [sha256.Size]byte
	end   string // as ended says
}

func (o outcome) String() string { return fmt.Sprintf("%d bytes, then %s", o.bytes, o.end) }

// cell is one of the table: what both sides do, and what each sees.
type cell struct{ client, upstream event }

// TestTruth: whatever the two sides do, each sees what it would see without a proxy
// in between, on a connection of the upstream's kind.
func TestTruth(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	networks := []string{"tcp", "unix"}
	if runtime.GOOS == "windows" {
		networks = networks[:1]
	}
	truths := make(map[string]map[cell][2]outcome) // by network
	for _, network := range networks {
		truths[network] = table(func() (client, upstream net.Conn) { return connection(t, network) }, nil)
	}
	overTransports(t, func(t *testing.T, tr transport) {
		truth := truths[tr.upstream]
		if tr.upstream == "tls" { // which changes nothing
			truth = truths["tcp"]
		}
		for c, got := range table(tr.serve(t, proxy.Config{ConnectTimeout: patience}).pair, truth) {
			for side, name := range []string{"client", "upstream"} {
				if want := truth[c][side]; got[side] != want && !differs(tr, c, side, got[side], want) {
					t.Errorf("client: %s, upstream: %s: the %s sees %v; directly it sees %v",
						c.client, c.upstream, name, got[side], want)
				}
			}
		}
	})
}

// differs reports whether one side of a cell may see got where it sees want directly.
// On a unix socket, a side is told of a reset only if the other closes it with bytes
// unread, or before they come. The proxy has taken them, so those who send may see an
// end instead.
func differs(tr transport, c cell, side int, got, want outcome) bool {
	own, others := c.client, c.upstream
	if side == 1 {
		own, others = others, own
	}
	sends := own == data || own == dataAndFIN
	resets := others == rst || others == dataAndRST
	if tr.upstream == "unix" && sends && resets && want.end == "reset" {
		want.end = "end"
	}
	return got == want
}

// table plays all cells, on connections of their own, and returns what the client and
// the upstream see. It plays them at the same time, as most of it is waiting for what
// does not come. How long, truth tells, if there is one already.
func table(pair func() (client, upstream net.Conn), truth map[cell][2]outcome) map[cell][2]outcome {
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[cell][2]outcome)
	for _, cell := range cells() {
		if _, known := truth[cell]; truth != nil && !known {
			continue // a reset that this kind of connection does not have
		}
		client, upstream := pair()
		if cell.client == muchAndRST && noReset(client) || cell.upstream == muchAndRST && noReset(upstream) {
			continue
		}
		wg.Go(func() {
			var expected [2]*outcome
			if want, ok := truth[cell]; ok {
				expected = [2]*outcome{&want[0], &want[1]}
			}
			got := play([2]net.Conn{client, upstream}, [2]event{cell.client, cell.upstream}, expected)
			mu.Lock()
			defer mu.Unlock()
			seen[cell] = got
		})
	}
	wg.Wait()
	return seen
}

// cells are those of the table.
func cells() (all []cell) {
	for _, c := range events {
		for _, u := range events {
			all = append(all, cell{c, u})
		}
	}
	return append(all, cell{muchAndRST, stall}, cell{stall, muchAndRST})
}

// noReset reports whether a connection has no RST that could be seen without a read.
func noReset(conn net.Conn) bool {
	_, unix := conn.(*net.UnixConn)
	return unix || runtime.GOOS == "windows"
}

// connection is one without a proxy.
func connection(t *testing.T, network string) (client, upstream net.Conn) {
	t.Helper()
	listen := listenTCP
	if network == "unix" {
		listen = listenUnix
	}
	ln, dial := listen(t)
	defer ln.Close()
	client, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	upstream = acceptFrom(t, ln)
	t.Cleanup(func() { client.Close(); upstream.Close() })
	return client, upstream
}

// A unix socket that is closed with bytes unread tells its peer so, as of a reset; that
// arrives as one where there are any.
func TestUnixUpstreamClosesWithBytesUnread(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		if tr.upstream != "unix" || runtime.GOOS != "linux" {
			t.Skip("it is about unix sockets on Linux")
		}
		s := tr.serve(t, proxy.Config{})
		client, upstream := s.pair()
		send(t, client, "xy")
		receive(t, upstream, "x")
		upstream.Close()
		if client.LocalAddr().Network() == "tcp" {
			receiveReset(t, client)
		} else {
			receiveAll(t, client, "")
		}
		if r := s.records.Next(t); r.By != handler.ByUpstream || r.Reason != handler.ReasonReset {
			t.Errorf("by %s, %s; want the upstream's reset", r.By, r.Reason)
		}
	})
}

// play has both sides do their part at the same time, and tells what each sees.
func play(ends [2]net.Conn, do [2]event, expected [2]*outcome) (seen [2]outcome) {
	done := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	var wg sync.WaitGroup
	for side := range ends {
		other := 1 - side
		wg.Go(func() {
			seen[side] = act(ends[side], do[side], do[other], done[side], done[other], expected[side])
		})
	}
	wg.Wait()
	return seen
}

// act does e on a connection, while the other side does others, and tells what is
// seen.
func act(conn net.Conn, e, others event, done chan<- struct{}, othersDone <-chan struct{}, expected *outcome) outcome {
	text := littleData
	if others == stall && (e == data || e == dataAndFIN) {
		text = muchData
	}
	if e == muchAndRST {
		sendAndReset(conn, done)
		return outcome{end: "gone"}
	}
	wrote := make(chan error, 1)
	conn.SetDeadline(time.Now().Add(4 * patience)) // for the whole table at the same time
	go func() {
		defer close(done)
		var err error
		if e == data || e == dataAndFIN || e == dataAndRST {
			// The other side waits for the end of this before it reads: so it is
			// over, for it, when as much as fits is on its way.
			if len(text) == much {
				done <- struct{}{}
			}
			_, err = io.WriteString(conn, text)
		}
		if e == fin || e == dataAndFIN {
			err = errors.Join(err, netconn.CloseWrite(conn)) // under TLS it writes
		}
		wrote <- err
	}()
	if e == rst || e == dataAndRST {
		<-wrote
		netconn.Reset(conn)
		return outcome{end: "gone"}
	}
	if e == stall {
		<-othersDone
		if others == muchAndRST { // how much it could read is chance
			return outcome{end: ended(writeUntilBroken(conn))}
		}
	}
	o := observe(conn, expected)
	if err := <-wrote; isReset(err) {
		o.end = "reset" // whichever call is told of it
	}
	return o
}

// sendAndReset sends as much as is taken, and resets.
func sendAndReset(conn net.Conn, done chan<- struct{}) {
	conn.SetWriteDeadline(time.Now().Add(settled))
	io.WriteString(conn, muchData)
	netconn.Reset(conn)
	close(done)
}

// observe reads until the end, or until nothing more comes. What is expected may take
// its time, on a busy machine.
func observe(conn net.Conn, expected *outcome) (o outcome) {
	hash := sha256.New()
	b := make([]byte, 64<<10)
	for {
		wait := settled
		if expected != nil && (o.bytes < expected.bytes || expected.end != "open") {
			wait = patience
		}
		conn.SetReadDeadline(time.Now().Add(wait))
		n, err := conn.Read(b)
		hash.Write(b[:n])
		o.bytes += n
		if err != nil {
			hash.Sum(o.sum[:0])
			o.end = ended(err)
			return o
		}
	}
}
