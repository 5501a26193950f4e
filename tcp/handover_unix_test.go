//go:build unix

package tcp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/tcp"
)

// listens is a configuration for the network with an address of its own.
func listens(t *testing.T, network string, j *journal) tcp.Config {
	t.Helper()
	cfg := tcp.Config{Network: network, DrainTimeout: patience, Log: j.logger()}
	if network == "unix" {
		cfg.Address = testutil.SocketPath(t)
	} else {
		cfg.Address = "127.0.0.1:" + freePort(t)
	}
	return cfg
}

// namingHandlers serve clients on an event loop, and in a goroutine: they send a name and then echo.
func namingHandlers() map[string]func(name string) handler.Handler {
	return map[string]func(string) handler.Handler{
		"frames": func(name string) handler.Handler {
			return &handler.Frames{
				OnOpen:  func(c *handler.Client) error { return c.WriteFrame([]byte(name)) },
				OnFrame: func(c *handler.Client, line []byte) error { return c.WriteFrame(line) },
			}
		},
		"plain": func(name string) handler.Handler {
			return handler.Func(func(_ context.Context, conn net.Conn) {
				io.WriteString(conn, name+"\n")
				io.Copy(struct{ io.Writer }{conn}, conn) // without a pipe of splice(2)
			})
		},
	}
}

// change demands that c is done.
func change(t *testing.T, g *tcp.Group, c tcp.Changes) {
	t.Helper()
	if err := g.Change(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// ended demands that the group stops well.
func ended(t *testing.T, stop func(), result func() error) {
	t.Helper()
	stop()
	if err := result(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// A new server gets the address of one that is removed: with its queue, with and without TLS.
func TestHandoverToANewServer(t *testing.T) {
	a := testutil.NewAuthority(t)
	files := tlsFiles(t, a).TLS
	for name, newHandler := range namingHandlers() {
		for _, network := range []string{"tcp", "unix"} {
			for _, secure := range []string{"", "old", "new", "old new"} {
				t.Run(fmt.Sprintf("%s %s, TLS %s", name, network, secure), func(t *testing.T) {
					var j journal
					cfg := listens(t, network, &j)
					server := func(name string) *tcp.Server {
						s := &tcp.Server{Name: name, Config: cfg, Handler: newHandler(name)}
						if strings.Contains(secure, name) {
							s.TLS = files
						}
						return s
					}
					connect := func(s *tcp.Server) net.Conn {
						conn := dial(t, network, cfg.Address)
						if s.TLS.Cert == "" {
							return conn
						}
						return client(t, conn, a)
					}
					before := server("old")
					before.MaxClients = 1
					g := &tcp.Group{Servers: []*tcp.Server{before}}
					stop, result := runGroup(t, g)
					eventually(t, "the server", func() bool { return len(before.Addrs()) == 1 })
					live := connect(before)
					receive(t, live, "old\n")
					var waiting []net.Conn // in the queue
					for range 3 {
						waiting = append(waiting, dial(t, network, cfg.Address))
					}
					after := server("new")
					change(t, g, tcp.Changes{Add: []*tcp.Server{after}, Remove: []*tcp.Server{before}})
					for _, conn := range waiting {
						if after.TLS.Cert != "" {
							conn = client(t, conn, a)
						}
						receive(t, conn, "new\n")
						exchange(t, conn, "hello\n")
					}
					receiveAll(t, live, "")
					eventually(t, "the drain", func() bool { return j.services("drained") == "old" })
					conn := connect(after)
					receive(t, conn, "new\n")
					exchange(t, conn, "hello\n")
					if network == "unix" {
						if _, err := os.Stat(cfg.Address); err != nil {
							t.Error(err)
						}
					}
					if got := j.services("listening"); got != "old new" || len(j.find("listener closed"))+len(j.find("listener failed")) > 0 {
						t.Errorf("listening: %s", got)
					}
					ended(t, stop, result)
					if _, err := os.Stat(cfg.Address); err == nil {
						t.Error("the socket file is still there")
					}
				})
			}
		}
	}
}

// client makes a client of TLS of conn.
func client(t *testing.T, conn net.Conn, a *testutil.Authority) net.Conn {
	t.Helper()
	return tls.Client(conn, a.Client("first"))
}

// Two servers swap their addresses, again and again, and a third follows a server that moves.
func TestHandoverSwap(t *testing.T) {
	for name, newHandler := range namingHandlers() {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(name+" "+network, func(t *testing.T) {
				var j journal
				server := func(name string) *tcp.Server {
					return &tcp.Server{Name: name, Config: listens(t, network, &j), Handler: newHandler(name)}
				}
				one, two, three := server("one"), server("two"), server("three")
				servers := []*tcp.Server{one, two, three}
				g := &tcp.Group{Servers: slices.Clone(servers)}
				stop, result := runGroup(t, g)
				var live []net.Conn
				visit := func() {
					t.Helper()
					for _, s := range servers {
						conn := dial(t, network, s.Settings().Address)
						receive(t, conn, s.Name+"\n")
						live = append(live, conn)
					}
					for _, conn := range live {
						exchange(t, conn, "hello\n")
					}
				}
				eventually(t, "the servers", func() bool { return one.Ready() && two.Ready() && three.Ready() })
				visit()
				aways := []string{listens(t, network, &j).Address, listens(t, network, &j).Address, listens(t, network, &j).Address}
				files := testutil.OpenFiles(t)
				to := func(s, other *tcp.Server) tcp.Config {
					cfg := s.Settings()
					cfg.Address = other.Settings().Address
					return cfg
				}
				for _, address := range aways {
					change(t, g, tcp.Changes{Set: map[*tcp.Server]tcp.Config{one: to(one, two), two: to(two, one)}})
					visit()
					change(t, g, tcp.Changes{Set: map[*tcp.Server]tcp.Config{one: to(one, two), two: to(two, three), three: to(three, one)}})
					visit()
					away := one.Settings()
					away.Address = address
					change(t, g, tcp.Changes{Set: map[*tcp.Server]tcp.Config{one: away, two: to(two, one)}})
					visit()
				}
				// Each live connection has two; the listener closes in the background.
				eventually(t, "the descriptors", func() bool { return testutil.OpenFiles(t) <= files+2*(len(live)-3) })
				if len(j.find("listener failed")) > 0 {
					t.Error("a listener has failed")
				}
				ended(t, stop, result)
			})
		}
	}
}

// If anything else fails, the old server accepts as before, and its socket file is as it was.
func TestHandoverAllOrNothing(t *testing.T) {
	taken := testutil.Listen(t, "tcp", "127.0.0.1:0").Addr().String()
	errUnwanted := &field.Error{Field: "Upstreams", Reason: "unwanted"}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			var j journal
			newHandler := namingHandlers()["frames"]
			server := func(name string, cfg tcp.Config) *tcp.Server {
				return &tcp.Server{Name: name, Config: cfg, Handler: newHandler(name)}
			}
			one, two := server("one", listens(t, network, &j)), server("two", listens(t, network, &j))
			if network == "unix" {
				one.SocketMode, two.SocketMode = "0600", "0600"
			}
			g := &tcp.Group{Servers: []*tcp.Server{one, two}}
			stop, result := runGroup(t, g)
			eventually(t, "the servers", func() bool { return one.Ready() && two.Ready() })
			visit := func() {
				t.Helper()
				for _, s := range []*tcp.Server{one, two} {
					conn := dial(t, network, s.Address)
					receive(t, conn, s.Name+"\n")
					conn.Close()
					if info, err := os.Stat(s.Address); network == "unix" && (err != nil || info.Mode().Perm() != 0o600) {
						t.Errorf("%v, %v", info, err)
					}
				}
			}
			visit()
			elsewhere := two.Config
			elsewhere.Address = listens(t, network, &j).Address
			files := testutil.OpenFiles(t) // perhaps with those of clients that have just left
			next := server("next", one.Config)
			moved := two.Config
			if network == "unix" {
				next.SocketMode, moved.SocketMode = "0666", "0666"
			}
			moved.Address = one.Address
			onTaken := server("other", tcp.Config{Address: taken})
			refuse := func(who string) func(*tcp.Server, net.Addr) error {
				return func(s *tcp.Server, a net.Addr) error {
					if s.Name == who && a.String() == one.Address {
						return errUnwanted
					}
					return nil
				}
			}
			for name, test := range map[string]struct {
				changes tcp.Changes
				want    string
			}{
				"added, another address is taken": {tcp.Changes{Remove: []*tcp.Server{one}, Add: []*tcp.Server{next, onTaken}}, "service other: tcp.address: "},
				"moved, another address is taken": {tcp.Changes{Remove: []*tcp.Server{one}, Set: map[*tcp.Server]tcp.Config{two: moved}, Add: []*tcp.Server{onTaken}}, "service other: tcp.address: "},
				"added, the handler refuses":      {tcp.Changes{Remove: []*tcp.Server{one}, Add: []*tcp.Server{next}, CheckListener: refuse("next")}, "service next: tcp: handler: Upstreams"},
				"moved, the handler refuses":      {tcp.Changes{Remove: []*tcp.Server{one}, Set: map[*tcp.Server]tcp.Config{two: moved}, CheckListener: refuse("two")}, "service two: tcp: handler: Upstreams"},
				"two want it":                     {tcp.Changes{Remove: []*tcp.Server{one}, Add: []*tcp.Server{next, server("too", one.Config)}}, "service too: tcp.address: "},
				"it stays":                        {tcp.Changes{Add: []*tcp.Server{next}, Set: map[*tcp.Server]tcp.Config{two: elsewhere}}, "where the service one listens"},
				"removed and added":               {tcp.Changes{Remove: []*tcp.Server{one}, Add: []*tcp.Server{one}}, "service one: tcp: a server that is removed"},
			} {
				t.Run(name, func(t *testing.T) {
					err := g.Change(t.Context(), test.changes)
					if !strings.Contains(errorText(err), test.want) {
						t.Errorf("error %v, want %s", err, test.want)
					}
					visit()
					eventually(t, "as many descriptors as before", func() bool { return testutil.OpenFiles(t) <= files })
				})
			}
			c := tcp.Changes{Remove: []*tcp.Server{one}, Add: []*tcp.Server{next}}
			change(t, g, c)
			receive(t, dial(t, network, one.Address), "next\n")
			if info, err := os.Stat(one.Address); network == "unix" && (err != nil || info.Mode().Perm() != 0o666) {
				t.Errorf("%v, %v", info, err)
			}
			ended(t, stop, result)
		})
	}
}

// An address that only overlaps one that is given up is an error.
func TestHandoverOfAnOverlappingAddress(t *testing.T) {
	var j journal
	port := freePort(t)
	one, two := service("one", &j, echo()), service("", &j, echo())
	one.Address, two.Address = "127.0.0.1:"+port, "127.0.0.1:"+freePort(t)
	g := &tcp.Group{Servers: []*tcp.Server{one, two}}
	stop, result := runGroup(t, g)
	exchange(t, dialServer(t, one), "hello\n")
	for name, test := range map[string]struct {
		network, address string
		c                tcp.Changes
		want             string
	}{
		"removed": {"", ":" + port, tcp.Changes{Remove: []*tcp.Server{one}},
			"tcp.address: :" + port + " overlaps 127.0.0.1:" + port + ", where the service one listens until this change: change it in two steps"},
		"another network": {"tcp4", "127.0.0.1:" + port, tcp.Changes{Remove: []*tcp.Server{one}},
			"tcp.address: 127.0.0.1:" + port + " is where the service one listens until this change: change it in two steps"},
		"stays":   {"", ":" + port, tcp.Changes{}, "tcp.address: :" + port + " overlaps 127.0.0.1:" + port + ", where the service one listens"},
		"no name": {"", two.Address, tcp.Changes{}, "where the server without a name listens"},
	} {
		t.Run(name, func(t *testing.T) {
			s := service("x", &j, echo())
			s.Network, s.Address = test.network, test.address
			test.c.Add = []*tcp.Server{s}
			err := g.Change(t.Context(), test.c)
			var bad *field.Error
			if text := errorText(err); !strings.HasSuffix(text, test.want) || !strings.HasPrefix(text, "service x: tcp.address: ") {
				t.Errorf("error %s", text)
			} else if !errors.As(err, &bad) || bad.Field != "Address" || bad.Value != test.address {
				t.Errorf("the field is %+v", bad)
			}
			exchange(t, dialServer(t, one), "hello\n")
		})
	}
	ended(t, stop, result)
}

// A port that the system has chosen for the old server is the new one's by its number; port 0 is a
// new port.
func TestHandoverOfAChosenPort(t *testing.T) {
	var j journal
	one, two, three := service("one", &j, echo()), service("two", &j, echo()), service("three", &j, echo())
	g := &tcp.Group{Servers: []*tcp.Server{one}}
	stop, result := runGroup(t, g)
	exchange(t, dialServer(t, one), "hello\n")
	first := one.Addrs()[0].String()
	two.Address = first
	change(t, g, tcp.Changes{Remove: []*tcp.Server{one}, Add: []*tcp.Server{three, two}})
	if two.Addrs()[0].String() != first || three.Addrs()[0].String() == first {
		t.Errorf("%v, %v", two.Addrs(), three.Addrs())
	}
	exchange(t, dialServer(t, two), "hello\n")
	ended(t, stop, result)
}

// Under load, no client is lost while servers swap their addresses.
func TestHandoverUnderLoad(t *testing.T) {
	for name, newHandler := range handlersOfAllKinds() {
		t.Run(name, func(t *testing.T) {
			var j journal
			one, two := service("one", &j, newHandler()), service("two", &j, newHandler())
			one.Address, two.Address = "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
			addresses := []string{one.Address, two.Address}
			g := &tcp.Group{Servers: []*tcp.Server{one, two}}
			stop, result := runGroup(t, g)
			eventually(t, "the servers", func() bool { return one.Ready() && two.Ready() })
			visits, halt := visitAll(t, 8, dialInTurn(addresses), ping)
			for range testutil.Rounds(50) {
				before := visits.Load()
				eventually(t, "visits", func() bool { return visits.Load() > before+10 || t.Failed() })
				first, second := one.Settings(), two.Settings()
				first.Address, second.Address = second.Address, first.Address
				change(t, g, tcp.Changes{Set: map[*tcp.Server]tcp.Config{one: first, two: second}})
			}
			halt()
			ended(t, stop, result)
			if a, b := one.Stats(), two.Stats(); a.Active+b.Active != 0 || a.AcceptErrors+b.AcceptErrors > 0 {
				t.Errorf("%+v, %+v", a, b)
			}
		})
	}
}

// dialInTurn connects each client to one of the addresses.
func dialInTurn(addresses []string) func(client int) (net.Conn, error) {
	return func(client int) (net.Conn, error) {
		return net.DialTimeout("tcp", addresses[client%len(addresses)], patience)
	}
}

// Under load, a server is replaced by another one. No client is refused; one that the old server has
// accepted may be drained before it has said anything.
func TestHandoverToNewServersUnderLoad(t *testing.T) {
	for name, newHandler := range handlersOfAllKinds() {
		t.Run(name, func(t *testing.T) {
			var j journal
			server := service("0", &j, newHandler())
			server.Address = "127.0.0.1:" + freePort(t)
			g := &tcp.Group{Servers: []*tcp.Server{server}}
			stop, result := runGroup(t, g)
			eventually(t, "the server", server.Ready)
			var drained atomic.Int64
			visits, halt := visitAll(t, 8, dialInTurn([]string{server.Address}), func(conn net.Conn) error {
				err := ping(conn)
				if errors.Is(err, io.EOF) || isReset(err) || errors.Is(err, syscall.EPIPE) {
					drained.Add(1)
					return nil
				}
				return err
			})
			rounds := testutil.Rounds(30)
			for i := range rounds {
				before := visits.Load()
				eventually(t, "visits", func() bool { return visits.Load() > before+10 || t.Failed() })
				next := service(fmt.Sprint(i+1), &j, newHandler())
				next.Config = server.Config
				change(t, g, tcp.Changes{Add: []*tcp.Server{next}, Remove: []*tcp.Server{server}})
				server = next
			}
			halt()
			ended(t, stop, result)
			if n := drained.Load(); n > int64(rounds)*8 {
				t.Errorf("%d clients were drained, in %d changes", n, rounds)
			}
			if n := len(j.find("drained")); n != rounds+1 {
				t.Errorf("%d lines", n)
			}
		})
	}
}

// The method CheckListener of a handler whose configuration changes is not asked.
func TestChangesCheckListener(t *testing.T) {
	var j journal
	var asked []string
	one := service("one", &j, &choosy{Frames: echo(), check: func(a net.Addr) error {
		if len(asked) > 0 {
			t.Error("the handler is asked")
		}
		return nil
	}})
	g := &tcp.Group{Servers: []*tcp.Server{one}}
	stop, result := runGroup(t, g)
	exchange(t, dialServer(t, one), "hello\n")
	cfg := one.Settings()
	cfg.Address = "127.0.0.1:" + freePort(t)
	two := service("two", &j, echo())
	change(t, g, tcp.Changes{
		Set: map[*tcp.Server]tcp.Config{one: cfg}, Add: []*tcp.Server{two},
		CheckListener: func(s *tcp.Server, a net.Addr) error {
			asked = append(asked, s.Name)
			if s == one && a.String() != cfg.Address {
				t.Errorf("asked about %v", a)
			}
			return nil
		},
	})
	if got := strings.Join(asked, " "); got != "one two" {
		t.Errorf("asked for %s", got)
	}
	ended(t, stop, result)
}

// choosy is a handler with a method CheckListener.
type choosy struct {
	*handler.Frames
	check func(net.Addr) error
}

func (c *choosy) CheckListener(a net.Addr) error { return c.check(a) }

// Reconfigure of a server that a group listens for, and does not serve yet, waits until it does.
func TestReconfigureWhileAGroupListens(t *testing.T) {
	for _, when := range []string{"start", "change"} {
		t.Run(when, func(t *testing.T) {
			var j journal
			opening, goOn := make(chan struct{}), make(chan struct{})
			one := service("one", &j, echo())
			two := service("two", &j, &choosy{Frames: echo(), check: func(net.Addr) error {
				close(opening)
				<-goOn
				return nil
			}})
			first := service("first", &j, echo())
			g := &tcp.Group{Servers: []*tcp.Server{first}}
			changed := make(chan error, 1)
			if when == "start" {
				g.Servers = append(g.Servers, one, two)
				changed <- nil
			}
			stop, result := runGroup(t, g)
			if when == "change" {
				eventually(t, "the group", first.Ready)
				go func() { changed <- g.Change(t.Context(), tcp.Changes{Add: []*tcp.Server{one, two}}) }()
			}
			<-opening
			cfg := one.Config
			cfg.Address, cfg.MaxClients = "127.0.0.1:"+freePort(t), 5
			reconfigured := make(chan error, 1)
			go func() { reconfigured <- one.Reconfigure(t.Context(), cfg) }()
			select {
			case err := <-reconfigured:
				t.Errorf("Reconfigure has not waited: %v", err)
				reconfigured <- err
			case <-time.After(50 * time.Millisecond):
			}
			close(goOn)
			if err := errors.Join(testutil.Await(t, "Reconfigure", reconfigured), testutil.Await(t, "Change", changed)); err != nil {
				t.Fatal(err)
			}
			if addrs := one.Addrs(); len(addrs) != 1 || addrs[0].String() != cfg.Address {
				t.Errorf("%v", addrs)
			}
			exchange(t, dial(t, "tcp", cfg.Address), "hello\n")
			eventually(t, "the other server", two.Ready)
			ended(t, stop, result)
		})
	}
}
