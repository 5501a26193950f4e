package tcp_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/pires/go-proxyproto"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// Probes are in the log at level debug only, and counted once. Connections with a byte are
// clients.
func TestProbes(t *testing.T) {
	a := testutil.NewAuthority(t)
	required := tcp.Config{ProxyProtocol: tcp.ProxyProtocolRequired, ProxyProtocolTrusted: []string{"127.0.0.1"}}
	addrs := [2]net.Addr{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2}}
	client := proxyproto.HeaderProxyFromAddrs(2, addrs[0], addrs[1])
	local := proxyproto.HeaderProxyFromAddrs(2, nil, nil)
	local.Command = proxyproto.LOCAL
	format := func(h *proxyproto.Header) string {
		b, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	upstream := start(t, tcp.Config{}, echo())
	frames := func(record func(handler.Record)) handler.Handler {
		h := echo()
		h.OnRecord = record
		return h
	}
	plain := func(record func(handler.Record)) handler.Handler {
		h := handler.Func(func(_ context.Context, conn net.Conn) { io.Copy(conn, conn) })
		h.OnRecord = record
		return h
	}
	proxied := func(record func(handler.Record)) handler.Handler {
		return &proxy.Proxy{Config: proxy.Config{Upstreams: []string{upstream.Addr}}, OnRecord: record}
	}
	for name, test := range map[string]struct {
		cfg   tcp.Config
		h     func(func(handler.Record)) handler.Handler
		send  string
		reset bool
		probe bool
	}{
		"frames":                {h: frames, probe: true},
		"frames, reset":         {h: frames, probe: true, reset: true},
		"a byte":                {h: frames, send: "a"},
		"plain":                 {h: plain, probe: true},
		"proxy":                 {h: proxied, probe: true},
		"proxy, a byte":         {h: proxied, send: "a"},
		"LOCAL":                 {cfg: required, h: frames, send: format(local), probe: true},
		"LOCAL, a line":         {cfg: required, h: frames, send: format(local) + "a\n", probe: true},
		"LOCAL, proxy":          {cfg: required, h: proxied, send: format(local) + "a\n", probe: true},
		"header":                {cfg: required, h: frames, send: format(client), probe: true},
		"header, a line":        {cfg: required, h: frames, send: format(client) + "a\n"},
		"no header":             {cfg: required, h: frames, probe: true},
		"no header, reset":      {cfg: required, h: frames, probe: true, reset: true},
		"half a header":         {cfg: required, h: frames, send: format(client)[:14]},
		"no handshake":          {cfg: tlsFiles(t, a), h: frames, probe: true},
		"no handshake, reset":   {cfg: tlsFiles(t, a), h: frames, probe: true, reset: true},
		"half of a handshake":   {cfg: tlsFiles(t, a), h: frames, send: "\x16\x03"},
		"a handshake of a line": {cfg: tlsFiles(t, a), h: frames, send: "hello\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			test.cfg.Log = log.logger()
			s := start(t, test.cfg, test.h(handler.LogRecords(log.logger())))
			conn := dial(t, "tcp", s.Addr)
			io.WriteString(conn, test.send)
			if test.reset {
				reset(t, conn)
			} else {
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, conn)
				conn.Close()
			}
			lines := func() (info, debug int) {
				logger.Flush(patience)
				log.mu.Lock()
				defer log.mu.Unlock()
				for _, r := range log.records {
					switch {
					case r.Level >= slog.LevelInfo:
						info++
					default:
						debug++
					}
				}
				return info, debug
			}
			testutil.Eventually(t, "a line", func() bool {
				info, debug := lines()
				return info+debug > 0
			})
			want := map[bool][3]int{true: {0, 1, 1}, false: {1, 0, 0}}[test.probe]
			info, debug := lines()
			if got := [3]int{info, debug, int(s.TCP.Stats().Probes)}; got != want {
				t.Errorf("%d lines at info, %d at debug, %d probes; want %v: %v", got[0], got[1], got[2], want, log.records)
			}
		})
	}
}
