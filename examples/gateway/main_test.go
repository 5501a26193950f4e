package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/examples/gateway/protocol"
)

// runs runs the program to its end, and returns its exit code and what it prints.
func runs(args string, environ ...string) (code int, printed string) {
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), patience) // it might serve
	defer cancel()
	code = run(ctx, strings.Fields(args), environ, &out, &out)
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
		{"--help", "", exitOK, "--devices.silence DURATION"},
		{"--help", "", exitOK, "default 127.0.0.1:7000, env GATEWAY_TCP_ADDRESS"},
		{"--version", "", exitOK, "gateway "},
		{"--check --config gateway.yaml", "", exitOK, "configuration is good"},
		{"--check", "GATEWAY_DEVICES_COLLECTOR=nowhere.invalid:1", exitOK, "warning: devices.collector: env GATEWAY_DEVICES_COLLECTOR: \"nowhere.invalid:1\" has no address now"},
		{"--print-config --config gateway.yaml", "GATEWAY_DEVICES_SILENCE=1m", exitOK, "  known: [boiler, greenhouse] # file gateway.yaml\n  match_certificate: false # default\n  second: kick # default\n  login_timeout: 10s # default\n  silence: 1m # env GATEWAY_DEVICES_SILENCE\n"},
		{"--devices.limit.frames=-1", "", exitUsage, "devices.limit.frames: flag --devices.limit.frames: "},
		{"--devices.known ..", "", exitUsage, "devices.known: flag --devices.known: "},
		{"--devices.second both", "", exitUsage, `devices.second: flag --devices.second: "both" must be kick or refuse`},
		{"--devices.match_certificate=true", "", exitUsage, `devices.match_certificate: flag --devices.match_certificate: "true" needs tcp.tls.client_ca`},
		{"--devices.known a,b/c", "", exitUsage, `devices.known: flag --devices.known: "a,b/c" must have 1 to 64 letters`},
		{"--admin.address " + taken.Addr().String() + " --tcp.address 127.0.0.1:0", "", exitUsage, "admin.address: flag --admin.address: "},
		{"--devices.silense 1m", "", exitUsage, "flag --devices.silense: unknown flag (did you mean --devices.silence?)"},
		{"", "GATEWAY_DEVICES_SILENCE=10ms", exitUsage, `devices.silence: env GATEWAY_DEVICES_SILENCE: "10ms" must be between 1s and 24h`},
		{"--admin.address 127.0.0.1:0 --tcp.address " + taken.Addr().String(), "", exitUsage, "tcp.address: flag --tcp.address: "},
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

// process is the program as a process of its own.
type process struct {
	*running // do, dial and login work; stop does not
	cmd      *exec.Cmd
}

// startProcess starts the program.
func startProcess(t *testing.T, flags ...string) *process {
	t.Helper()
	p := &process{&running{t: t, log: newJournal()}, exec.Command(os.Args[0], flags...)}
	p.client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	p.cmd.Env = append(os.Environ(), "TEST_ACT_AS_GATEWAY=1")
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	p.devices = p.log.await(t, "msg=listening addr=")
	p.http = "http://" + p.log.await(t, "msg=admin addr=")
	return p
}

// signal sends a signal.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// waits waits for the end, and returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	defer time.AfterFunc(patience, func() { p.cmd.Process.Kill() }).Stop()
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// SIGHUP makes the program read its file again: a device that is connected goes on as before, one
// that comes later is served as the file says now. A bad file changes nothing. SIGTERM stops it.
func TestReload(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGHUP on Windows")
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	const common = "tcp: {address: '127.0.0.1:0', grace_delay: 0s}\nadmin: {address: '127.0.0.1:0'}\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(common+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("devices: {known: boiler}\n")
	p := startProcess(t, "--config", file)
	boiler := p.login("boiler")
	alive := func(sequence uint32) {
		t.Helper()
		boiler.send(protocol.Message{Type: protocol.Heartbeat, Sequence: sequence})
		boiler.expect(protocol.Ack)
	}

	write("devices: {known: pump, command_timeout: 1ms}\nlog: {connections: false}\n")
	p.signal(syscall.SIGHUP)
	if changed := p.log.await(t, "msg=reloaded changed="); changed != "devices.known,devices.command_timeout kept=log.connections" {
		t.Errorf("changed: %s", changed)
	}
	alive(1)
	p.login("pump")
	if status, _ := p.do("POST", "/devices/pump/command", "x"); status != 504 {
		t.Errorf("with the new timeout of a command: %d", status)
	}
	write("devices: {known: pump, silence: 1ms}\n")
	p.signal(syscall.SIGHUP)
	if why := p.log.await(t, `msg="reload failed, nothing has changed"`); !strings.Contains(why, "devices.silence") {
		t.Errorf("the error is %s", why)
	}
	alive(2)
	write("devices: {known: [pump, valve]}\n")
	status, body := p.do("POST", "/api/reload", "")
	if status != 200 || !strings.Contains(body, `"changed":["devices.known","devices.command_timeout"]`) {
		t.Errorf("reload by the HTTP side: %d %s", status, body)
	}
	p.login("valve")
	if status, body := p.do("GET", "/api/config", ""); status != 200 || !strings.Contains(body, "pump,valve") {
		t.Errorf("the configuration in force: %d %s", status, body)
	}
	p.signal(syscall.SIGTERM)
	boiler.ends(protocol.Stopping)
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
