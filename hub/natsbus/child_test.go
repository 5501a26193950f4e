package natsbus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// childEnv has a process of the test binary do something else than test: it is "server" or "app". The
// arguments are in childArgs, with spaces between them.
const (
	childEnv  = "NATSBUS_TEST_CHILD"
	childArgs = "NATSBUS_TEST_ARGS"
)

// runChild runs until its standard input ends, which it does with the parent.
func runChild(what string) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	args := strings.Fields(os.Getenv(childArgs))
	var err error
	if what == "server" {
		err = (&natsbus.Embedded{Listen: args[0], StoreDir: args[1]}).Start()
	} else {
		err = startApp(args[0], args[1], args[2])
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// app is a process with clients: a server of lines, a hub and a bus.
type app struct{ hub *hub.Hub }

// startApp starts an app. Without a lease, it uses core NATS.
func startApp(address, url, lease string) error {
	bus := &natsbus.Bus{URL: url, Heartbeat: 200 * time.Millisecond, Timeout: 2 * time.Second}
	length, err := time.ParseDuration(lease)
	if err != nil {
		return err
	}
	if length > 0 {
		bus.JetStream = &natsbus.JetStream{Lease: length}
	}
	a := &app{&hub.Hub{Second: hub.KickFirst, ID: requestID, Bus: bus}}
	if err := a.hub.Start(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &tcp.Server{Handler: &handler.Frames{OnFrame: a.serve}}
	go server.Serve(context.Background(), ln)
	return nil
}

// requestID finds the id in "ask ID" and "ans ID".
func requestID(frame []byte) (string, bool) {
	word, id, ok := strings.Cut(string(frame), " ")
	return id, ok && (word == "ask" || word == "ans")
}

// serve serves "join KEY", "enter ROOM", "pub ROOM TEXT", "send ID KEY", "req ID KEY" and "ans ID". It
// answers "joined", and "res ID ok" or "res ID ERROR".
func (a *app) serve(c *handler.Client, line []byte) error {
	words := append(strings.SplitN(string(line), " ", 3), "", "")
	ctx := c.Context()
	switch words[0] {
	case "join":
		if err := a.hub.Join(c, words[1]); err != nil {
			return err // the client tries again
		}
		return c.WriteFrame([]byte("joined"))
	case "enter":
		return a.hub.Enter(c, words[1])
	case "pub":
		a.hub.Publish(ctx, words[1], []byte("m "+words[2])) // what is lost while NATS is away is seen as a gap
		return nil
	case "ans":
		a.hub.Answer(c, line)
		return nil
	}
	c.Go(func(context.Context) error { // the client may have to answer meanwhile
		return c.WriteFrame(fmt.Appendf(nil, "res %s %s", words[1], a.ask(ctx, words)))
	})
	return nil
}

// ask serves "send" and "req". It returns "ok" or the text of the error.
func (a *app) ask(ctx context.Context, words []string) string {
	var err error
	if words[0] == "send" {
		err = a.hub.Send(ctx, words[2], []byte("s "+words[1]))
	} else {
		_, err = a.hub.Request(ctx, words[2], []byte("ask "+words[1]))
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// child is a process that the test can kill and start again.
type child struct {
	what, args string
	cmd        *exec.Cmd
	stdin      io.Closer
}

func newChild(t *testing.T, what string, args ...string) *child {
	t.Helper()
	p := &child{what: what, args: strings.Join(args, " ")}
	p.start(t)
	t.Cleanup(p.kill)
	return p
}

// start starts the process, and waits until it serves.
func (p *child) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), childEnv+"="+p.what, childArgs+"="+p.args)
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s %s: %s", p.what, p.args, line)
	}
}

// kill ends the process without a warning.
func (p *child) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.stdin.Close()
}

// freeAddress returns an address at which nobody listens, and that nobody else gets.
func freeAddress(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + testutil.FreePort(t)
}
