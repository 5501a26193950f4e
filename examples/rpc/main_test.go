package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/config"
)

// patience limits how long a test waits.
const patience = 30 * time.Second

// TestMain makes the test binary act as the program, if a variable says so.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_ACT_AS_RPC") != "" {
		os.Unsetenv("TEST_ACT_AS_RPC")
		main()
	}
	goleak.VerifyTestMain(m)
}

// runs runs the program to its end, and returns its exit code and what it prints.
func runs(args string, environ ...string) (code int, printed string) {
	var out bytes.Buffer
	code = run(strings.Fields(args), environ, &out, &out)
	return code, out.String()
}

func TestConfiguration(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		args, environ string
		code          int
		says          string
	}{
		{"--help", "", exitOK, "--rpc.call_timeout DURATION"},
		{"--help", "", exitOK, "default 127.0.0.1:7100, env RPC_TCP_ADDRESS"},
		{"--check", "", exitOK, "configuration is good"},
		{"", "RPC_RPC_CALL_TIMEOUT=0s", exitUsage, `rpc.call_timeout: env RPC_RPC_CALL_TIMEOUT: "0s" must be positive`},
		{"--rpc.max_in_flight 0", "", exitUsage, "must be positive"},
		{"--rpc.max_message 1GiB", "", exitUsage, "must be between 1 and 512 MiB"},
		{"--rpc.idle_timeout 1ms", "", exitUsage, "must be a second or more"},
		{"--tcp.address " + taken.Addr().String(), "", exitUsage, "tcp.address: flag --tcp.address: "},
		{"--tcp.address 127.0.0.1:0 --admin.address " + taken.Addr().String(), "", exitUsage, "address already in use"},
		{"call --help", "", exitOK, "Usage: rpc call [flags] METHOD [PARAMS]"},
		{"call", "", exitUsage, "Usage: rpc call"},
		{"call --nonsense", "", exitUsage, "flag provided but not defined"},
		{"call echo {", "", exitUsage, "the params are not JSON"},
		{"call --address 127.0.0.1:1 ping", "", exitFailed, "connection refused"},
	} {
		var environ []string
		if test.environ != "" {
			environ = append(environ, test.environ)
		}
		if code, printed := runs(test.args, environ...); code != test.code || !strings.Contains(printed, test.says) {
			t.Errorf("%s %s: exit code %d, want %d; printed\n%s\nwant %s", test.environ, test.args, code, test.code, printed, test.says)
		}
	}
}

// program is the test binary as the program, running.
type program struct {
	t           *testing.T
	cmd         *exec.Cmd
	log         *bufio.Scanner
	kill        *time.Timer
	addr, admin string // where it listens
}

// start starts the program on free ports.
func start(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(os.Args[0], "--tcp.address=127.0.0.1:0", "--admin.address=127.0.0.1:0")}
	p.cmd.Env = append(os.Environ(), "TEST_ACT_AS_RPC=1")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.kill = time.AfterFunc(patience, func() { p.cmd.Process.Kill() }) // this ends the log too
	t.Cleanup(func() {
		p.kill.Stop()
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	p.log = bufio.NewScanner(stderr)
	for p.addr == "" || p.admin == "" {
		if !p.log.Scan() {
			t.Fatal("the log does not say where the program listens")
		}
		if _, rest, ok := strings.Cut(p.log.Text(), "msg=listening addr="); ok {
			p.addr, _, _ = strings.Cut(rest, " ")
		}
		if _, rest, ok := strings.Cut(p.log.Text(), "msg=admin addr="); ok {
			p.admin, _, _ = strings.Cut(rest, " ")
		}
	}
	return p
}

// stop stops the program, which must end in good order.
func (p *program) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	for p.log.Scan() {
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Error(err)
	}
}

// The admin side has the metrics. The program stops when it is told to.
func TestProgram(t *testing.T) {
	p := start(t)
	if code, printed := runs("call --address " + p.addr + " add [1,2]"); code != exitOK || printed != "3\n" {
		t.Errorf("add: exit code %d, printed %s", code, printed)
	}
	c := http.Client{Timeout: patience}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := `wireline_frames_total{direction="in",service="default"} 1`; err != nil || !strings.Contains(string(metrics), want) {
		t.Errorf("no %s in the metrics, %v:\n%s", want, err, metrics)
	}
	p.stop()
}

// readme returns the README.
func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The README has the table that config writes.
func TestReadmeTable(t *testing.T) {
	text := readme(t)
	var table strings.Builder
	if err := config.Table(&table, new(Config), options(nil, nil)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(table.String()) {
		if strings.HasPrefix(line, "| `rpc.") && !strings.Contains(text, line) {
			t.Errorf("README.md lacks\n%s", line)
		}
	}
}

// The sessions in the README print what it says.
func TestReadmeSessions(t *testing.T) {
	for _, tool := range []string{"bash", "nc", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("WIRELINE_TEST_INTEROP") == "required" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	p := start(t)
	host, port, _ := net.SplitHostPort(p.addr)
	place := strings.NewReplacer("127.0.0.1 7100", host+" "+port, "127.0.0.1:7101", p.admin)
	sessions := strings.Split(readme(t), "```console\n")[1:]
	if len(sessions) == 0 {
		t.Fatal("there are none")
	}
	for _, session := range sessions {
		session, _, _ = strings.Cut(session, "```")
		for _, step := range strings.Split("\n"+session, "\n$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			rpc := "rpc() { local sub=$1; shift; TEST_ACT_AS_RPC=1 '" + os.Args[0] + "' $sub --address " + p.addr + " \"$@\"; }\n"
			printed, _ := exec.Command("bash", "-c", rpc+place.Replace(command)).CombinedOutput()
			if got := strings.TrimSuffix(string(printed), "\n"); got != strings.TrimSuffix(want, "\n") {
				t.Errorf("$ %s\n%s\nthe README says\n%s", command, got, want)
			}
		}
	}
	p.stop()
}
