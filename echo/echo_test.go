package echo_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wireline/echo"
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
	h := echo.New(echo.Config{IdleTimeout: 1, FrameTimeout: 2, WriteTimeout: 3})
	if h.IdleTimeout != 1 || h.FrameTimeout != 2 || h.WriteTimeout != 3 {
		t.Errorf("the timeouts are %v, %v, %v, want 1ns, 2ns, 3ns", h.IdleTimeout, h.FrameTimeout, h.WriteTimeout)
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

func TestValidate(t *testing.T) {
	if err := (&echo.Config{}).Validate(); err != nil {
		t.Errorf("Validate of the zero value: %v", err)
	}
	bad := echo.Config{MaxLine: -1, IdleTimeout: -1, FrameTimeout: -1, WriteTimeout: -1}
	err := bad.Validate()
	for _, name := range []string{"MaxLine", "IdleTimeout", "FrameTimeout", "WriteTimeout"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("no error for %s in: %v", name, err)
		}
	}
}
