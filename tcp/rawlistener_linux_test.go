package tcp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/internal/transport"
	"wireline/tcp"
)

// acceptor is a Handler whose Accept is a function.
type acceptor struct {
	handler.Handler
	accept func(a handler.Accepted)
}

func (x *acceptor) Accept(a handler.Accepted) { x.accept(a) }

func (x *acceptor) Shutdown(ctx context.Context) error {
	if s, ok := x.Handler.(handler.Shutdowner); ok {
		return s.Shutdown(ctx)
	}
	return x.Handler.Close()
}

// mustSocket is the socket of a connection that has one.
func mustSocket(t *testing.T, a handler.Accepted) (fd int) {
	t.Helper()
	fd, ok := a.Socket()
	if !ok {
		t.Error("there is no socket")
	}
	return fd
}

// sockopts are the socket options that package net sets on what it accepts.
type sockopts struct{ NoDelay, KeepAlive, Idle, Interval, Count int }

func optionsOf(fd int) (o sockopts) {
	o.NoDelay, _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
	o.KeepAlive, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	o.Idle, _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
	o.Interval, _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
	o.Count, _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	return o
}

// listening is a listener of each kind.
func listening(t *testing.T, network, address string, multipath bool) net.Listener {
	t.Helper()
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(multipath)
	ln, err := lc.Listen(t.Context(), network, address)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// A socket that was accepted without package net is as one that was accepted with
// it, and does not block.
func TestRawSocketsAreAsNetMakesThem(t *testing.T) {
	for _, test := range []struct {
		network, address   string
		multipath, dialsIt bool
	}{
		{"tcp", "127.0.0.1:0", true, false}, // what net.Listen makes
		{"tcp", "127.0.0.1:0", true, true},
		{"tcp", "127.0.0.1:0", false, false},
		{"tcp", "[::1]:0", false, false},
		{"tcp", ":0", true, false},
		{"unix", "", false, false},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			dialer := net.Dialer{Timeout: patience}
			dialer.SetMultipathTCP(test.dialsIt)
			connect := func(ln net.Listener) {
				conn, err := dialer.Dial(test.network, ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
			}

			plain := listening(t, test.network, test.address, test.multipath)
			connect(plain)
			conn, err := plain.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			raw, err := conn.(syscall.Conn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var want sockopts
			raw.Control(func(fd uintptr) { want = optionsOf(int(fd)) })
			if test.network == "tcp" && (want.NoDelay != 1 || want.KeepAlive != 1) {
				t.Fatalf("package net has the options %+v", want)
			}

			found := make(chan sockopts, 1)
			ln := listening(t, test.network, test.address, test.multipath)
			connect(ln) // one waits already when the server begins
			srv := &tcp.Server{Handler: &acceptor{echo(), func(a handler.Accepted) {
				fd := mustSocket(t, a)
				if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
					t.Errorf("the socket blocks: flags %x, %v", flags, err)
				}
				if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Errorf("the socket is inherited: flags %x, %v", flags, err)
				}
				found <- optionsOf(fd)
				unix.Close(fd)
				a.Done()
			}}}
			result := serve(t.Context(), t, srv, ln)
			for _, which := range []string{"that waited", "that comes then"} {
				if got := testutil.Await(t, "the socket", found); got != want {
					t.Errorf("one %s has the options %+v, want %+v", which, got, want)
				}
				if which == "that waited" {
					connect(ln)
				}
			}
			shutdown(t, srv)
			result()
		})
	}
}

func TestAcceptedAddresses(t *testing.T) {
	for _, test := range []struct{ network, listen, dial string }{
		{"tcp", "127.0.0.1:0", "127.0.0.1"},
		{"tcp", "[::1]:0", "::1"},
		{"tcp", ":0", "127.0.0.1"},
		{"tcp", ":0", "::1"},
		{"tcp4", ":0", "127.0.0.1"},
		{"unix", "", ""},
	} {
		t.Run(test.network+" "+test.listen+" "+test.dial, func(t *testing.T) {
			ln := listening(t, test.network, test.listen, true)
			all := make(chan handler.Accepted, 1)
			srv := &tcp.Server{Handler: &acceptor{echo(), func(a handler.Accepted) {
				unix.Close(mustSocket(t, a))
				a.Done()
				all <- a
			}}}
			result := serve(t.Context(), t, srv, ln)
			address := ln.Addr().String()
			if test.network != "unix" {
				_, port, _ := net.SplitHostPort(address)
				address = net.JoinHostPort(test.dial, port)
			}
			conn := dial(t, test.network, address)
			a := testutil.Await(t, "the connection", all)
			if got, want := a.LocalAddr(), ln.Addr(); got.String() != want.String() || got.Network() != want.Network() {
				t.Errorf("LocalAddr is %v, want the listener's %v", got, want)
			}
			if got, want := a.RemoteAddr(), conn.LocalAddr(); got.Network() != want.Network() || test.network != "unix" && got.String() != want.String() {
				t.Errorf("RemoteAddr is %v, want %v", got, want)
			}
			if test.network != "unix" {
				got := a.RemoteAddr().(*net.TCPAddr)
				if want := conn.LocalAddr().(*net.TCPAddr); !got.IP.Equal(want.IP) || got.AddrPort().Addr().Unmap() != want.AddrPort().Addr().Unmap() {
					t.Errorf("RemoteAddr is %#v, want %#v", got, want)
				}
			}
			shutdown(t, srv)
			result()
		})
	}
}

// Under TLS package net makes the connections, and gives them up after the handshake: but not
// those of a listener that may be more than a socket. The addresses are the same.
func TestAcceptedAddressesWithTLS(t *testing.T) {
	authority := testutil.NewAuthority(t)
	for _, test := range []struct {
		network, listen, dial string
		hidden                bool
	}{
		{"tcp", "127.0.0.1:0", "127.0.0.1", false},
		{"tcp", "127.0.0.1:0", "127.0.0.1", true},
		{"tcp", ":0", "127.0.0.1", false},
		{"tcp", ":0", "::1", false},
		{"tcp", "[::]:0", linkLocal(t), false},
		{"unix", "", "", false},
		{"unix", "", "", true},
		{"unix", "", "named", false},
	} {
		t.Run(fmt.Sprintf("%s %s %s, hidden %v", test.network, test.listen, test.dial, test.hidden), func(t *testing.T) {
			ln := listening(t, test.network, test.listen, true)
			all := make(chan handler.Accepted, 1)
			srv := &tcp.Server{Config: tlsFiles(t, authority), Handler: &acceptor{echo(), func(a handler.Accepted) {
				all <- a
			}}}
			served := ln
			if test.hidden {
				served = struct{ net.Listener }{ln}
			}
			result := serve(t.Context(), t, srv, served)
			address, dialer := ln.Addr().String(), net.Dialer{}
			if test.network == "tcp" {
				_, port, _ := net.SplitHostPort(address)
				address = net.JoinHostPort(test.dial, port)
			} else if test.dial != "" {
				dialer.LocalAddr = &net.UnixAddr{Name: filepath.Join(t.TempDir(), test.dial), Net: "unix"}
			}
			plain, err := dialer.Dial(test.network, address)
			if err != nil {
				t.Skip(err)
			}
			conn := tls.Client(plain, authority.Client("first"))
			t.Cleanup(func() { conn.Close() })
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			a := testutil.Await(t, "the connection", all)
			under := transport.Of(a.TLS())
			fd, ok := under.Socket()
			if ok == test.hidden {
				t.Errorf("there is a socket: %v", ok)
			}
			want := plain.LocalAddr().String()
			if test.network == "unix" && want == "@" && !test.hidden {
				want = "" // it has no name
			}
			if got := a.RemoteAddr(); got.String() != want || got.Network() != test.network {
				t.Errorf("RemoteAddr is %v, want %v", got, want)
			}
			if got, want := a.Network(), test.network; got != want {
				t.Errorf("Network is %v, want %v", got, want)
			}
			if got, want := a.LocalAddr(), ln.Addr(); !test.hidden && got.String() != want.String() {
				t.Errorf("LocalAddr is %v, want the listener's %v", got, want)
			}
			if ok {
				unix.Close(fd)
			} else {
				under.Base().Close()
			}
			a.Done()
			shutdown(t, srv)
			result()
		})
	}
}

// linkLocal is an address of this machine that has a zone, if there is one.
func linkLocal(t *testing.T) string {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		addrs, _ := i.Addrs()
		for _, addr := range addrs {
			if ip, ok := addr.(*net.IPNet); ok && ip.IP.To4() == nil && ip.IP.IsLinkLocalUnicast() {
				return ip.IP.String() + "%" + i.Name
			}
		}
	}
	return "fe80::1%none"
}

// A handler that asks for a connection gets one, whether it has taken the socket, has not
// asked for it, or does not know Accept.
func TestConnOfASocket(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, how := range []string{"after the socket", "without the socket", "plain"} {
			t.Run(network+" "+how, func(t *testing.T) {
				ln := listening(t, network, "127.0.0.1:0", true)
				types := make(chan string, 100)
				plain := handler.Func(func(_ context.Context, conn net.Conn) {
					types <- fmt.Sprint(conn.LocalAddr().Network(), " ", conn.RemoteAddr().Network())
					io.Copy(conn, conn)
				})
				var h handler.Handler = plain
				if how != "plain" {
					h = &acceptor{h, func(a handler.Accepted) {
						fd := -1
						if how == "after the socket" {
							fd = mustSocket(t, a)
						}
						conn, err := a.Conn()
						if err != nil {
							t.Error(err)
						}
						if again, err := a.Conn(); again != conn || err != nil {
							t.Errorf("Conn again: %v, %v", again, err)
						}
						if fd >= 0 {
							unix.Close(fd)
						}
						plain.Accept(a)
					}}
				}
				srv := &tcp.Server{Handler: h, Config: tcp.Config{MaxClients: 2, MaxClientsPerIP: 2}}
				result := serve(t.Context(), t, srv, ln)
				const clients = 20
				for range clients {
					conn := dial(t, network, ln.Addr().String())
					exchange(t, conn, "hello\n")
					if got := testutil.Await(t, "the connection", types); got != network+" "+network {
						t.Errorf("its addresses are of %s", got)
					}
					conn.Close()
				}
				eventually(t, "the last client's end", func() bool { return srv.Stats().Active == 0 })
				if st := srv.Stats(); st.Accepted != clients || st.RefusedPerIP != 0 {
					t.Errorf("stats %+v", st)
				}
				conn := dial(t, network, ln.Addr().String())
				exchange(t, conn, "still here\n")
				conn.Close()
				shutdown(t, srv)
				result()
			})
		}
	}
}

// endings are ways for a connection to end.
var endings = map[string]func(t *testing.T, conn net.Conn){
	"FIN": func(t *testing.T, conn net.Conn) {
		closeWriteOf(t, conn)
		receiveAll(t, conn, "")
		conn.Close()
	},
	"close": func(t *testing.T, conn net.Conn) { conn.Close() },
	"reset": func(t *testing.T, conn net.Conn) {
		if conn.LocalAddr().Network() == "tcp" {
			reset(t, conn)
		} else {
			conn.Close()
		}
	},
	"quit": func(t *testing.T, conn net.Conn) {
		send(t, conn, "quit\n")
		receiveAll(t, conn, "")
		conn.Close()
	},
	"panic": func(t *testing.T, conn net.Conn) {
		send(t, conn, "panic\n")
		receiveAll(t, conn, "")
		conn.Close()
	},
	"hijack": func(t *testing.T, conn net.Conn) {
		send(t, conn, "hijack\n")
		receiveAll(t, conn, "mine\n")
		conn.Close()
	},
}

func closeWriteOf(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// enders serves clients that end in all those ways.
func enders() *handler.Frames {
	return &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
		switch string(line) {
		case "quit":
			return handler.ErrQuit
		case "panic":
			panic("as asked")
		case "hijack":
			conn, _, err := c.Hijack()
			if err == nil {
				io.WriteString(conn, "mine\n")
				err = conn.Close()
			}
			return err
		}
		return c.WriteFrame(line)
	}}
}

// Every socket gives its place back once: not twice, and not never.
func TestRawPlaces(t *testing.T) {
	const most, rounds = 3, 10
	for _, network := range []string{"tcp", "unix"} {
		for name, end := range endings {
			t.Run(network+" "+name, func(t *testing.T) {
				var j journal
				ln := listening(t, network, "127.0.0.1:0", true)
				srv := &tcp.Server{Handler: enders(), Config: tcp.Config{MaxClients: most, MaxClientsPerIP: most, WhenFull: tcp.FullRefuse, Log: j.logger()}}
				result := serve(t.Context(), t, srv, ln)
				connect := func() net.Conn { return dial(t, network, ln.Addr().String()) }
				for range rounds {
					var conns []net.Conn
					for range most {
						conn := connect()
						exchange(t, conn, "hello\n")
						conns = append(conns, conn)
					}
					for _, conn := range conns {
						end(t, conn)
					}
					eventually(t, "their ends", func() bool { return srv.Stats().Active == 0 })
				}
				for range most {
					exchange(t, connect(), "hello\n")
				}
				over, err := net.DialTimeout(network, ln.Addr().String(), patience)
				if err == nil { // else the reset came before connect looked
					over.SetDeadline(time.Now().Add(patience))
					if got, err := io.ReadAll(over); len(got) > 0 || network == "tcp" && !isReset(err) {
						t.Errorf("one too many reads %q, %v", got, err)
					}
					over.Close()
				}
				if st := srv.Stats(); st.Accepted != most*(rounds+1) || st.RefusedFull != 1 || st.RefusedPerIP != 0 {
					t.Errorf("stats %+v", st)
				}
				shutdown(t, srv)
				result()
			})
		}
	}
}

// A full server lets clients wait in the kernel's queue, and serves them in turn.
func TestRawMaxClientsWait(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			ln := listening(t, network, "127.0.0.1:0", true)
			srv := &tcp.Server{Handler: greeting(), Config: tcp.Config{MaxClients: 2}}
			result := serve(t.Context(), t, srv, ln)
			var conns []net.Conn
			for range 6 {
				conns = append(conns, dial(t, network, ln.Addr().String()))
			}
			for i, conn := range conns {
				receive(t, conn, "welcome\n")
				if i >= 1 && i+1 < len(conns) && !silent(conns[i+1], 20*time.Millisecond) {
					t.Fatalf("client %d is served, the limit is 2", i+2)
				}
				if i >= 1 {
					conns[i-1].Close()
				}
			}
			shutdown(t, srv)
			result()
		})
	}
}

// Clients in the kernel's queue are served when the server stops: they are connected, as
// far as they can tell.
func TestStopInAStormOfClients(t *testing.T) {
	const clients = 200
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			for range 5 {
				ln := listening(t, network, "127.0.0.1:0", true)
				srv := &tcp.Server{Handler: echo()}
				var conns []net.Conn
				for range clients {
					conn := dial(t, network, ln.Addr().String())
					send(t, conn, "hello\n")
					conns = append(conns, conn)
				}
				result := serve(t.Context(), t, srv, ln)
				eventually(t, "the first client", func() bool { return srv.Stats().Accepted > 0 })
				shutdown(t, srv) // others are still in the queue
				for i, conn := range conns {
					got, err := io.ReadAll(conn)
					if string(got) != "hello\n" || err != nil {
						t.Fatalf("client %d of %d reads %q, %v", i, clients, got, err)
					}
					conn.Close()
				}
				if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
					t.Errorf("serve: %v", err)
				}
				if st := srv.Stats(); st.Accepted != clients || st.Active != 0 {
					t.Errorf("stats %+v", st)
				}
			}
		})
	}
}

// The same while clients connect: one that has sent its line before the stop is answered.
func TestStopWhileClientsCome(t *testing.T) {
	const lanes = 4
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			ln := listening(t, network, "127.0.0.1:0", true)
			srv := &tcp.Server{Handler: echo()}
			result := serve(t.Context(), t, srv, ln)
			var served atomic.Int32
			var stopping atomic.Bool
			var all sync.WaitGroup
			for range lanes {
				all.Go(func() {
					for {
						conn, err := net.DialTimeout(network, ln.Addr().String(), patience)
						if err != nil {
							if !stopping.Load() {
								t.Errorf("a client cannot connect: %v", err)
							}
							return
						}
						conn.SetDeadline(time.Now().Add(patience))
						_, err = io.WriteString(conn, "hello\n")
						before := !stopping.Load()
						got := make([]byte, 6)
						if err == nil {
							_, err = io.ReadFull(conn, got)
						}
						conn.Close()
						if err == nil && string(got) == "hello\n" {
							served.Add(1)
						} else if before {
							t.Errorf("a client reads %q, %v", got, err)
						}
					}
				})
			}
			eventually(t, "some clients", func() bool { return served.Load() > 200 })
			stopping.Store(true)
			shutdown(t, srv)
			all.Wait()
			result()
		})
	}
}

// The descriptors of a server that was stopped are free, whatever its clients did.
func TestRawDescriptors(t *testing.T) {
	before := testutil.OpenFiles(t)
	for _, network := range []string{"tcp", "unix"} {
		var j journal
		ln := listening(t, network, "127.0.0.1:0", true)
		srv := &tcp.Server{Handler: enders(), Config: tcp.Config{Log: j.logger()}}
		result := serve(t.Context(), t, srv, ln)
		for _, end := range endings {
			for range 20 {
				conn := dial(t, network, ln.Addr().String())
				exchange(t, conn, "hello\n")
				end(t, conn)
			}
		}
		shutdown(t, srv)
		result()
	}
	eventually(t, "the descriptors", func() bool { return testutil.OpenFiles(t) <= before })
}
