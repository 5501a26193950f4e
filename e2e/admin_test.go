//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"wireline/internal/testutil"
)

// administered is a server with an admin side on a unix socket.
type administered struct {
	*process
	side string // its admin.address
	http *http.Client
}

// metrics returns those of wireline, by name and labels.
func (a *administered) metrics() map[string]float64 {
	a.t.Helper()
	status, body := a.get("/metrics")
	if status != http.StatusOK {
		a.t.Fatalf("GET /metrics: %d %s", status, body)
	}
	return testutil.Metrics(a.t, body, "wireline_")
}

func startAdministered(t *testing.T, args ...string) *administered {
	t.Helper()
	a := newAdministered(t)
	a.process = start(t, append([]string{"--admin.address=" + a.side}, args...)...)
	return a
}

// newAdministered returns what reaches the admin side of a process that is to be started.
func newAdministered(t *testing.T) *administered {
	t.Helper()
	path := testutil.SocketPath(t)
	return &administered{side: "unix:" + path, http: &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// get asks the admin side.
func (a *administered) get(path string) (status int, body string) {
	a.t.Helper()
	return a.do("GET", path)
}

func (a *administered) do(method, path string) (status int, body string) {
	a.t.Helper()
	r, err := http.NewRequest(method, "http://localhost"+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := a.http.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// command runs a command of wireline, and returns its output and exit code.
func (a *administered) command(args ...string) (out string, code int) {
	a.t.Helper()
	cmd := exec.Command("wireline", append(args, "--admin.address="+a.side)...)
	cmd.Env = environment()
	b, _ := cmd.CombinedOutput()
	return string(b), cmd.ProcessState.ExitCode()
}

// An operator looks at a server, ends a client, changes the level of the log, and stops it, with
// the balancer told first.
func TestAdmin(t *testing.T) {
	a := startAdministered(t, "--tcp.grace_delay=1h")
	conn := a.dial()
	echoes(t, conn, "hello\n")
	if status, body := a.get("/readyz"); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, body)
	}
	if _, body := a.get("/metrics"); !strings.Contains(body, `wireline_frames_total{direction="in",service="default"} 1`) ||
		!strings.Contains(body, "process_open_fds") {
		t.Errorf("the metrics are\n%s", body)
	}
	if _, body := a.get("/api/config"); !strings.Contains(body, `{"key":"tcp.grace_delay","value":"1h","source":"flag --tcp.grace_delay"}`) {
		t.Errorf("the configuration is\n%s", body)
	}
	if out, code := a.command("connections"); code != exitOK || !strings.Contains(out, conn.LocalAddr().String()) {
		t.Errorf("connections: exit code %d\n%s", code, out)
	}
	if out, code := a.command("kill", "default/1"); code != exitOK || out != "1 ended\n" {
		t.Errorf("kill: exit code %d\n%s", code, out)
	}
	receiveRest(t, conn, "")
	conn.Close()
	a.await("reason", "kicked")
	if out, code := a.command("kill", "default/1"); code != exitFailed || !strings.Contains(out, "wireline: ") || !strings.Contains(out, "no such connection") {
		t.Errorf("kill of one that has ended: exit code %d\n%s", code, out)
	}
	r, _ := http.NewRequest("PUT", "http://localhost/api/log", strings.NewReader(`{"level":"debug"}`))
	resp, err := a.http.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the level of the log: %v, %v", resp, err)
	}
	resp.Body.Close()
	a.dial().Close()
	a.await("msg", "connection") // of a probe, at debug
	a.signal(syscall.SIGTERM)
	a.await("msg", "draining")
	if status, body := a.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz in the grace delay: %d %s", status, body)
	}
	late := a.dial()
	echoes(t, late, "new in the grace delay\n")
	late.Close()
	a.signal(syscall.SIGTERM)
	if code := a.wait(); code != exitOK && code != exitFailed { // the late client may be cut
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(strings.TrimPrefix(a.side, "unix:")); !os.IsNotExist(err) {
		t.Errorf("the socket of the admin side is left: %v", err)
	}
}

// What is wrong with the admin side is told with its key, and nothing is served.
func TestAdminErrors(t *testing.T) {
	taken := testutil.Listen(t, "tcp", "127.0.0.1:0")
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("two words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string]string{
		"admin.address: flag --admin.address: \"" + taken.Addr().String() + "\" cannot be bound": "--admin.address=" + taken.Addr().String(),
		"admin.address: flag --admin.address: \"0.0.0.0:0\" needs admin.token":                   "--admin.address=0.0.0.0:0",
		"admin.tls.key: ": "--admin.tls.cert=x",
		"admin.address: flag --admin.address: \"127.0.0.1:7\" is an address of tcp.address, :7": "--admin.address=127.0.0.1:7 --tcp.address=:7",
		"admin.token_file: flag --admin.token_file: \"/missing\" ":                              "--check --admin.address=127.0.0.1:0 --admin.token_file=/missing",
		"token": "--admin.address=127.0.0.1:0 --admin.token_file=" + secret,
	} {
		p := launch(t, "wireline", append([]string{"--tcp.address=127.0.0.1:0"}, strings.Fields(args)...)...)
		if code := p.wait(); code != exitUsage || !strings.Contains(p.stderr.String(), want) || strings.Contains(p.stderr.String(), "two words") {
			t.Errorf("%s: exit code %d\n%s", args, code, p.stderr.String())
		}
		if strings.Contains(p.stderr.String(), "msg=listening") {
			t.Errorf("%s: it has listened", args)
		}
	}
	for args, code := range map[string]int{"top": exitFailed, "kill --nothing": exitUsage, "connections x": exitUsage, "top --help": exitOK} {
		p := launch(t, "wireline", strings.Fields(args)...)
		if got := p.wait(); got != code {
			t.Errorf("%s: exit code %d, want %d", args, got, code)
		}
	}
}

// top in a terminal shows one screen after the other, and ends with q.
func TestTopInATerminal(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("script (package bsdutils) is not installed")
	}
	a := startAdministered(t)
	conn := a.dial()
	echoes(t, conn, "hello\n")
	command := fmt.Sprintf("stty rows 24 cols 100; exec wireline top --every=200ms --admin.address=%s", a.side)
	keys, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer typed.Close()
	p := launchWith(t, keys, "script", "-qec", command, "/dev/null")
	keys.Close()
	p.awaitIn(&p.stdout, "default/1", 2)
	typed.WriteString("s")
	p.awaitIn(&p.stdout, "sorted by -age", 1)
	typed.WriteString("q")
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	screen := p.stdout.String()
	if !strings.Contains(screen, "\x1b[?1049h") || !strings.HasSuffix(strings.TrimSpace(screen), "\x1b[?1049l") {
		t.Errorf("the terminal is not left as it was: %q", screen[max(0, len(screen)-200):])
	}
	plain := strings.NewReplacer("\x1b[K", "", "\x1b[J", "", "\x1b[H", "\r\n").Replace(screen)
	for line := range strings.SplitSeq(plain, "\r\n") {
		if n := len([]rune(line)); n > 100+len("\x1b[?1049h\x1b[?25l\x1b[?7l") {
			t.Errorf("a line of %d characters: %q", n, line)
		}
	}
}

// Under a stream of requests to the admin side, clients are served as ever.
func TestAdminUnderLoad(t *testing.T) {
	skipShort(t)
	a := startAdministered(t)
	stop := make(chan struct{})
	asked := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				asked <- n
				return
			default:
			}
			resp, err := a.http.Get("http://localhost/metrics")
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			n++
		}
	}()
	conn := a.dial()
	const lines = 2000
	for range lines {
		echoes(t, conn, "ping\n")
	}
	close(stop)
	if n := <-asked; n == 0 {
		t.Error("nobody has asked for metrics")
	}
	var answer struct {
		Services []struct {
			FramesIn int `json:"frames_in"`
		}
	}
	_, body := a.get("/api/services")
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Services[0].FramesIn != lines {
		t.Errorf("%v in %s", err, body)
	}
	conn.Close()
	a.stop()
}
