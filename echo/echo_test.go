package echo_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wireline/echo"
	"wireline/handler"
	"wireline/tcptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// converse sends text and a FIN, and returns everything that comes back.
func converse(t *testing.T, cfg echo.Config, text string) string {
	t.Helper()
	s := tcptest.NewUnstartedServer(echo.New(cfg))
	ln := tcptest.Listen()
	ln.Buffer = 1 << 20
	s.Serve(ln)
	defer s.Close()
	conn, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	tcptest.Send(t, conn, text)
	tcptest.CloseWrite(t, conn)
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestEcho(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, test := range []struct {
		name string
		cfg  echo.Config
		in   string
		out  string
	}{
		{"empty", echo.Config{}, "", ""},
		{"lines with both ends", echo.Config{}, "a\nb\r\n\n\r\n", "a\nb\r\n\n\r\n"},
		{"last line without an end", echo.Config{}, "a\nb", "a\nb"},
		{"binary", echo.Config{}, "\x00\xff\n\xfe", "\x00\xff\n\xfe"},
		{"longest line", echo.Config{}, long + "\r\nb\n", long + "\r\nb\n"},
		{"too long", echo.Config{}, "a\n" + long + "x\nb\n", "a\nerror: line too long (max 65536 bytes)\n"},
		{"too long without an end", echo.Config{}, long + "x", "error: line too long (max 65536 bytes)\n"},
		{"own limit", echo.Config{MaxLine: 3}, "abc\nabcd\n", "abc\nerror: line too long (max 3 bytes)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := converse(t, test.cfg, test.in); got != test.out {
				t.Errorf("got %.100q, want %.100q", got, test.out)
			}
		})
	}
}

func TestTimeoutsAreSet(t *testing.T) {
	limit := handler.Limit{Frames: 1, FrameBurst: 2, Bytes: 3, ByteBurst: 4}
	h := echo.New(echo.Config{IdleTimeout: 1, FrameTimeout: 2, WriteTimeout: 3, ReadTimeout: 4, FirstFrameTimeout: 5, MaxLifetime: 6, Limit: limit})
	if h.IdleTimeout != 1 || h.FrameTimeout != 2 || h.WriteTimeout != 3 || h.ReadTimeout != 4 || h.FirstFrameTimeout != 5 || h.MaxLifetime != 6 || h.Limit != limit {
		t.Errorf("the handler is %+v", h)
	}
	synctest.Test(t, func(t *testing.T) {
		s := tcptest.NewUnstartedServer(echo.New(echo.Config{IdleTimeout: time.Hour}))
		s.Serve(tcptest.Listen())
		defer s.Close()
		conn := s.Dial()
		defer conn.Close()
		begin := time.Now()
		tcptest.ReceiveAll(t, conn, "")
		if idle := time.Since(begin); idle != time.Hour {
			t.Errorf("closed after %v, want an hour", idle)
		}
	})
}

// A new configuration of a running server holds for the clients that come later.
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echo.New(echo.Config{MaxLine: 10, IdleTimeout: time.Hour})
		s := tcptest.NewUnstartedServer(h)
		s.Serve(tcptest.Listen())
		defer s.Close()
		old := s.Dial()
		defer old.Close()
		tcptest.Send(t, old, "one\n")
		tcptest.Receive(t, old, "one\n")
		if err := h.Reconfigure(echo.New(echo.Config{MaxLine: 5, IdleTimeout: time.Minute})); err != nil {
			t.Fatal(err)
		}
		if err := h.Reconfigure(echo.New(echo.Config{IdleTimeout: -1})); err == nil {
			t.Error("a wrong timeout is accepted")
		}
		young, long := s.Dial(), s.Dial()
		defer young.Close()
		defer long.Close()
		tcptest.Send(t, long, "too long\n")
		tcptest.ReceiveAll(t, long, "error: line too long (max 5 bytes)\n")
		begin := time.Now()
		for _, conn := range []net.Conn{old, young} {
			tcptest.Send(t, conn, "two\n")
			tcptest.Receive(t, conn, "two\n")
		}
		tcptest.ReceiveAll(t, young, "")
		if idle := time.Since(begin); idle != time.Minute {
			t.Errorf("a new client is closed after %v, want a minute", idle)
		}
		time.Sleep(50 * time.Minute)
		tcptest.Send(t, old, "not long\n")
		tcptest.Receive(t, old, "not long\n")
	})
}

func TestValidate(t *testing.T) {
	if err := (&echo.Config{}).Validate(); err != nil {
		t.Errorf("Validate of the zero value: %v", err)
	}
	bad := echo.Config{
		MaxLine: -1, IdleTimeout: -1, FrameTimeout: -1, ReadTimeout: -1, FirstFrameTimeout: -1, MaxLifetime: -1,
		Limit: handler.Limit{Frames: -1, ByteBurst: 1},
	}
	err := bad.Validate()
	for _, name := range []string{"MaxLine", "IdleTimeout", "FrameTimeout", "ReadTimeout", "FirstFrameTimeout", "MaxLifetime", "Limit.Frames", "Limit.ByteBurst"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("no error for %s in: %v", name, err)
		}
	}
}
