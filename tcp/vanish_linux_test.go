package tcp_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// namespaces are two network namespaces with a cable between them, for a server and
// its client. No packet leaves them.
type namespaces struct {
	t              *testing.T
	server, client string
}

const (
	serverIP = "192.0.2.1" // RFC 5737: an address for documentation
	clientIP = "192.0.2.2"
)

// newNamespaces makes them, and takes them away at the test's end. Only root may do
// that. Without, the test is skipped, or fails where the environment says that
// everything has to be there.
func newNamespaces(t *testing.T) *namespaces {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "only root makes network namespaces"
	}
	for tool, pkg := range map[string]string{"ip": "iproute2", "iptables": "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = fmt.Sprintf("no %s of the Debian package %s here", tool, pkg)
		}
	}
	switch {
	case missing == "":
	case os.Getenv("WIRELINE_TEST_INTEROP") == "required":
		t.Fatal(missing + ", and WIRELINE_TEST_INTEROP=required")
	default:
		t.Skip(missing)
	}
	base := fmt.Sprintf("wireline-%d-", os.Getpid())
	n := &namespaces{t, base + "server", base + "client"}
	for _, name := range []string{n.server, n.client} {
		n.run("ip", "netns", "add", name)
		t.Cleanup(func() { n.run("ip", "netns", "del", name) })
	}
	n.run("ip", "-n", n.server, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", n.client)
	for name, ip := range map[string]string{n.server: serverIP, n.client: clientIP} {
		n.run("ip", "-n", name, "addr", "add", ip+"/24", "dev", "cable")
		n.run("ip", "-n", name, "link", "set", "cable", "up")
	}
	return n
}

func (n *namespaces) run(name string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// vanish drops what comes to conn's client from now on: it neither reads nor
// acknowledges, and sends no RST.
func (n *namespaces) vanish(conn net.Conn) {
	n.t.Helper()
	port := fmt.Sprint(conn.LocalAddr().(*net.TCPAddr).Port)
	n.run("ip", "netns", "exec", n.client, "iptables", "-w", "-A", "INPUT", "-p", "tcp", "--dport", port, "-j", "DROP")
}

// inside runs f in a namespace: a socket that it makes stays there.
func inside(t *testing.T, name string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and ends with this goroutine
		done <- func() error {
			ns, err := os.Open("/var/run/netns/" + name)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// hidden makes the server accept connections of package net.
type hidden struct{ net.Listener }

func (h hidden) SetDeadline(t time.Time) error {
	return h.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(t)
}

// A client that vanishes without a word is noticed within the configured time:
// by keep-alive while nothing is on its way to it, by the user timeout while
// something is.
func TestVanishedPeer(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	n := newNamespaces(t)
	t.Run("all", func(t *testing.T) { // whose parallel tests end before the namespaces
		for _, path := range []string{"loop", "goroutine"} {
			for _, test := range []struct {
				name   string
				cfg    tcp.Config
				pushes bool
				within time.Duration // four times what was configured
			}{
				{"idle", tcp.Config{Socket: tcp.Socket{KeepAlive: tcp.KeepAlive{Idle: time.Second, Interval: time.Second, Count: 2}}}, false, 12 * time.Second},
				{"unacknowledged", tcp.Config{Socket: tcp.Socket{UserTimeout: 2 * time.Second}}, true, 8 * time.Second},
			} {
				t.Run(path+"/"+test.name, func(t *testing.T) {
					t.Parallel()
					record, took := n.loseClient(t, test.cfg, path == "goroutine", test.pushes)
					if !errors.Is(record.Err, syscall.ETIMEDOUT) || record.Reason != handler.ReasonIOError {
						t.Errorf("ended by %s: %s, %v; want ETIMEDOUT", record.By, record.Reason, record.Err)
					}
					if took < time.Second || took > test.within {
						t.Errorf("noticed after %v", took)
					}
				})
			}
		}
	})
}

// loseClient serves a client until it vanishes, and returns its record, and how long
// that took to come. If pushes is set, something is on its way to it.
func (n *namespaces) loseClient(t *testing.T, cfg tcp.Config, goroutine, pushes bool) (handler.Record, time.Duration) {
	records, clients := make(chan handler.Record, 1), make(chan *handler.Client, 1)
	h := echo()
	h.OnOpen = func(c *handler.Client) error { clients <- c; return nil }
	h.OnRecord = func(r handler.Record) { records <- r }
	var ln net.Listener
	cfg.Address = serverIP + ":0"
	inside(t, n.server, func() (err error) {
		ln, err = tcp.Listen(t.Context(), &cfg)
		return err
	})
	address := ln.Addr().String()
	if goroutine {
		ln = hidden{ln}
	}
	serve(t.Context(), t, &tcp.Server{Handler: h}, ln)
	var conn net.Conn
	inside(t, n.client, func() (err error) {
		conn, err = net.DialTimeout("tcp", address, patience)
		return err
	})
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	exchange(t, conn, "hello\n")
	n.vanish(conn)
	began := time.Now()
	if pushes {
		testutil.Await(t, "the client", clients).WriteFrame([]byte("are you there?"))
	}
	select {
	case r := <-records:
		return r, time.Since(began)
	case <-time.After(3 * patience):
		t.Fatal("the client is not missed")
		panic("not reached")
	}
}

// Where the system allows it, a listener has its queue for fast open.
func TestFastOpenIsSet(t *testing.T) {
	n := newNamespaces(t)
	want := map[string]int{"TCP_FASTOPEN": 16}
	for allowed, bits := range map[bool]string{false: "1", true: "3"} {
		inside(t, n.server, func() error {
			if err := os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte(bits), 0o644); err != nil {
				return err
			}
			ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: serverIP + ":0", Socket: tcp.Socket{FastOpen: 16}})
			if (err == nil) != allowed {
				return fmt.Errorf("tcp_fastopen is %s: %v", bits, err)
			}
			if err == nil {
				defer ln.Close()
				if diff := cmp.Diff(want, optionsIn(t, ln, want)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			}
			return nil
		})
	}
}
