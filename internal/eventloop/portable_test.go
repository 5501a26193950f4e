package eventloop_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/tcptest"
)

// report is a call of Ready that has read everything.
type report struct {
	ev   eventloop.Event
	text string
	err  error
}

// reports reads everything and tells what it has seen.
func reports(to chan<- report) readyFunc {
	return func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
		text, err := s.readAll()
		to <- report{ev, string(text), err}
		return false
	}
}

func TestConnEvents(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan report, 100)
		s := tr.start(t, reports(got))
		for range 3 {
			s.send("a")
			if r := await(t, "In", got); r != (report{eventloop.In, "a", nil}) {
				t.Errorf("after a byte: %+v", r)
			}
			s.Wake()
			if r := await(t, "Woken", got); r != (report{ev: eventloop.Woken}) {
				t.Errorf("after Wake: %+v", r)
			}
		}
		s.peer.Close()
		r := await(t, "the end", got)
		if r.ev&(eventloop.In|eventloop.Hup) == 0 || r.err != io.EOF {
			t.Errorf("after the peer's end: %+v", r)
		}
	})
}

func TestConnEcho(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.start(t, echoes)
		for _, size := range []int{1, 10, 5000, 300, 1 << 20, 7} {
			text := bytesOf(size)
			go s.peer.Write(text)
			s.receive(text)
		}
	})
}

// What is not read brings no further call of Ready, nor does the end of the stream. An
// event loop also tells of what comes after that.
func TestConnDoesNotSpin(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		seen := make(chan eventloop.Event, 10)
		var reads atomic.Bool
		s := tr.start(t, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			if reads.Load() {
				s.readAll()
			}
			seen <- ev
			return false
		})
		s.send("a")
		await(t, "In", seen)
		if tr.portable() {
			s.send("b")
		}
		quiet(t, s, seen, "with unread input")
		reads.Store(true)
		s.Wake()
		await(t, "Woken", seen)
		s.send("c")
		await(t, "In after all was read", seen)
		s.peer.Close()
		await(t, "the end", seen)
		quiet(t, s, seen, "after the end")
	})
}

// quiet demands that Ready is called only for Wake.
func quiet(t *testing.T, s *served, seen <-chan eventloop.Event, when string) {
	t.Helper()
	const wakes, late = 200, 3 // the end can come in several events, and after the Wake
	before, awaited, others := s.calls.Load(), int32(0), 0
	for range wakes {
		s.Wake()
		for woken := false; !woken; awaited++ {
			ev := await(t, "Woken", seen)
			woken = ev&eventloop.Woken != 0
			if ev != eventloop.Woken {
				if others++; others > late {
					t.Fatalf("%s: event %x, the %dth that is not Wake's", when, ev, others)
				}
			}
		}
		runtime.Gosched()
	}
	if n := s.calls.Load() - before; n > awaited {
		t.Errorf("%s: %d calls of Ready for %d events", when, n, awaited)
	}
}

// An end that is there before everything is read is told of by Read.
func TestConnReadsToTheEnd(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan report, 10)
		s := tr.make(t, reports(got))
		s.send("last words")
		s.peer.Close()
		s.begin()
		text := ""
		for {
			r := await(t, "Ready", got)
			text += r.text
			if r.err != nil {
				if text != "last words" || r.err != io.EOF {
					t.Errorf("read %q, %v", text, r.err)
				}
				return
			}
		}
	})
}

func TestConnWakeBeforeStart(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan report, 10)
		s := tr.make(t, reports(got))
		s.Wake()
		s.Wake()
		s.begin()
		if r := await(t, "Woken", got); r != (report{ev: eventloop.Woken}) {
			t.Errorf("after Start: %+v", r)
		}
		s.send("a")
		if r := await(t, "In", got); r != (report{eventloop.In, "a", nil}) {
			t.Errorf("after that: %+v", r)
		}
	})
}

// A Wake while Ready runs, also its own, is one more call of it.
func TestConnWakeWhileReadyRuns(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		began, goOn := make(chan eventloop.Event, 10), make(chan bool)
		s := tr.start(t, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			s.readAll()
			began <- ev
			<-goOn
			return false
		})
		s.send("a")
		await(t, "In", began)
		for range 10 {
			s.Wake()
			s.Wake()
			goOn <- true
			if ev := await(t, "Woken", began); ev != eventloop.Woken {
				t.Errorf("event %x, want Woken", ev)
			}
		}
		close(goOn)
	})
}

// No Wake is lost, and no input, when both come at the same time.
func TestConnWakeBesideInput(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		var woken atomic.Int32
		s := tr.start(t, func(s *served, w *eventloop.Worker, ev eventloop.Event) bool {
			if ev&eventloop.Woken != 0 {
				woken.Add(1)
			}
			return echoes(s, w, ev)
		})
		for range 300 {
			before := woken.Load()
			var both sync.WaitGroup
			both.Go(s.Wake)
			both.Go(func() { s.send("a") })
			both.Wait()
			s.receive([]byte("a"))
			eventually(t, "Woken", func() bool { return woken.Load() > before })
		}
	})
}

func TestConnReadyIsCalledAgain(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		events := make(chan eventloop.Event, 10)
		s := tr.start(t, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			s.readAll()
			events <- ev
			return len(events) < 3
		})
		s.send("a")
		for _, want := range []eventloop.Event{eventloop.In, 0, 0} {
			if ev := await(t, "Ready", events); ev != want {
				t.Errorf("event %x, want %x", ev, want)
			}
		}
	})
}

func TestConnGoexitEndsTheCallOnly(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.start(t, func(s *served, w *eventloop.Worker, ev eventloop.Event) bool {
			text, _ := s.readAll()
			s.write(text, true)
			if bytes.Contains(text, []byte("x")) {
				runtime.Goexit()
			}
			return false
		})
		for _, text := range []string{"a", "x", "b", "x", "x"} {
			s.send(text)
			s.receive([]byte(text))
		}
	})
}

// Everything is sent, in order, to a peer that reads slowly, and Ready is not held up
// by what another goroutine writes.
func TestConnWritesToASlowReader(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan report, 100)
		s := tr.start(t, reports(got))
		text := bytesOf(8 << 20)
		s.write(text, false)
		if _, pending, _ := s.state(); pending == 0 {
			t.Fatal("the socket has taken everything")
		}
		s.Wake()
		await(t, "Woken while a write waits", got)
		s.send("a")
		if r := await(t, "In while a write waits", got); r.text != "a" {
			t.Errorf("read %q", r.text)
		}
		s.receive(text)
		eventually(t, "the last bytes are reported", func() bool {
			taken, _, err := s.state()
			return taken == len(text) || err != nil
		})
	})
}

// A push goes out at once although Ready runs and does not return, and Ready may wait
// for it.
func TestConnPushWhileReadyRuns(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		began, goOn := make(chan bool), make(chan bool)
		s := tr.start(t, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			if ev&eventloop.In != 0 {
				s.readAll()
				s.write([]byte("reply"), true) // it is about to return, but does not
				began <- true
				<-goOn
			}
			return false
		})
		s.send("a")
		await(t, "Ready", began)
		push := bytesOf(1 << 20)
		s.write(push, false)
		s.receive(append([]byte("reply"), push...))
		close(goOn)
	})
}

// Pushes from many goroutines, with replies between them, all arrive whole.
func TestConnPushesFromManyGoroutines(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.start(t, echoes)
		const goroutines, pushes = 8, 200
		var all sync.WaitGroup
		for range goroutines {
			all.Go(func() {
				for range pushes {
					s.write(bytes.Repeat([]byte{'p'}, 100), false)
				}
			})
		}
		all.Go(func() { s.peer.Write(bytes.Repeat([]byte{'e'}, 10000)) })
		got := make([]byte, goroutines*pushes*100+10000)
		if n, err := io.ReadFull(s.peer, got); err != nil {
			t.Fatalf("read %d of %d bytes, %v", n, len(got), err)
		}
		all.Wait()
		if n := bytes.Count(got, []byte{'e'}); n != 10000 {
			t.Errorf("%d bytes of the echo, want 10000", n)
		}
	})
}

// A Write that is reported counts only what was written, also when it fails.
func TestOverlappedWriteIsExact(t *testing.T) {
	const size = 4096 // of memoryPair
	conn, peer := tcptest.PipeSize(size)
	tr := transport{}
	s := tr.serve(t, conn, peer, func(*served, *eventloop.Worker, eventloop.Event) bool { return false })
	s.begin()
	s.write(bytesOf(200000), false)
	const read = 100000
	s.receive(bytesOf(200000)[:read])
	eventually(t, "the pipe is full", func() bool { // a look finds how far the write is
		s.Unsent()
		taken, _, _ := s.state()
		return taken == read+size
	})
	peer.Reset()
	eventually(t, "the write fails", func() bool { _, _, err := s.state(); return err != nil })
	if taken, _, err := s.state(); taken != read+size || !netconn.IsReset(err) {
		t.Errorf("%d bytes, %v; want %d and a reset", taken, err, read+size)
	}
}

// counting is a net.Conn of which nothing is known. It counts what Write returns.
type counting struct {
	net.Conn
	written atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// The error of a write comes with the count of what it wrote before it failed.
func TestOverlappedWriteFailsHalfWay(t *testing.T) {
	conn, peer := tcptest.PipeSize(1000)
	c := &counting{Conn: conn}
	s := transport{}.serve(t, c, peer, echoes)
	s.begin()
	s.write(bytesOf(50000), false)
	s.receive(bytesOf(50000)[:3000])
	peer.Reset()
	eventually(t, "the write fails", func() bool { _, _, err := s.state(); return err != nil })
	taken, _, err := s.state()
	if int64(taken) != c.written.Load() || taken < 3000 || !netconn.IsReset(err) {
		t.Errorf("%d bytes are reported, %v; %d were written", taken, err, c.written.Load())
	}
}

// Unsent gets smaller as the peer reads, also while one Write is under way.
func TestConnUnsentShowsProgress(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		if !tr.looks {
			t.Skip("Unsent cannot look into a Write that waits")
		}
		s := tr.start(t, echoes)
		text := bytesOf(8 << 20)
		s.write(text, false)
		progress := func() int { taken, _, _ := s.state(); return taken - s.Unsent() }
		last := 0
		settled := func() bool { now := progress(); same := now == last; last = now; return same }
		eventually(t, "the connection is full", settled)
		before := last
		s.receive(text[:4<<20])
		eventually(t, "the peer's reading is seen", func() bool { return progress() > before })
		s.receive(text[4<<20:])
	})
}

// Unsent is asked without effect where nothing is written.
func TestConnUnsentLeavesWritesAlone(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.start(t, echoes)
		stop := make(chan bool)
		var looking sync.WaitGroup
		looking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.Unsent()
					runtime.Gosched()
				}
			}
		})
		for range 200 {
			s.send("abc")
			s.receive([]byte("abc"))
		}
		text := bytesOf(1 << 20)
		s.write(text, false)
		s.receive(text)
		close(stop)
		looking.Wait()
		eventually(t, "all has arrived", func() bool { return s.Unsent() == 0 })
	})
}

// Each call of Writable has something to report, however often Unsent looks at a write
// that is stalled.
func TestConnWritableOnlyOnProgress(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.start(t, echoes)
		text := bytesOf(8 << 20)
		s.write(text, false)
		for _, part := range [][]byte{text[:1000], text[1000 : 4<<20], text[4<<20:]} {
			for range 200 {
				s.Unsent()
				runtime.Gosched()
			}
			s.receive(part)
		}
		if n := s.vain.Load(); n > 0 {
			t.Errorf("%d calls of Writable without progress", n)
		}
	})
}

func TestConnLook(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.make(t, echoes)
		var p [100]byte
		if n, drained, err := s.Look(p[:]); n != 0 || !drained || err != nil {
			t.Errorf("nothing is there: %d, %t, %v", n, drained, err)
		}
		s.send("hello")
		eventually(t, "Look finds it", func() bool {
			n, _, err := s.Look(p[:])
			return err == nil && string(p[:n]) == "hello"
		})
		s.Read(p[:]) // or the input is not drained
		s.begin()
		s.send("echo") // no deadline is left that would end the wait
		s.receive([]byte("echo"))
	})
}

func TestConnLookSeesTheEnd(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.make(t, echoes)
		s.peer.Close()
		var p [100]byte
		eventually(t, "Look sees the end", func() bool { _, _, err := s.Look(p[:]); return err == io.EOF })
		if _, drained, err := s.Read(p[:]); drained || err != io.EOF {
			t.Errorf("after that Read returns %t, %v", drained, err)
		}
		s.begin()
	})
}

func TestConnDiscard(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		var discarded atomic.Int64
		var ended atomic.Bool
		s := tr.start(t, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			for {
				n := s.Discard(10000)
				discarded.Add(int64(n))
				if n == 0 {
					break
				}
			}
			if ev&eventloop.Woken == 0 {
				return false
			}
			if _, _, err := s.Read(make([]byte, 1)); err == io.EOF {
				ended.Store(true)
			}
			return false
		})
		const size = 1 << 20
		if _, err := s.peer.Write(bytesOf(size)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all is discarded", func() bool { return discarded.Load() == size })
		s.peer.Close()
		eventually(t, "the end is seen", func() bool { s.Wake(); return ended.Load() })
	})
}

// Reset while a write waits: the write fails, the peer sees it, and Ready is called.
func TestConnResetWhileAWriteWaits(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan report, 100)
		s := tr.start(t, reports(got))
		s.write(bytesOf(8<<20), false)
		s.Reset()
		for await(t, "Woken", got).ev&eventloop.Woken == 0 { // Hup may come before
		}
		s.flush(false)
		if tr.portable() {
			eventually(t, "the write fails", func() bool { _, _, err := s.state(); return err != nil })
		}
		if tr.resets {
			if _, err := io.Copy(io.Discard, s.peer); !netconn.IsReset(err) {
				t.Errorf("the peer reads %v, want a reset", err)
			}
		}
		if known := s.LocalAddr(&net.UnixAddr{Name: "known"}); known == nil {
			t.Error("no local address after Reset")
		}
		if n := s.Unsent(); tr.add != nil && n != 0 {
			t.Errorf("%d bytes unsent after Reset", n)
		}
		if !s.Acknowledged() {
			t.Error("something to wait for after Reset")
		}
	})
}

// Discard reads no end of the stream, and brings no event for it again and again.
func TestConnDiscardDoesNotSpinAtTheEnd(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		seen := make(chan eventloop.Event, 10)
		s := tr.start(t, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			s.Discard(1000)
			seen <- ev
			return false
		})
		s.send("a")
		await(t, "In", seen)
		s.send("b")
		await(t, "In after all was discarded", seen)
		s.peer.Close()
		await(t, "the end", seen)
		quiet(t, s, seen, "after the end")
	})
}

// A socket that has room already when WatchOut is called gets its Writable.
func TestConnWatchOutWithRoom(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		if tr.waits {
			t.Skip("there is no such room")
		}
		s := tr.start(t, echoes)
		if err := s.WatchOut(false); err != nil {
			t.Fatal(err)
		}
		eventually(t, "Writable", func() bool { return s.outs.Load() > 0 })
	})
}

func TestConnCloseWrite(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan report, 10)
		s := tr.start(t, reports(got))
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := s.peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the peer reads %d, %v", n, err)
		}
		s.send("a")
		if r := await(t, "In", got); r.text != "a" {
			t.Errorf("after CloseWrite: %+v", r)
		}
	})
}

// Err tells of a reset once; Read does not fail with it then.
func TestConnErr(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		if !tr.resets || !isUnix {
			t.Skip("no reset")
		}
		s := tr.make(t, echoes)
		if err := s.Err(); err != nil {
			t.Errorf("at first: %v", err)
		}
		netconn.Reset(s.peer)
		var err error
		eventually(t, "Err tells", func() bool { err = s.Err(); return err != nil })
		if !netconn.IsReset(err) {
			t.Errorf("Err returns %v, want a reset", err)
		}
		s.begin()
	})
}

// Remove leaves a connection that works both ways, without a deadline, whatever Wake does.
func TestPortableRemove(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		if !tr.portable() {
			t.Skip("there is no net.Conn")
		}
		for range 20 {
			conn, peer := tr.pair(t)
			removed := make(chan string, 1)
			s := tr.serve(t, conn, peer, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
				if ev&eventloop.In == 0 {
					return false
				}
				var p [2]byte
				n, _, _ := s.Read(p[:])
				s.closed = true
				rest := s.Remove()
				select {
				case <-s.over:
					t.Error("it has ended before Ready")
				default:
				}
				removed <- string(p[:n]) + string(rest)
				return false
			})
			s.Start()
			stop := make(chan bool)
			var waking sync.WaitGroup
			waking.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						s.Wake()
						runtime.Gosched()
					}
				}
			})
			s.send("hello")
			text := await(t, "Remove", removed)
			await(t, "the end of the goroutines", s.over)
			for len(text) < 5 {
				var p [5]byte
				n, err := conn.Read(p[:])
				if err != nil {
					t.Fatalf("read %v after %q", err, text)
				}
				text += string(p[:n])
			}
			if text != "hello" {
				t.Fatalf("read %q, want hello", text)
			}
			go func() { io.Copy(conn, conn); conn.Close() }()
			for range 10 {
				s.send("abc")
				s.receive([]byte("abc"))
			}
			close(stop)
			waking.Wait()
			peer.Close()
		}
	})
}

// Remove ends the wait of a write, if that does not break the connection.
func TestPortableRemoveWhileAWriteWaits(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		if !tr.portable() || !tr.looks {
			t.Skip("there is no net.Conn, or none whose Write can be interrupted")
		}
		conn, peer := tr.pair(t)
		s := tr.serve(t, conn, peer, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			s.closed = true
			s.Remove()
			return false
		})
		s.Start()
		text := bytesOf(8 << 20)
		s.write(text, false)
		s.receive(text[:1000]) // the write is under way, more than the connection holds
		s.Wake()
		await(t, "the end of the goroutines", s.over)
		go conn.Write([]byte("the end"))
		got := bytesOf(1000)
		p := make([]byte, 64<<10)
		for !bytes.HasSuffix(got, []byte("the end")) {
			n, err := peer.Read(p)
			if err != nil {
				t.Fatalf("read %v", err)
			}
			got = append(got, p[:n]...)
		}
		if !bytes.HasPrefix(text, got[:len(got)-7]) {
			t.Error("what was written is not a beginning of what was to be written")
		}
		conn.Close()
		peer.Close()
	})
}

// Close and Remove before Start end the Portable at once.
func TestPortableThatNeverStarts(t *testing.T) {
	conn, peer := tcptest.Pipe()
	ended := 0
	p := eventloop.NewPortable(conn, &served{t: t}, func() { ended++ })
	p.SetTimer(p.Now() + int64(time.Hour))
	p.Remove()
	if p.Wake(); ended != 1 {
		t.Errorf("ended %d times", ended)
	}
	p = eventloop.NewPortable(conn, &served{t: t}, func() { ended++ })
	p.Close()
	p.Close()
	if ended != 2 {
		t.Errorf("ended %d times", ended)
	}
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the peer reads %d, %v", n, err)
	}
}

func TestConnTimer(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.make(t, echoes)
		expired := make(chan int64, 10)
		s.expired = func() { expired <- s.Now() }
		s.begin()
		if s.Now() <= 0 {
			t.Error("Now is not positive")
		}
		s.SetTimer(s.Now() + int64(time.Hour))
		for range 2 {
			due := s.Now() + int64(30*time.Millisecond)
			s.SetTimer(due)
			if at := await(t, "Expired", expired); at < due {
				t.Errorf("%v early", time.Duration(due-at))
			}
		}
		s.SetTimer(s.Now() + int64(50*time.Millisecond))
		s.SetTimer(0)
		due := s.Now() + int64(60*time.Millisecond)
		s.SetTimer(due)
		if at := await(t, "Expired", expired); at < due || len(expired) > 0 {
			t.Errorf("Expired %v early, %d times more", time.Duration(due-at), len(expired))
		}
	})
}

// In a bubble all of it works by the bubble's clock, and nothing is left.
func TestPortableInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := tcptest.PipeSize(1000)
		s := transport{}.serve(t, conn, peer, echoes)
		var expired time.Duration
		begin := time.Now()
		s.expired = func() { expired = time.Since(begin) }
		s.Start()
		s.SetTimer(s.Now() + int64(time.Hour))
		s.send("a")
		s.receive([]byte("a"))
		text := bytesOf(10000)
		s.write(text, false)
		s.receive(text)
		s.peer.SetDeadline(time.Time{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if expired != time.Hour {
			t.Errorf("expired after %v, want an hour", expired)
		}
		s.SetTimer(s.Now() + int64(time.Hour))
		s.end()
	})
}

// noting is a net.Conn that notes which goroutine calls Write.
type noting struct {
	net.Conn
	writer atomic.Value
}

func (n *noting) Write(p []byte) (int, error) {
	n.writer.Store(goroutine())
	return n.Conn.Write(p)
}

func goroutine() string {
	var p [64]byte
	text := p[:runtime.Stack(p[:], false)]
	return string(text[:bytes.IndexByte(text, '[')])
}

// A reply costs no goroutine: the serving one writes it after Ready.
func TestOverlappedReplyIsWrittenByTheServingGoroutine(t *testing.T) {
	conn, peer := tcptest.Pipe()
	n := &noting{Conn: conn}
	serves := make(chan string, 1)
	s := transport{}.serve(t, n, peer, func(s *served, w *eventloop.Worker, ev eventloop.Event) bool {
		if ev&eventloop.In != 0 {
			serves <- goroutine()
		}
		return echoes(s, w, ev)
	})
	s.begin()
	for range 10 {
		s.send("a")
		s.receive([]byte("a"))
		if a, b := <-serves, n.writer.Load(); a != b {
			t.Errorf("%v serves, %v writes", a, b)
		}
	}
}

// Worker.Local must not keep a buffer where the goroutine waits with its connection.
func TestWorkerKeeps(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		keeps := make(chan [2]bool, 1)
		s := tr.start(t, func(_ *served, w *eventloop.Worker, _ eventloop.Event) bool {
			keeps <- [2]bool{w.Keeps(), w.InLoop()}
			return false
		})
		s.Wake()
		if got, want := await(t, "Ready", keeps), !tr.portable(); got != [2]bool{want, want} {
			t.Errorf("Keeps and InLoop are %v, want %t", got, want)
		}
	})
}

// A message over a socket allocates nothing.
func TestConnPingPongAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	overTransports(t, func(t *testing.T, tr transport) {
		if tr.waits {
			t.Skip("Read and Write allocate, or not, as they like")
		}
		var p [100]byte
		s := tr.start(t, func(s *served, _ *eventloop.Worker, _ eventloop.Event) bool {
			for {
				n, drained, _ := s.Read(p[:])
				if n > 0 {
					s.Write([3][]byte{p[:n/2], p[n/2 : n]})
				}
				if drained || n == 0 {
					return false
				}
			}
		})
		text, got := []byte("hello"), make([]byte, 5)
		if n := testing.AllocsPerRun(1000, func() {
			s.peer.Write(text)
			io.ReadFull(s.peer, got)
		}); n != 0 {
			t.Errorf("%v allocations for a message", n)
		}
	})
}

// A reset is told also to a handler that has left input unread, once. More input is not.
func TestConnBreaksUnread(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan eventloop.Event, 100)
		var tells atomic.Bool
		s := tr.start(t, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			if p, ok := s.Conn.(*eventloop.Portable); ok {
				tells.Store(p.TellsBreak())
			} else {
				tells.Store(true)
			}
			got <- ev
			return false
		})
		s.send("a")
		if ev := await(t, "In", got); ev != eventloop.In {
			t.Fatalf("after a byte: %v", ev)
		}
		if !tells.Load() || !tr.resets {
			t.Skip("nothing tells")
		}
		for range 3 {
			if s.send("b"); tr.portable() { // epoll may tell
				time.Sleep(10 * time.Millisecond)
			}
			s.Wake()
			if ev := await(t, "Woken", got); ev&eventloop.Woken == 0 && tr.portable() {
				t.Errorf("after more input: %v", ev)
			}
		}
		netconn.Reset(s.peer)
		for ev := eventloop.Event(0); ev&eventloop.Hup == 0; {
			ev = await(t, "Hup", got)
		}
		if err := s.Err(); !netconn.IsReset(err) {
			t.Errorf("Err: %v", err)
		}
		calls := s.calls.Load()
		time.Sleep(50 * time.Millisecond)
		if n := s.calls.Load() - calls; n > 1 {
			t.Errorf("%d calls of Ready after that", n)
		}
		s.Wake()
		await(t, "Woken", got)
	})
}
