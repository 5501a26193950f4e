package admin_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"wireline/admin"
	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/tcp"
)

// Start serves until stop is called. stop waits for a request that is under way.
func TestStart(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no unix sockets in tests on Windows")
	}
	path := testutil.SocketPath(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	s := &admin.Server{
		Config: admin.Config{Address: "unix:" + path},
		Extra: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(arrived)
			<-release
			io.WriteString(w, "done")
		}),
		Log: slog.New(slog.DiscardHandler),
	}
	stop, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	conn := testutil.Dial(t, "unix", path)
	io.WriteString(conn, "GET /slow HTTP/1.0\r\nHost: localhost\r\n\r\n")
	testutil.Await(t, "the request", arrived)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	close(release)
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "done") {
		t.Errorf("%q, %v", answer, err)
	}
	testutil.Await(t, "the end", stopped)
	stop()
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		t.Error("it listens after stop")
	}
}

func TestStartWithoutAddress(t *testing.T) {
	stop, err := new(admin.Server).Start()
	if err != nil {
		t.Fatal(err)
	}
	stop()
}

// An address that is in use is a StartError that has the field.
func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := &admin.Server{Config: admin.Config{Address: taken.Addr().String()}}
	_, err = s.Start()
	var start *tcp.StartError
	var bad *field.Error
	if !errors.As(err, &start) || !errors.As(err, &bad) || bad.Field != "Address" {
		t.Errorf("%T: %v", err, err)
	}
}
