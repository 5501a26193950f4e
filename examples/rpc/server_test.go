package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/examples/rpc/proto"
	"wireline/examples/rpc/rpcclient"
	"wireline/tcptest"
)

// defaults are those of the configuration.
var defaults = RPC{MaxMessage: proto.DefaultMax, MaxInFlight: 100, CallTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}

// serveInMemory serves the methods in memory.
func serveInMemory(t *testing.T, cfg RPC) *tcptest.Server {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s := tcptest.NewUnstartedServer(&newServer(cfg, quiet, false).frames)
	s.TCP.Config.Log = quiet
	s.Serve(tcptest.Listen())
	t.Cleanup(s.Close)
	return s
}

// say sends requests to conn as they are.
func say(t *testing.T, conn net.Conn, requests ...string) {
	t.Helper()
	var frames []byte
	for _, r := range requests {
		frames, _ = proto.Codec(0).Append(frames, []byte(r))
	}
	tcptest.Send(t, conn, string(frames))
}

// wantFrame demands that the next frame from conn is want.
func wantFrame(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	b, err := proto.Codec(0).Append(nil, []byte(want))
	if err != nil {
		t.Fatal(err)
	}
	tcptest.Receive(t, conn, string(b))
}

func TestProtocol(t *testing.T) {
	for _, test := range []struct{ request, answer string }{
		{`{"id":1,"method":"add","params":[1,2,39]}`, `{"id":1,"result":42}`},
		{`{"id":1,"method":"add"}`, `{"id":1,"error":{"code":"bad_params","message":"add wants numbers: unexpected end of JSON input"}}`},
		{`{"id":1,"method":"add","params":[1e308,1e308]}`, `{"id":1,"error":{"code":"bad_params","message":"the sum is too large"}}`},
		{`{"id":2,"method":"echo","params":{"a":[null]}}`, `{"id":2,"result":{"a":[null]}}`},
		{`{"id":3,"method":"ping"}`, `{"id":3,"result":null}`},
		{`{"id":18446744073709551615,"method":"ping"}`, `{"id":18446744073709551615,"result":null}`},
		{`{"id":4,"method":"none"}`, `{"id":4,"error":{"code":"unknown_method","message":"\"none\""}}`},
		{`{"id":5}`, `{"id":5,"error":{"code":"unknown_method","message":"\"\""}}`},
		{`{"method":"ping"}`, `{"error":{"code":"bad_request","message":"no id"}}`},
		{`[]`, `{"error":{"code":"bad_request","message":"json: cannot unmarshal array into Go value of type proto.Message"}}`},
		{`{`, `{"error":{"code":"bad_request","message":"unexpected end of JSON input"}}`},
		{`{"id":6,"method":"sleep","params":-1}`, `{"id":6,"error":{"code":"bad_params","message":"sleep wants milliseconds: json: cannot unmarshal number -1 into Go value of type uint32"}}`},
		{`{"id":7,"method":"sleep","params":60000}`, `{"id":7,"error":{"code":"timeout","message":"sleep has taken longer than 10s"}}`},
		{`{"id":8,"method":"stats"}`, `{"id":8,"result":{"clients":1,"calls":0,"failures":0}}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := serveInMemory(t, defaults).Dial()
			defer conn.Close()
			say(t, conn, test.request)
			wantFrame(t, conn, test.answer)
		})
	}
}

// An answer that is too long is a failure of its call only. What would be escaped in HTML comes back as
// it was sent.
func TestTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults
		cfg.MaxMessage = 1000
		conn := serveInMemory(t, cfg).Dial()
		defer conn.Close()
		say(t, conn, `{"id":1,"method":"sleep","params":1000}`)
		text := strings.Repeat("<", 500)
		say(t, conn, fmt.Sprintf(`{"id":2,"method":"echo","params":"%s"}`, text))
		wantFrame(t, conn, fmt.Sprintf(`{"id":2,"result":"%s"}`, text))
		say(t, conn, fmt.Sprintf(`{"id":3,"method":"%s"}`, strings.Repeat("m", 900)))
		wantFrame(t, conn, fmt.Sprintf(`{"id":3,"error":{"code":"unknown_method","message":"\"%s\""}}`, strings.Repeat("m", 100)))
		say(t, conn, fmt.Sprintf(`{"id":4,"method":"add","params":["%s"]}`, strings.Repeat("x", 900)))
		wantFrame(t, conn, `{"id":4,"error":{"code":"bad_params","message":"add wants numbers: json: cannot unmarshal string into Go value of type float64"}}`)
		say(t, conn, fmt.Sprintf(`{"id":5,"method":"sleep","params":1%s}`, strings.Repeat("0", 940)))
		wantFrame(t, conn, `{"id":5,"error":{"code":"too_large","message":"the answer is longer than 1000 bytes"}}`)
		text = strings.Repeat("<", 950)
		say(t, conn, fmt.Sprintf(`{"id":6,"method":"notify","params":"%s"}`, text))
		wantFrame(t, conn, fmt.Sprintf(`{"method":"notice","params":"%s"}`, text))
		wantFrame(t, conn, `{"id":6,"result":1}`)
		wantFrame(t, conn, `{"id":1,"result":1000}`)
	})
}

// Answers come when they are ready. Those of quick methods are in order.
func TestOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := serveInMemory(t, defaults).Dial()
		defer conn.Close()
		say(t, conn,
			`{"id":1,"method":"sleep","params":3000}`, `{"id":2,"method":"sleep","params":1000}`,
			`{"id":3,"method":"echo","params":"a"}`, `{"id":4,"method":"echo","params":"b"}`)
		tcptest.CloseWrite(t, conn) // answers that are owed come nevertheless
		for _, want := range []string{`{"id":3,"result":"a"}`, `{"id":4,"result":"b"}`, `{"id":2,"result":1000}`, `{"id":1,"result":3000}`} {
			wantFrame(t, conn, want)
		}
		tcptest.ReceiveAll(t, conn, "")
	})
}

// No more than MaxInFlight calls of a client run at the same time.
func TestMaxInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults
		cfg.MaxInFlight = 2
		conn := serveInMemory(t, cfg).Dial()
		defer conn.Close()
		begin := time.Now()
		for i := range 4 {
			say(t, conn, fmt.Sprintf(`{"id":%d,"method":"sleep","params":1000}`, i+1))
		}
		say(t, conn, `{"id":5,"method":"ping"}`)
		tcptest.CloseWrite(t, conn)
		var all [1000]byte
		n := 0
		for {
			m, err := conn.Read(all[n:])
			if n += m; err != nil {
				break
			}
		}
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// client connects a client over a socket.
func client(t *testing.T, cfg RPC, o rpcclient.Options) *rpcclient.Client {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s := tcptest.NewUnstartedServer(&newServer(cfg, quiet, false).frames)
	s.TCP.Config.Log = quiet
	s.Start()
	t.Cleanup(s.Close)
	c, err := rpcclient.Dial(t.Context(), "tcp", s.Addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestClient(t *testing.T) {
	c := client(t, defaults, rpcclient.Options{})
	var calls sync.WaitGroup
	for i := range 50 {
		calls.Go(func() {
			var got uint32
			if err := c.Call(t.Context(), "sleep", 50-i, &got); err != nil || got != uint32(50-i) {
				t.Errorf("sleep: %d, %v", got, err)
			}
			var sum float64
			if err := c.Call(t.Context(), "add", []int{i, 1}, &sum); err != nil || sum != float64(i+1) {
				t.Errorf("add: %v, %v", sum, err)
			}
		})
	}
	calls.Wait()
	var failure *proto.Error
	if err := c.Call(t.Context(), "none", nil, nil); !errors.As(err, &failure) || failure.Code != proto.CodeUnknownMethod {
		t.Errorf("error %v", err)
	}
	if err := c.Call(t.Context(), "", nil, nil); err == nil {
		t.Error("a call of no method")
	}
	if err := c.Call(t.Context(), "echo", func() {}, nil); err == nil {
		t.Error("a call with params that are no JSON")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Call(ctx, "sleep", 5000, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if s := c.Status(); s.Answers != 101 || s.Connects != 1 {
		t.Errorf("%+v", s)
	}
}

// With the limit of its server, a client takes longer messages than the default.
func TestLargerMessages(t *testing.T) {
	cfg := defaults
	cfg.MaxMessage = 3 * proto.DefaultMax
	c := client(t, cfg, rpcclient.Options{MaxMessage: cfg.MaxMessage})
	text, got := strings.Repeat("x", 2*proto.DefaultMax), ""
	if err := c.Call(t.Context(), "echo", text, &got); err != nil || got != text {
		t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
	}
}

// A notice comes to all clients.
func TestNotice(t *testing.T) {
	notices := make(chan string, 1)
	c := client(t, defaults, rpcclient.Options{OnNotice: func(params json.RawMessage) { notices <- string(params) }})
	var sent int
	if err := c.Call(t.Context(), "notify", "going down at noon", &sent); err != nil || sent != 1 {
		t.Errorf("%d, %v", sent, err)
	}
	select {
	case got := <-notices:
		if got != `"going down at noon"` {
			t.Errorf("notice %s", got)
		}
	case <-time.After(patience):
		t.Error("no notice")
	}
}
