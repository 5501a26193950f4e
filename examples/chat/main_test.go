package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/config"
)

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
		{"--help", "", exitOK, "--chat.silence DURATION"},
		{"--help", "", exitOK, "default 127.0.0.1:4000, env CHAT_TCP_ADDRESS"},
		{"--version", "", exitOK, "chat "},
		{"--check", "", exitOK, "configuration is good"},
		{"--print-config", "CHAT_CHAT_OPERATOR_PASSWORD=" + operatorPassword, exitOK, "  operator_password: (secret) # env CHAT_CHAT_OPERATOR_PASSWORD\n"},
		{"--chat.silense 1m", "", exitUsage, "flag --chat.silense: unknown flag (did you mean --chat.silence?)"},
		{"--chat.max_name 61", "", exitUsage, `chat.max_name: flag --chat.max_name: "61" must be between 1 and 60`},
		{"--chat.max_line 1", "", exitUsage, `chat.max_line: flag --chat.max_line: "1" must be between 64 and 64 KiB`},
		{"--chat.max_rooms 0", "", exitUsage, `chat.max_rooms: flag`},
		{"--chat.max_rooms_per_user 101", "", exitUsage, `chat.max_rooms_per_user: flag`},
		{"--chat.history 1001", "", exitUsage, `chat.history: flag`},
		{"--chat.max_pending 1", "", exitUsage, `chat.max_pending: flag`},
		{"--chat.max_line 60KiB --chat.history 200", "", exitUsage, `chat.max_pending: default: "256KiB" must be 36908800 or more, for chat.history messages of up to chat.max_line`},
		{"--chat.login_timeout 0s", "", exitUsage, `chat.login_timeout: flag`},
		{"--chat.silence 10ms", "", exitUsage, `chat.silence: flag --chat.silence: "10ms" must be a second or more`},
		{"", "CHAT_CHAT_OPERATOR_PASSWORD= x", exitUsage, `chat.operator_password: env CHAT_CHAT_OPERATOR_PASSWORD: "(secret)" must have no blanks`},
		{"", "CHAT_CHAT_OPERATOR_PASSWORD=x ", exitUsage, "chat.operator_password: env"},
		{"", "CHAT_CHAT_OPERATOR_PASSWORD=open  sesame", exitUsage, "chat.operator_password: env"},
		{"--check", "CHAT_CHAT_OPERATOR_PASSWORD=" + operatorPassword, exitOK, "configuration is good"},
		{"--chat.limit.frames -1", "", exitUsage, "chat.limit.frames: flag"},
		{"--chat.nats embedded:", "", exitUsage, `chat.nats: flag --chat.nats: "(secret)" must be embedded:HOST:PORT`},
		{"--chat.nats nats://%zz", "", exitUsage, `chat.nats: flag --chat.nats: "(secret)" must be a URL such as nats://127.0.0.1:4222`},
		{"--chat.nats 127.0.0.1:4222", "", exitUsage, "must be a URL"},
		{"--chat.nats_prefix a..b", "", exitUsage, `chat.nats_prefix: flag --chat.nats_prefix: "a..b" must be letters`},
		{"--tcp.address " + taken.Addr().String(), "", exitUsage, "tcp.address: flag --tcp.address: "},
		{"--tcp.address 127.0.0.1:0 --admin.address " + taken.Addr().String(), "", exitUsage, "admin.address: flag --admin.address: "},
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
	t    *testing.T
	cmd  *exec.Cmd
	log  *bufio.Scanner
	kill *time.Timer

	addr, admin, nats string // where it listens
}

// start starts the program on free ports.
func start(t *testing.T, flags ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(os.Args[0], append([]string{"--tcp.address=127.0.0.1:0", "--admin.address=127.0.0.1:0"}, flags...)...)}
	p.cmd.Env = append(os.Environ(), "TEST_ACT_AS_CHAT=1")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	p.kill = time.AfterFunc(4*patience, func() { p.cmd.Process.Kill() }) // this ends the log too
	p.log = bufio.NewScanner(stderr)
	for p.addr == "" || p.admin == "" {
		if !p.log.Scan() {
			t.Fatal("the log does not say where the program listens")
		}
		p.note(p.log.Text())
	}
	return p
}

// note notes an address that a line of the log tells.
func (p *program) note(line string) {
	for text, addr := range map[string]*string{
		"msg=listening addr=":                    &p.addr,
		"msg=admin addr=":                        &p.admin,
		`msg="NATS server of this process" url=`: &p.nats,
	} {
		if _, rest, ok := strings.Cut(line, text); ok {
			*addr, _, _ = strings.Cut(rest, " ")
		}
	}
}

// stop tells the program to stop.
func (p *program) stop() { p.cmd.Process.Signal(syscall.SIGTERM) }

// wait waits for the end of the program, and returns the rest of its log.
func (p *program) wait() (logged string) {
	p.t.Helper()
	for p.log.Scan() {
		logged += p.log.Text() + "\n"
	}
	p.kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v; logged\n%s", err, logged)
	}
	return logged
}

// dial returns a connection to the program.
func (p *program) dial() *user {
	p.t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	return newUser(p.t, conn)
}

// The sessions in the README, as one conversation.
func TestReadmeSession(t *testing.T) {
	p := start(t)
	users := make(map[string]*user)
	blocks := strings.Split(readme(t), "\n<!-- ")[1:]
	for n, block := range blocks {
		nick, session, _ := strings.Cut(block, " -->\n```console\n")
		session, _, _ = strings.Cut(session, "```")
		if n == len(blocks)-1 {
			p.stop()
		}
		for line := range strings.Lines(session) {
			switch line = strings.TrimSuffix(line, "\n"); {
			case line == "$ nc 127.0.0.1 4000":
				users[nick] = p.dial()
			case strings.ContainsRune("*![(", rune(line[0])):
				users[nick].sees(line)
			default:
				users[nick].says(line)
			}
		}
		if strings.Contains(session, "Goodbye") {
			users[nick].ends()
			users[nick].Close()
		}
	}
	if len(users) != 2 {
		t.Errorf("%d users in the README", len(users))
	}
	if logged := p.wait(); !strings.Contains(logged, "nick=anna") || !strings.Contains(logged, "reason=drain") {
		t.Errorf("logged\n%s", logged)
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The README has the tables of the commands and of the keys.
func TestReadmeTables(t *testing.T) {
	text := readme(t)
	for _, c := range commands() {
		if line := fmt.Sprintf("\n| `/%s%s` | %s |\n", c.name, c.args, c.help); !strings.Contains(text, line) {
			t.Errorf("README.md lacks%s", line)
		}
	}
	var table strings.Builder
	if err := config.Table(&table, new(Config), options(nil, nil)); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(table.String()) {
		if strings.HasPrefix(line, "| `chat.") {
			lines = append(lines, line)
		}
	}
	if own := strings.Join(lines, ""); !strings.Contains(text, own) || strings.Count(text, "| `chat.") != len(lines) {
		t.Errorf("README.md lacks\n%s", own)
	}
}

// The admin side shows who is there.
func TestAdmin(t *testing.T) {
	p := start(t)
	anna := p.dial()
	anna.sees(greeting)
	anna.says("anna")
	anna.sees(youAre("anna"))
	if page := p.get("/api/connections"); !strings.Contains(page, `"nick":"anna"`) {
		t.Errorf("connections are %s", page)
	}
	metrics := p.get("/metrics")
	for _, want := range []string{`wireline_connections{service="chat"} 1`, `wireline_hub_clients{hub="chat"} 1`} {
		if !strings.Contains(metrics, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	p.stop()
	anna.sees("* The server is going down now.", "* Goodbye: the server is going down.")
	anna.Close()
	p.wait()
}

// get returns the body of an answer of the admin side.
func (p *program) get(path string) string {
	p.t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	answer, err := http.Get("http://" + p.admin + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(body)
}

// nc and telnet get along with it.
func TestNc(t *testing.T) {
	nc := need(t, "nc", "netcat-openbsd")
	testTool(t, func(stdin *os.File) { stdin.Close() }, nc, "-N")
}

func TestTelnet(t *testing.T) {
	telnet := need(t, "telnet", "telnet")
	testTool(t, func(*os.File) {}, telnet) // it does not read on after the end of its input
}

// testTool runs a tool that connects to the program. written is called after all input was written.
func testTool(t *testing.T, written func(stdin *os.File), tool string, args ...string) {
	p := start(t)
	host, port, _ := net.SplitHostPort(p.addr)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, append(args, host, port)...)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	cmd.Stdin = read
	io.WriteString(write, "anna\n/join tea\ngrüße\n/quit\n")
	written(write)
	output, err := cmd.Output()
	printed := strings.ReplaceAll(string(output), "\r\n", "\n")
	want := strings.Join([]string{greeting, youAre("anna"), youAreIn("tea"), "[tea] anna: grüße", "* Goodbye.", ""}, "\n")
	if !strings.HasSuffix(printed, want) {
		t.Errorf("it prints %q, %v", printed, err)
	}
	p.stop()
	p.wait()
}

// need returns the path of a program, or skips the test if it is missing. If the environment says that
// all tools must exist, as on a machine that is set up for the tests, it fails the test.
func need(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	const missing = "no %s of the Debian package %s here"
	switch {
	case err == nil:
	case os.Getenv("WIRELINE_TEST_INTEROP") == "required":
		t.Fatalf(missing+", and WIRELINE_TEST_INTEROP=required", name, pkg)
	default:
		t.Skipf(missing, name, pkg)
	}
	return path
}
