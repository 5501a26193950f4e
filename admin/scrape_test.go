package admin_test

import (
	"net"
	"net/http/httptest"
	"testing"

	"wireline/admin"
	"wireline/echo"
	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// benchConnections is how many clients a benchmark has.
const benchConnections = 15_000

// crowd starts a server with so many clients in memory.
func crowd(b *testing.B) *admin.Server {
	h := echo.New(echo.Config{})
	h.OnRecord = func(handler.Record) {}
	server := &tcp.Server{Handler: h}
	ln := tcptest.Listen()
	done := make(chan error)
	go func() { done <- server.Serve(b.Context(), ln) }()
	var conns []net.Conn
	for range benchConnections {
		conn, err := ln.Dial()
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, conn)
	}
	testutil.Eventually(b, "the clients", func() bool { return h.Totals().Open() == benchConnections })
	b.Cleanup(func() {
		for _, conn := range conns {
			conn.Close()
		}
		server.Close()
		<-done
	})
	return &admin.Server{Servers: []*tcp.Server{server}}
}

func benchmarkGet(b *testing.B, path string) {
	s := crowd(b)
	for b.Loop() {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost"
		r = r.WithContext(overLoopback(r.Context()))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

func BenchmarkScrape(b *testing.B)      { benchmarkGet(b, "/metrics") }
func BenchmarkConnections(b *testing.B) { benchmarkGet(b, "/api/connections?sort=-rate&limit=1000") }
