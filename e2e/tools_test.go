//go:build unix

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tool is a program that a test needs.
type tool struct {
	name string
	pkg  string // its Debian package
	mark string // text in its help that identifies it; empty if its name is unique
}

var (
	openbsdNC = tool{name: "nc", pkg: "netcat-openbsd", mark: "OpenBSD netcat"}
	ncat      = tool{name: "ncat", pkg: "ncat"}
	socat     = tool{name: "socat", pkg: "socat"}
	telnet    = tool{name: "telnet", pkg: "inetutils-telnet"}
	strace    = tool{name: "strace", pkg: "strace"}
	goTool    = tool{name: "go", pkg: "golang-go"}

	redisServer    = tool{name: "redis-server", pkg: "redis-server"}
	redisCLI       = tool{name: "redis-cli", pkg: "redis-tools"}
	redisBenchmark = tool{name: "redis-benchmark", pkg: "redis-tools"}
	memcached      = tool{name: "memcached", pkg: "memcached"}
	memccapable    = tool{name: "memccapable", pkg: "libmemcached-tools"}
	nginx          = tool{name: "nginx", pkg: "nginx"}
	haproxy        = tool{name: "haproxy", pkg: "haproxy"}
	curl           = tool{name: "curl", pkg: "curl"}
	wrk            = tool{name: "wrk", pkg: "wrk"}
	openssl        = tool{name: "openssl", pkg: "openssl"}
	sslscan        = tool{name: "sslscan", pkg: "sslscan"}
	iperf3         = tool{name: "iperf3", pkg: "iperf3"}
)

// freePorts returns the first of n consecutive free ports.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		first := 20000 + rand.IntN(10000) // below the ephemeral ports
		free := true
		for port := first; port < first+n && free; port++ {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if free = err == nil; free {
				ln.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Skip("no consecutive free ports")
	return 0
}

// need returns the tool's path, or skips the test if it is missing. If the environment says
// that all tools must exist, as on a machine that is set up for the tests, it fails the test.
// With -short, other programs are left out.
func need(t *testing.T, tool tool) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a test with " + tool.name + ": left out by -short")
	}
	path, err := exec.LookPath(tool.name)
	if err != nil { // servers, which are not in every PATH
		path, err = exec.LookPath("/usr/sbin/" + tool.name)
	}
	if err == nil && tool.mark != "" {
		help, _ := exec.Command(path, "-h").CombinedOutput() // some exit with an error after -h
		if !strings.Contains(string(help), tool.mark) {
			err = exec.ErrNotFound
		}
	}
	if err != nil {
		tool.missing(t)
	}
	return path
}

// missing skips or fails a test whose tool is missing.
func (tool tool) missing(t *testing.T) {
	t.Helper()
	const missing = "no %s of the Debian package %s here"
	if os.Getenv("WIRELINE_TEST_INTEROP") == "required" {
		t.Fatalf(missing+", and WIRELINE_TEST_INTEROP=required", tool.name, tool.pkg)
	}
	t.Skipf(missing, tool.name, tool.pkg)
}
