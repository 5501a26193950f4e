//go:build unix

package e2e

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"wireline/internal/testutil"
)

// halfClose are tools that send a FIN when their input ends. %h and %p stand for host and
// port, %s for the path of a socket.
var halfClose = []struct {
	tool tool
	args string
}{
	{openbsdNC, "-N %h %p"},
	{openbsdNC, "-N -U %s"},
	{ncat, "%h %p"},
	{ncat, "-U %s"},
	{socat, "-t 20 - TCP:%h:%p"}, // -t is how long socat reads after the end of its input
	{socat, "-t 20 - UNIX-CONNECT:%s"},
}

func TestToolHalfCloses(t *testing.T) {
	t.Parallel()
	for _, test := range halfClose {
		t.Run(test.tool.name+" "+test.args, func(t *testing.T) {
			t.Parallel()
			path := need(t, test.tool)
			p, args := startFor(t, test.args)
			for _, input := range []string{"a\nb", "", "a\r\n\r\n", strings.Repeat("0123456789abcdef\n", 50_000) + "end"} {
				got, err := runTool(strings.NewReader(input), path, args...)
				if got != input || err != nil {
					t.Errorf("printed %s, %v; want %s", abridged(got), err, abridged(input))
				}
			}
			p.stop()
		})
	}
}

// keepOpen are tools that send no FIN. They go on until the server closes the connection.
var keepOpen = []struct {
	tool tool
	args string
}{
	{openbsdNC, "%h %p"},
	{openbsdNC, "-U %s"},
	{ncat, "--no-shutdown %h %p"},
	{ncat, "--no-shutdown -U %s"},
}

func TestToolKeepsOpen(t *testing.T) {
	t.Parallel()
	for _, test := range keepOpen {
		t.Run(test.tool.name+" "+test.args, func(t *testing.T) {
			t.Parallel()
			path := need(t, test.tool)
			p, args := startFor(t, test.args)
			client := launchTool(t, path, args...)
			client.send("a\nb")
			client.stdin.Close()
			client.awaitOutput("a\n")
			p.stop()
			if code := client.wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			if got, want := client.stdout.String(), "a\n"; got != want { // half a line gets no reply
				t.Errorf("printed %q, want %q", got, want)
			}
		})
	}
}

// A telnet session: the line comes back, and the server's shutdown ends the session.
func TestTelnet(t *testing.T) {
	t.Parallel()
	path := need(t, telnet)
	p, args := startFor(t, "%h %p")
	client := launchTool(t, path, args...)
	client.awaitOutput("Escape character is '^]'")
	client.send("hello\n")
	client.awaitOutput("hello\n")
	client.send("hello again\n")
	client.awaitOutput("hello again\n")
	p.stop()
	client.wait()
	if !strings.Contains(client.stderr.String()+client.stdout.String(), "Connection closed by foreign host.") {
		t.Errorf("printed %q and %q, want a message about the close", client.stdout.String(), client.stderr.String())
	}
	// The server receives only the lines: telnet ends each with \r\n, and negotiates no
	// options unless the server begins.
	record := p.await("msg", "connection")
	if record["bytes_in"] != "20" || record["bytes_out"] != "20" || record["frames_in"] != "2" {
		t.Errorf("record %v, want 20 bytes in two lines", record)
	}
}

// TOOL </dev/zero ends by itself, and prints the error line.
func TestToolFloods(t *testing.T) {
	t.Parallel()
	for _, test := range halfClose {
		t.Run(test.tool.name+" "+test.args, func(t *testing.T) {
			t.Parallel()
			path := need(t, test.tool)
			p, args := startFor(t, test.args)
			if got, want := floodBy(t, path, args...), "error: line too long (max 65536 bytes)\n"; got != want {
				t.Errorf("printed %s, want %q", abridged(got), want)
			}
			p.stop()
		})
	}
}

// startFor starts a server for args, and returns args with its address.
func startFor(t *testing.T, args string) (*process, []string) {
	t.Helper()
	if strings.Contains(args, "%s") {
		p := startUnix(t, testutil.SocketPath(t))
		return p, strings.Fields(strings.ReplaceAll(args, "%s", p.addr))
	}
	p := start(t)
	host, port := splitAddr(p.addr)
	return p, strings.Fields(strings.NewReplacer("%h", host, "%p", port).Replace(args))
}

func splitAddr(addr string) (host, port string) {
	host, port, _ = net.SplitHostPort(addr)
	return host, port
}

// runTool runs a tool to its end and returns its output.
func runTool(stdin io.Reader, path string, args ...string) (stdout string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = stdin
	b, err := cmd.Output()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(b), err
}

// floodBy runs a tool with /dev/zero as its input and returns its output. Its last write
// fails, so its exit code may be an error.
func floodBy(t *testing.T, path string, args ...string) string {
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Error(err)
		return ""
	}
	defer zero.Close()
	out, err := runTool(zero, path, args...)
	if err == context.DeadlineExceeded {
		t.Errorf("%s does not end", path)
	}
	return out
}

// toolProcess is a running tool with an open input.
type toolProcess struct {
	*process
	stdin io.WriteCloser
}

func launchTool(t *testing.T, path string, args ...string) *toolProcess {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	t.Cleanup(func() { w.Close() })
	return &toolProcess{launchWith(t, r, path, args...), w}
}

func (p *toolProcess) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, s); err != nil {
		p.t.Fatal(err)
	}
}
