package tcp_test

import (
	"io"
	"net"
	"strconv"
	"testing"

	"wireline/internal/testutil"
	"wireline/tcp"
)

// Every refusal is in the log at level info: the first client at once, all of them by the end
// of the server.
func TestRefusalsAreLogged(t *testing.T) {
	a := testutil.NewAuthority(t)
	for cause, test := range map[string]struct {
		cfg   tcp.Config
		msg   string
		first bool   // a client is let in first
		send  string // by those that are refused
	}{
		"max_clients":        {cfg: tcp.Config{MaxClients: 1, WhenFull: tcp.FullRefuse}, msg: "refused", first: true},
		"max_clients_per_ip": {cfg: tcp.Config{MaxClientsPerIP: 1}, msg: "refused", first: true},
		"untrusted_peer": {msg: "refused", cfg: tcp.Config{
			ProxyProtocol: tcp.ProxyProtocolRequired, ProxyProtocolTrusted: []string{"192.0.2.1"}}},
		"proxy_header": {msg: "refused", send: "hello\n", cfg: tcp.Config{
			ProxyProtocol: tcp.ProxyProtocolRequired, ProxyProtocolTrusted: []string{"127.0.0.1"}}},
		"tls_handshake": {msg: "TLS handshake failed", send: "hello\n", cfg: tlsFiles(t, a)},
	} {
		t.Run(cause, func(t *testing.T) {
			const n = 20
			var log journal
			test.cfg.Log = log.logger()
			s := start(t, test.cfg, echo())
			if test.first {
				exchange(t, dial(t, "tcp", s.Addr), "a\n")
			}
			for range n {
				conn, err := net.Dial("tcp", s.Addr)
				if err != nil {
					continue // reset already
				}
				io.WriteString(conn, test.send)
				io.Copy(io.Discard, conn)
				conn.Close()
			}
			testutil.Eventually(t, "the first line", func() bool { return len(log.find(test.msg)) > 0 })
			line := log.find(test.msg)[0]
			if line["level"] != "INFO" || line["cause"] != cause || line["count"] != "1" || line["peer"] == "" {
				t.Errorf("the first line is %v", line)
			}
			s.Close()
			sum := 0
			for _, line := range log.find(test.msg) {
				if line["level"] == "INFO" {
					count, _ := strconv.Atoi(line["count"])
					sum += count
				}
			}
			st := s.TCP.Stats()
			if counted := st.RefusedFull + st.RefusedPerIP + st.RefusedHeader + st.FailedHandshakes; sum != n || counted != n {
				t.Errorf("%d in the log, %d in Stats, want %d", sum, counted, n)
			}
		})
	}
}

// Clients that wait for a place are in the log, too.
func TestWaitingIsLogged(t *testing.T) {
	var log journal
	s := start(t, tcp.Config{MaxClients: 1, Log: log.logger()}, echo())
	exchange(t, dial(t, "tcp", s.Addr), "a\n")
	const msg = "full, further clients wait"
	testutil.Eventually(t, "the line", func() bool { return len(log.find(msg)) > 0 })
	if line := log.find(msg)[0]; line["level"] != "INFO" || line["cause"] != "max_clients_wait" || line["max_clients"] != "1" {
		t.Errorf("logged %v", line)
	}
}
