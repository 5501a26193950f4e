package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wireline/tcptest"
)

// runCLI sends lines to redis-cli as a user types them, and returns its output.
func (p *program) runCLI(lines ...string) string {
	p.t.Helper()
	cli := need(p.t, "redis-cli", "redis-tools")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, port, _ := net.SplitHostPort(p.addr)
	cmd := exec.CommandContext(ctx, cli, "--no-raw", "-p", port)
	cmd.Env = append(os.Environ(), "HOME="+p.t.TempDir(), "REDISCLI_HISTFILE=/dev/null")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Errorf("redis-cli: %v", err)
	}
	return string(out)
}

// The sessions in the README show the output of redis-cli.
func TestReadmeSessions(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const prompt = "127.0.0.1:6380> "
	sessions := 0
	for _, block := range strings.Split(string(readme), "```")[1:] {
		_, session, ok := strings.Cut(block, "$ redis-cli -p 6380\n")
		if !ok {
			continue
		}
		sessions++
		var typed []string
		var want string
		for line := range strings.Lines(session) {
			if command, ok := strings.CutPrefix(line, prompt); ok {
				typed = append(typed, strings.TrimSuffix(command, "\n"))
			} else {
				want += line
			}
		}
		p := startProgram(t)
		got := p.runCLI(typed...)
		if passing := regexp.MustCompile(`avg_ttl=\d+`); passing.ReplaceAllString(squeeze(got), "") != passing.ReplaceAllString(squeeze(want), "") {
			t.Errorf("redis-cli prints\n%s\nthe README says\n%s", got, want)
		}
	}
	if sessions == 0 {
		t.Error("no session in the README")
	}
}

// squeeze removes the "\r" of INFO and empty lines, of which redis-cli prints fewer when it
// has no terminal.
func squeeze(text string) (s string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		if strings.TrimSpace(line) != "" {
			s += line
		}
	}
	return s
}

func TestRedisCLI(t *testing.T) {
	p := startProgram(t)
	for _, test := range []struct{ in, want string }{
		{"PING", "PONG\n"},
		{`SET k "a\nb" EX 100`, "OK\n"},
		{"GET k", "\"a\\nb\"\n"},
		{"TTL k", "(integer) 100\n"},
		{"GET nosuch", "(nil)\n"},
		{"MGET k nosuch", "1) \"a\\nb\"\n2) (nil)\n"},
		{"INCR k", "(error) ERR value is not an integer or out of range\n"},
		{"BLPOP k 1", "(error) ERR unknown command 'BLPOP', with args beginning with: 'k' '1' \n"},
		{"3 INCR n", "(integer) 1\n(integer) 2\n(integer) 3\n"},
	} {
		if got := p.runCLI(test.in); got != test.want {
			t.Errorf("%s: redis-cli prints %q, want %q", test.in, got, test.want)
		}
	}
	// redis-cli builds its help from COMMAND DOCS.
	if got, want := p.runCLI("HELP GETDEL"), stringCommands[6].summary; !strings.Contains(got, want) || !strings.Contains(got, "6.2.0") {
		t.Errorf("no %q in redis-cli's help: %q", want, got)
	}
	if got := p.runCLI("INFO"); !strings.Contains(got, "db0:keys=2,expires=1") {
		t.Errorf("INFO is %q", got)
	}
}

func TestRedisBenchmark(t *testing.T) {
	bench := need(t, "redis-benchmark", "redis-tools")
	p := startProgram(t)
	_, port, _ := net.SplitHostPort(p.addr)
	for _, pipeline := range []string{"1", "16"} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		out, err := exec.CommandContext(ctx, bench, "-p", port, "-t", "ping_inline,ping_mbulk,set,get,incr,mset",
			"-n", "2000", "-c", "10", "-P", pipeline, "-r", "100", "--csv").CombinedOutput()
		cancel()
		lines := bytes.Count(out, []byte("\n"))
		if err != nil || lines != 7 || bytes.Contains(out, []byte("WARN")) || bytes.Contains(out, []byte("ERR")) {
			t.Errorf("redis-benchmark -P %s: %v, it printed\n%s", pipeline, err, out)
		}
	}
	info := p.runCLI("INFO stats")
	if !strings.Contains(info, "total_commands_processed:240") { // and a few when it starts
		t.Errorf("12 times 2000 commands were sent; %s", info)
	}
}

// newClient returns a go-redis client of a server over TCP.
func newClient(t *testing.T) *redis.Client {
	s := newServer(Codec{})
	server := tcptest.NewServer(&s.frames)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ClientName: "test"})
	t.Cleanup(func() {
		client.Close()
		server.Close()
		s.close()
	})
	return client
}

// expect compares the result of a go-redis command.
func expect[T any](t *testing.T, what string, got T, err error, want T) {
	t.Helper()
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, %v; want %v", what, got, err, want)
	}
}

func TestGoRedis(t *testing.T) {
	c, ctx := newClient(t), t.Context()
	pong, err := c.Ping(ctx).Result()
	expect(t, "PING", pong, err, "PONG")
	name, err := c.ClientGetName(ctx).Result()
	expect(t, "CLIENT GETNAME", name, err, "test")
	binary := "\x00\xff\r\n$3\r\n"
	ok, err := c.Set(ctx, "k\r\n", binary, 0).Result()
	expect(t, "SET", ok, err, "OK")
	value, err := c.Get(ctx, "k\r\n").Result()
	expect(t, "GET", value, err, binary)
	if _, err := c.Get(ctx, "nosuch").Result(); err != redis.Nil {
		t.Errorf("GET of no key: %v", err)
	}
	for _, want := range []bool{true, false} {
		set, err := c.SetNX(ctx, "once", 1, 0).Result()
		expect(t, "SETNX", set, err, want)
		set, err = c.SetNX(ctx, "once for an hour", 1, time.Hour).Result()
		expect(t, "SET NX EX", set, err, want)
	}
	ttl, err := c.TTL(ctx, "once for an hour").Result()
	expect(t, "TTL", ttl, err, time.Hour)
	ttl, err = c.TTL(ctx, "once").Result()
	expect(t, "TTL of a key for ever", ttl, err, -1)
	set, err := c.Expire(ctx, "once", time.Minute).Result()
	expect(t, "EXPIRE", set, err, true)
	values, err := c.MGet(ctx, "once", "nosuch", "k\r\n").Result()
	expect(t, "MGET", values, err, []any{"1", nil, binary})
	old, err := c.SetArgs(ctx, "once", "2", redis.SetArgs{Get: true, KeepTTL: true}).Result()
	expect(t, "SET GET KEEPTTL", old, err, "1")
	n, err := c.Del(ctx, "once", "nosuch").Result()
	expect(t, "DEL", n, err, 1)
	if err := c.Incr(ctx, "k\r\n").Err(); err == nil || err.Error() != "ERR value is not an integer or out of range" {
		t.Errorf("INCR of no number: %v", err)
	}
	commands, err := c.Command(ctx).Result()
	if err != nil || commands["mset"] == nil || commands["mset"].StepCount != 2 || !commands["get"].ReadOnly {
		t.Errorf("COMMAND: %v, %v", commands, err)
	}
	parameters, err := c.ConfigGet(ctx, "save").Result()
	expect(t, "CONFIG GET", parameters, err, map[string]string{"save": ""})
}

func TestGoRedisPipeline(t *testing.T) {
	c, ctx := newClient(t), t.Context()
	const n = 1000
	results, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range n {
			p.Set(ctx, fmt.Sprint(i), i, 0)
			p.Get(ctx, fmt.Sprint(i))
			p.Do(ctx, "nosuch")
		}
		return nil
	})
	if err == nil || len(results) != 3*n {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i := range n {
		if got, err := results[3*i+1].(*redis.StringCmd).Int(); got != i || err != nil {
			t.Fatalf("GET %d: %d, %v", i, got, err)
		}
		if err := results[3*i+2].Err(); err == nil || !strings.HasPrefix(err.Error(), "ERR unknown command 'nosuch'") {
			t.Fatalf("the unknown command: %v", err)
		}
	}
	size, err := c.DBSize(ctx).Result()
	expect(t, "DBSIZE", size, err, n)
}

func TestGoRedisIncr(t *testing.T) {
	c, ctx := newClient(t), t.Context()
	const goroutines, each = 50, 100
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				if err := c.Incr(ctx, "n").Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sum, err := c.Get(ctx, "n").Int()
	expect(t, "the sum", sum, err, goroutines*each)
}

// The client is for tests only: the program does not depend on it.
func TestProgramHasNoClient(t *testing.T) {
	info, err := buildinfo.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range info.Deps {
		if strings.Contains(dep.Path, "redis") {
			t.Errorf("the program depends on %s", dep.Path)
		}
	}
}
