package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/examples/gateway/protocol"
	"wireline/lib/logger"
	"wireline/tcptest"
)

// inMemory runs the program without ports, in a bubble in which time passes at once.
type inMemory struct {
	*running
	listener *tcptest.Listener
}

// bubble calls f with a program that has flags.
func bubble(t *testing.T, f func(t *testing.T, g *inMemory), flags ...string) {
	synctest.Test(t, func(t *testing.T) {
		first, err := load(append(flags, "--admin.token=s3cret"), nil) // the addresses in memory are not those of loopback
		if err != nil {
			t.Fatal(err)
		}
		journal := newJournal()
		log, err := logger.New(journal, first.cfg.Log)
		if err != nil {
			t.Fatal(err)
		}
		p := newProgram(first, nil, nil, log)
		devices, requests := tcptest.Listen(), tcptest.Listen()
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 2)
		go func() { served <- p.server.Serve(ctx, devices) }()
		go func() { served <- p.side.Serve(ctx, requests) }()
		t.Cleanup(func() {
			cancel()
			<-served
			<-served
			p.close()
		})
		g := &inMemory{&running{t: t, log: journal, http: "http://localhost", token: "s3cret"}, devices}
		g.client.Transport = &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return requests.DialContext(ctx) },
		}
		f(t, g)
	})
}

// connect connects a device, and logs it in if it has an id.
func (g *inMemory) connect(id string) *wire {
	g.t.Helper()
	conn, err := g.listener.Dial()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	w := &wire{protocol.NewConn(conn), g.t}
	if id != "" {
		w.send(protocol.Message{Type: protocol.Login, Payload: []byte(id)})
		w.expect(protocol.Welcome)
	}
	return w
}

// after checks how long ago begin was.
func after(t *testing.T, begin time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(begin); got < want || got > want+want/4 {
		t.Errorf("after %v, want %v", got, want)
	}
}

// A connection must log in in time: bytes alone do not help, nor does half a login.
func TestLateLogin(t *testing.T) {
	for name, sent := range map[string]string{"nothing": "", "half a login": unhex(t, "a55a 0009 01 00000001 7075")} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *inMemory) {
				begin := time.Now()
				w := g.connect("")
				tcptest.Send(t, w.Conn.Conn, sent)
				w.ends(protocol.Late)
				after(t, begin, 7*time.Second)
			}, "--devices.login_timeout=7s")
		})
	}
}

// Half a frame ends the connection; so does silence, after a heartbeat that nobody acknowledges.
func TestSilence(t *testing.T) {
	bubble(t, func(t *testing.T, g *inMemory) {
		begin := time.Now()
		half := g.connect("half")
		tcptest.Send(t, half.Conn.Conn, "\xa5\x5a\x00")
		half.ends(protocol.Late)
		after(t, begin, 10*time.Second)

		w := g.connect("pump")
		for range 100 { // acknowledges heartbeats, and says nothing else
			m := w.expect(protocol.Heartbeat)
			w.send(protocol.Message{Type: protocol.Ack, Sequence: m.Sequence})
		}
		begin = time.Now()
		w.expect(protocol.Heartbeat)
		w.ends(protocol.Silent)
		after(t, begin, 10*time.Minute)
		if status, _ := g.do("DELETE", "/devices/pump", ""); status != 404 {
			t.Errorf("it is still there: %d", status)
		}
	}, "--devices.silence=10m")
}

// A device that never answers: the request has its timeout, also one that is longer than those of the
// HTTP side. The device stays.
func TestNoAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, g *inMemory) {
		w := g.connect("pump")
		for query, timeout := range map[string]time.Duration{"": 5 * time.Second, "?timeout=1500ms": 1500 * time.Millisecond, "?timeout=1m": time.Minute} {
			begin := time.Now()
			status, body := g.do("POST", "/devices/pump/command"+query, "x")
			if status != 504 || !strings.Contains(body, "has not answered in time") {
				t.Errorf("%q: %d %s", query, status, body)
			}
			after(t, begin, timeout)
			w.expect(protocol.Command)
		}
		answer := g.command("pump/command?timeout=1m", "x")
		m := w.expect(protocol.Command)
		time.Sleep(59 * time.Second)
		w.answer(m, "at last")
		if got := <-answer; got != (response{200, "at last"}) {
			t.Error(got)
		}
	})
}

// A request whose body does not arrive is answered after the read timeout of the admin side.
func TestBodyStalls(t *testing.T) {
	bubble(t, func(t *testing.T, g *inMemory) {
		begin := time.Now()
		body, rest := io.Pipe()
		defer rest.Close()
		r := g.request("POST", "/devices/pump/command", "")
		r.Body, r.ContentLength = body, 10
		resp, err := g.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("status %d", resp.StatusCode)
		}
		after(t, begin, 10*time.Second)
	})
}

// When the caller goes away, the command ends at once.
func TestCallerGoesAway(t *testing.T) {
	bubble(t, func(t *testing.T, g *inMemory) {
		w := g.connect("pump")
		begin := time.Now()
		g.client.Timeout = time.Second
		go g.client.Do(g.request("POST", "/devices/pump/command?timeout=1m", "x"))
		w.expect(protocol.Command)
		if rest := g.log.await(t, "msg=command "); !strings.Contains(rest, "err=\"context canceled\"") {
			t.Errorf("the log has %s", rest)
		}
		after(t, begin, time.Second)
	})
}

// What a device sends faster than the limit is served later. Nothing is lost.
func TestLimit(t *testing.T) {
	bubble(t, func(t *testing.T, g *inMemory) {
		w := g.connect("boiler")
		begin := time.Now()
		for range 50 {
			w.send(protocol.Message{Type: protocol.Heartbeat})
		}
		for range 50 {
			w.expect(protocol.Ack)
		}
		after(t, begin, 4*time.Second)
	}, "--devices.limit.frames=10")
}
