package transport_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"wireline/internal/eventloop"
	"wireline/internal/testutil"
	"wireline/internal/transport"
)

// contractEnv is set for the process that runs nettest.TestConn.
const contractEnv = "WIRELINE_TEST_TRANSPORT_CONTRACT"

// A connection that is not on a poller, or not any more, is a net.Conn as far as crypto/tls
// allows: that cannot go on after a Write that has timed out, which is what the parts do
// that are left out. nettest has no way to leave some out but that of package testing, for
// a whole process.
func TestConnContract(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	if os.Getenv(contractEnv) != "" {
		for _, released := range []bool{false, true} {
			name := "never on a poller"
			if released {
				name = "released"
			}
			t.Run(name, func(t *testing.T) {
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					c1, c2 = blockingPair(t, released)
					return c1, c2, func() { c1.Close(); c2.Close() }, nil
				})
			})
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.v", "-test.run=^TestConnContract$", "-test.timeout="+testutil.Patience.String(),
		"-test.skip=^TestConnContract$/^.*$/^(PastTimeout|FutureTimeout|ConcurrentMethods)$")
	cmd.Env = append(os.Environ(), contractEnv+"=1")
	out, err := cmd.CombinedOutput()
	const parts = 2 * 8 // of 11 each
	if passed := strings.Count(string(out), "        --- PASS: TestConnContract/"); err != nil || passed != parts {
		t.Errorf("%v; %d passed of %d:\n%s", err, passed, parts, out)
	}
}

// blockingPair returns both ends of a connection, each with a TLS under test.
func blockingPair(t *testing.T, released bool) (client, server net.Conn) {
	t.Helper()
	c, s := testutil.Pair(t)
	a := transport.Client(c, &tls.Config{InsecureSkipVerify: true})
	b := transport.Server(s, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	done := make(chan error, 1)
	go func() { done <- a.Conn().Handshake() }()
	if err := b.Conn().Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := testutil.Await(t, "the handshake", done); err != nil {
		t.Fatal(err)
	}
	if released {
		for _, end := range []*transport.TLS{a, b} {
			p := eventloop.NewPortable(end.Base(), noHandler{}, func() {})
			end.Use(p, nil)
			if n, drained, err := end.Read(make([]byte, 100)); n > 0 || !drained || err != nil {
				t.Fatalf("read %d bytes, drained %v, %v", n, drained, err)
			}
			end.Release(p.Remove())
		}
	}
	return a.Conn(), b.Conn()
}

// noHandler is the handler of a connection that is not started.
type noHandler struct{ eventloop.Handler }

// CloseNow does not wait for a peer that reads nothing.
func TestCloseNow(t *testing.T) {
	client, _ := blockingPair(t, false)
	client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	junk := make([]byte, 1<<20)
	base := client.(*tls.Conn).NetConn().(interface{ NetConn() net.Conn }).NetConn()
	for { // until the socket is full
		if _, err := base.Write(junk); err != nil {
			break
		}
	}
	begin := time.Now()
	transport.Of(client.(*tls.Conn)).CloseNow()
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := base.Write(junk); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write after it: %v", err)
	}
}
