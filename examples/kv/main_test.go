package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"-h", exitOK, "-max-value"},
		{"-nosuch", exitUsage, "-nosuch"},
		{"rest", exitUsage, `unexpected argument "rest"`},
		{"-max-value 0", exitUsage, "-max-value must be"},
		{"-max-value 536870913", exitUsage, "-max-value must be"},
		{"-max-command -1", exitUsage, "-max-command must be"},
		{"-max-command 1073741825", exitUsage, "-max-command must be"},
		{"-max-args 0", exitUsage, "-max-args must be"},
		{"-frame-timeout -1s", exitUsage, "must not be negative"},
		{"-idle-timeout -1s", exitUsage, "must not be negative"},
		{"-write-timeout -1s", exitUsage, "must not be negative"},
		{"-max-clients -1", exitUsage, "MaxClients"},
		{"-addr nonsense", exitUsage, "nonsense"},
	} {
		var stderr strings.Builder
		if code := run(strings.Fields(test.args), &stderr); code != test.code || !strings.Contains(stderr.String(), test.says) {
			t.Errorf("kv %s exits with %d and prints %q", test.args, code, stderr.String())
		}
	}
}

func TestFlags(t *testing.T) {
	o, err := parseFlags(strings.Fields("-addr :1 -max-clients 2 -max-value 3 -max-command 4 -idle-timeout 5s -write-timeout 6s -max-args 7 -frame-timeout 8s -log-connections"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.tcp.Address != ":1" || o.tcp.MaxClients != 2 || o.codec != (Codec{MaxArgs: 7, MaxBulk: 3, MaxCommand: 4}) ||
		o.idleTimeout != 5*time.Second || o.writeTimeout != 6*time.Second || o.frameTimeout != 8*time.Second || !o.connections {
		t.Errorf("options %+v", o)
	}
}

// The README has a line for each flag, with its default.
func TestReadmeFlags(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var o options
	n := 0
	o.flags(io.Discard).VisitAll(func(f *flag.Flag) {
		n++
		want := fmt.Sprintf("\n| `-%s` | `%s` | ", f.Name, f.DefValue)
		if !strings.Contains(string(readme), want) {
			t.Errorf("no %q in the README", want)
		}
	})
	if lines := strings.Count(string(readme), "\n| `-"); lines != n {
		t.Errorf("%d lines for %d flags", lines, n)
	}
}

// The program serves, ends cleanly, and logs that.
func TestProgram(t *testing.T) {
	p := startProgram(t, "-log-connections", "-max-value", "5", "-idle-timeout", "100ms")
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, conn, "PING\r\n*1\r\n$6\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n")
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
		t.Errorf("after the error: %q, %v", rest, err)
	}
	conn.Close()
	silent, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetDeadline(time.Now().Add(patience))
	if all, err := io.ReadAll(silent); len(all) > 0 || err != nil {
		t.Errorf("idle: %q, %v", all, err)
	}
	said := p.stop()
	for _, want := range []string{"msg=listening", `reason=frame_error`, "invalid bulk length", `reason=idle_timeout`, "msg=drained"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %s in %q", want, said)
		}
	}
}
