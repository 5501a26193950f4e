package proxy_test

import (
	"io"
	"net"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
)

// listenSmall is listenTCP with small send buffers.
func listenSmall(t *testing.T) (net.Listener, func() (net.Conn, error)) {
	t.Helper()
	ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: "127.0.0.1:0", Socket: tcp.Socket{SendBuffer: 4 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	return ln, func() (net.Conn, error) { return net.DialTimeout("tcp", ln.Addr().String(), patience) }
}

// overFullTLS runs test with pairs whose client does not read what TLS answers to its keyUpdates
// KeyUpdates.
func overFullTLS(t *testing.T, cfg proxy.Config, test func(t *testing.T, s *served, client *testutil.RecordClient, upstream net.Conn)) {
	own := func(inner func(net.Listener) net.Listener) func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
		return func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
			ln, dial := listenSmall(t)
			return ownTLS{ln, inner(ln)}, dial
		}
	}
	bare := own(func(ln net.Listener) net.Listener { return ln })
	plain := own(func(ln net.Listener) net.Listener { return testutil.PlainListener{Listener: ln} })
	wrapped := own(func(ln net.Listener) net.Listener { return testutil.WrappingListener{Listener: ln} })
	for _, tr := range []transport{
		{"TLS", bare, "tcp", false},
		{"TLS to TLS", bare, "tls", false},
		{"TLS by goroutine", plain, "tcp", true},
		{"TLS, wrapped", wrapped, "tcp", true},
	} {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := tr.serve(t, cfg)
			client := testutil.HandshakeByHand(t, s.connect())
			upstream := s.accept()
			send(t, client.Conn, string(client.Out.KeyUpdates(keyUpdates, "x")))
			if _, err := io.CopyN(io.Discard, upstream, keyUpdates/10); err != nil {
				t.Fatal(err)
			}
			test(t, s, client, upstream)
		})
	}
}

// keyUpdates is how many KeyUpdates have answers that do not fit into small buffers, but that the
// proxy still reads: about 240 KB.
const keyUpdates = 9000

// What TLS has queued, and the close_notify behind that, is sent before a side is closed.
func TestTLSCloseSendsQueue(t *testing.T) {
	t.Parallel()
	overFullTLS(t, proxy.Config{}, func(t *testing.T, s *served, client *testutil.RecordClient, upstream net.Conn) {
		send(t, client.Conn, string(client.Out.Seal(testutil.AlertRecord, []byte{1, 0})))
		closeWrite(t, client.Conn)
		receiveAll(t, upstream, "")
		upstream.Close()
		time.Sleep(2 * time.Second) // longer than a side has that is not finishing
		client.ReceiveKeyUpdates(t, keyUpdates)
		if kind, data, err := client.In.Open(client.Conn); err != nil || kind != testutil.AlertRecord || data[1] != 0 {
			t.Fatalf("received a record of type %d with %x, %v; want a close_notify", kind, data, err)
		}
		if b, err := io.ReadAll(client.Conn); len(b) > 0 || err != nil {
			t.Errorf("received %x after the close_notify, %v; want a FIN", b, err)
		}
		s.records.Next(t)
	})
}

// A client that takes nothing does not hold up a drain for long.
func TestTLSDrainGivesUp(t *testing.T) {
	t.Parallel()
	overFullTLS(t, proxy.Config{}, func(t *testing.T, s *served, client *testutil.RecordClient, upstream net.Conn) {
		if err := s.shutdown(patience); err != nil {
			t.Error(err)
		}
	})
}
