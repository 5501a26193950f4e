package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/lib/logger"
	"wireline/tcptest"
)

// memory is a server on connections in memory that keeps the messages.
type memory struct {
	*server
	t   *testing.T
	net *tcptest.Server

	mu       sync.Mutex
	messages []string // as text has them
	records  []handler.Record
}

// text returns a message in one line, without what differs from run to run.
func text(m *Message) string {
	return m.From + " -> " + strings.Join(m.To, ",") + ": " + string(m.Data)
}

// startMemory starts a server. If c.Deliver is nil, the messages are kept.
func startMemory(t *testing.T, c Config, set ...func(*tcptest.Server)) *memory {
	m := &memory{t: t}
	if c.Deliver == nil {
		c.Deliver = m.deliver
	}
	m.server = newServer(c)
	m.frames.OnRecord = func(r handler.Record) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.records = append(m.records, r)
	}
	m.net = tcptest.NewUnstartedServer(&m.frames)
	for _, f := range set {
		f(m.net)
	}
	ln := tcptest.Listen()
	ln.Buffer = 1 << 20
	m.net.Serve(ln)
	t.Cleanup(m.net.Close)
	return m
}

// withFrames changes the handler before the server starts.
func withFrames(change func(*handler.Frames)) func(*tcptest.Server) {
	return func(s *tcptest.Server) { change(s.TCP.Handler.(*handler.Frames)) }
}

func (m *memory) deliver(_ context.Context, msg *Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, text(msg))
	return nil
}

// delivered returns the messages since the last call.
func (m *memory) delivered() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.messages
	m.messages = nil
	return all
}

// connect returns a connection that is closed at the end of the test.
func (m *memory) connect() net.Conn {
	conn := m.net.Dial()
	conn.SetDeadline(time.Now().Add(patience))
	m.t.Cleanup(func() { conn.Close() })
	return conn
}

// converse sends input in pieces of size bytes, then a FIN, and returns the replies. size 0
// means that all is sent at once.
func (m *memory) converse(input string, size int) string {
	m.t.Helper()
	return converse(m.t, m.connect(), input, size)
}

func converse(t *testing.T, conn net.Conn, input string, size int) string {
	t.Helper()
	defer conn.Close()
	for size > 0 && len(input) > size {
		if _, err := io.WriteString(conn, input[:size]); err != nil {
			break // the server has ended the session
		}
		input = input[size:]
	}
	if _, err := io.WriteString(conn, input); err == nil {
		tcptest.CloseWrite(t, conn)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return stable(string(got))
}

var randomID = regexp.MustCompile(`stored as \w+`)

// stable removes the parts of replies that differ from run to run.
func stable(replies string) string { return randomID.ReplaceAllString(replies, "stored") }

// exchange sends each line and reads the reply to it.
func exchange(t *testing.T, conn net.Conn, lines ...string) {
	t.Helper()
	for i := 0; i < len(lines); i += 2 {
		if lines[i] != "" {
			tcptest.Send(t, conn, lines[i]+"\r\n")
		}
		tcptest.Receive(t, conn, lines[i+1]+"\r\n")
	}
}

// certificate is that of newCertificate, made once.
var certificate = sync.OnceValue(newCertificate)

// newCertificate returns a key pair for 127.0.0.1 and localhost. It never expires (RFC 5280,
// 4.1.2.5): the first test to use certificate may run on the clock of synctest, which begins in 2000.
func newCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate()}} }

// clientTLS trusts the certificate.
func clientTLS() *tls.Config {
	cert, err := x509.ParseCertificate(certificate().Certificate[0])
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// certificateFiles writes the key pair to files.
func certificateFiles(t *testing.T) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certificate(), cert, key)
	return cert, key
}

// writeCertificate writes c to the files cert and key.
func writeCertificate(t *testing.T, c tls.Certificate, cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// implicitTLS makes the server speak TLS from the first byte.
func implicitTLS(s *tcptest.Server) { s.TCP.TLSConfig = serverTLS() }

// connectTLS connects to a server with implicitTLS.
func (m *memory) connectTLS() *tls.Conn { return tls.Client(m.connect(), clientTLS()) }

const greeting = "220 localhost ESMTP\r\n"

// envelope begins a message.
const (
	envelope        = "EHLO client\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
	envelopeReplies = greeting + "250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 26214400\r\n" +
		"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 send the message, end it with <CRLF>.<CRLF>\r\n"
)

// Sessions are sent at once and byte by byte: the replies are the same.
func TestSessions(t *testing.T) {
	const (
		ok     = "250 2.0.0 ok\r\n"
		from   = "250 2.1.0 ok\r\n"
		to     = "250 2.1.5 ok\r\n"
		data   = "354 send the message, end it with <CRLF>.<CRLF>\r\n"
		stored = "250 2.0.0 stored\r\n"
		bye    = "221 2.0.0 bye\r\n"
		hello  = "250 localhost\r\n"
		badArg = "501 5.5.4 syntax error in arguments\r\n"
	)
	for _, test := range []struct {
		name, in, out string
		messages      []string
	}{
		{"a message", envelope + "Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n", envelopeReplies + stored + bye,
			[]string{"a@example.org -> b@example.com: Subject: x\r\n\r\nhello\r\n"}},
		{"two messages, dots", envelope + "..\r\n.a\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<x@y>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n.\r\nQUIT\r\n",
			envelopeReplies + stored + from + to + to + data + stored + bye,
			[]string{"a@example.org -> b@example.com: .\r\na\r\n", " -> x@y,Postmaster: "}},
		{"commands in small letters", "helo x\r\nmail from:<a@b>\r\nrcpt to:<c@d>\r\nnoop\r\nrset\r\nquit\r\n", greeting + hello + from + to + ok + ok + bye, nil},
		{"white space at the end", "HELO x \t\r\nNOOP  \r\nRSET \r\nQUIT \r\n", greeting + hello + ok + ok + bye, nil},
		{"no hello", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", greeting + "503 5.5.1 EHLO first\r\n503 5.5.1 MAIL first\r\n503 5.5.1 MAIL first\r\n", nil},
		{"no recipient", "HELO x\r\nMAIL FROM:<a@b>\r\nDATA\r\n", greeting + hello + from + "554 5.5.1 no valid recipients\r\n", nil},
		{"two senders", "HELO x\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n", greeting + hello + from + "503 5.5.1 sender already given\r\n", nil},
		{"RSET ends the transaction", "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRSET\r\nDATA\r\nMAIL FROM:<a@b>\r\n",
			greeting + hello + from + to + ok + "503 5.5.1 MAIL first\r\n" + from, nil},
		{"so does HELO", "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nHELO x\r\nDATA\r\n", greeting + hello + from + to + hello + "503 5.5.1 MAIL first\r\n", nil},
		{"syntax", "HELO\r\nHELO x y\r\nHELO x\r\nMAIL\r\nMAIL FROM: <a@b>\r\nMAIL FROM:a@b\r\nMAIL FROM:<a@b>x\r\nRSET x\r\n",
			greeting + badArg + badArg + hello + badArg + badArg + badArg + badArg + badArg, nil},
		{"more syntax", "QUIT now\r\nVRFY\r\nHELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA x\r\nRCPT\r\nRCPT FROM:<a@b>\r\nRCPT TO:<>\r\nRCPT TO:<a>\r\n",
			greeting + badArg + badArg + hello + from + to + badArg + badArg + badArg + "501 5.1.3 bad recipient address\r\n501 5.1.3 bad recipient address\r\n", nil},
		{"unknown", "\r\nFOO\r\nEXPN x\r\nHELP\r\nSTARTTLS\r\nAUTH PLAIN\r\nGET / HTTP/1.1\r\n",
			greeting + "500 5.5.2 unknown command\r\n500 5.5.2 unknown command\r\n" + strings.Repeat("502 5.5.1 not implemented\r\n", 4) + "500 5.5.2 unknown command\r\n", nil},
		{"not ASCII", "HELO x\x00\r\nHELO \xc3\xbc\r\nNO\tOP\r\n", greeting + strings.Repeat("500 5.5.2 a command is printable ASCII\r\n", 3), nil},
		{"VRFY", "VRFY a\r\n", greeting + "252 2.0.0 send a message to find out\r\n", nil},
		{"parameters need EHLO", "HELO x\r\nMAIL FROM:<a@b> SIZE=1\r\n", greeting + hello + "555 5.5.4 parameters need EHLO\r\n", nil},
		{"a last command without an end", "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nQUIT", greeting + hello + from + to, nil},
		{"a message without an end", envelope + "hello\r\n", envelopeReplies, nil},
		{"a message with half an end", envelope + "hello\r\n.\r", envelopeReplies, nil},
		{"a line that is too long", "NOOP " + strings.Repeat("x", maxLine) + "\r\nNOOP " + strings.Repeat("x", maxLine-5) + "\r\n", greeting + "500 5.5.2 line too long\r\n" + ok, nil},
		{"bare LF", "HELO x\nMAIL FROM:<a@b>\r\n", greeting + "521 5.5.2 bare LF received\r\n", nil},
		{"bare CR", "HELO x\rMAIL FROM:<a@b>\r\n", greeting + "521 5.5.2 bare CR received\r\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := startMemory(t, Config{})
			for _, size := range []int{0, 1, 7} {
				if got := m.converse(test.in, size); got != test.out {
					t.Errorf("in pieces of %d bytes: got\n%q, want\n%q", size, got, test.out)
				}
				if got := m.delivered(); !slices.Equal(got, test.messages) {
					t.Errorf("in pieces of %d bytes: delivered %q, want %q", size, got, test.messages)
				}
			}
		})
	}
}

func TestParameters(t *testing.T) {
	m := startMemory(t, Config{MaxSize: 1000, Users: map[string]string{"u": "p"}})
	for param, want := range map[string]string{
		"":                          "250 2.1.0 ok",
		"SIZE=1000":                 "250 2.1.0 ok",
		"size=0 body=8bitmime":      "250 2.1.0 ok",
		"BODY=7BIT":                 "250 2.1.0 ok",
		"AUTH=<>":                   "250 2.1.0 ok",
		"SIZE=1001":                 "552 5.3.4 message longer than 1000 bytes",
		"SIZE=99999999999999999999": "501 5.5.4 syntax error in arguments",
		"SIZE":                      "501 5.5.4 syntax error in arguments",
		"SIZE=-1":                   "501 5.5.4 syntax error in arguments",
		"BODY=BINARYMIME":           "501 5.5.4 syntax error in arguments",
		"SMTPUTF8":                  "555 5.5.4 unknown parameter",
		"RET=FULL":                  "555 5.5.4 unknown parameter",
	} {
		got := m.converse("EHLO x\r\nMAIL FROM:<a@b> "+param+"\r\n", 0)
		if !strings.HasSuffix(got, "\r\n"+want+"\r\n") {
			t.Errorf("%s: %q, want %q", param, got, want)
		}
	}
	if got := m.converse("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\n", 0); !strings.HasSuffix(got, "\r\n555 5.5.4 unknown parameter\r\n") {
		t.Errorf("RCPT: %q", got)
	}
}

// The recipients over the limit are for another transaction, and are not errors.
func TestMaxRecipients(t *testing.T) {
	m := startMemory(t, Config{MaxRecipients: 2, MaxErrors: 1})
	got := m.converse("HELO x\r\nMAIL FROM:<a@b>\r\n"+strings.Repeat("RCPT TO:<c@d>\r\n", 5)+"DATA\r\n.\r\nQUIT\r\n", 0)
	want := greeting + "250 localhost\r\n250 2.1.0 ok\r\n" + strings.Repeat("250 2.1.5 ok\r\n", 2) +
		strings.Repeat("452 4.5.3 too many recipients\r\n", 3) +
		"354 send the message, end it with <CRLF>.<CRLF>\r\n250 2.0.0 stored\r\n221 2.0.0 bye\r\n"
	if got != want {
		t.Errorf("got %q", got)
	}
	if got := m.delivered(); !slices.Equal(got, []string{"a@b -> c@d,c@d: "}) {
		t.Errorf("delivered %q", got)
	}
}

func TestDomains(t *testing.T) {
	m := startMemory(t, Config{Domains: []string{"example.com", "[192.0.2.1]"}})
	for to, want := range map[string]string{
		"a@example.com":      "250 2.1.5 ok",
		"a@EXAMPLE.com":      "250 2.1.5 ok",
		`"a@b"@example.com`:  "250 2.1.5 ok",
		"a@[192.0.2.1]":      "250 2.1.5 ok",
		"postmaster":         "250 2.1.5 ok",
		"a@x.example.com":    "550 5.7.1 not a recipient here",
		"a@example.org":      "550 5.7.1 not a recipient here",
		"@example.com:a@x.y": "550 5.7.1 not a recipient here",
	} {
		got := m.converse("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<"+to+">\r\n", 0)
		if !strings.HasSuffix(got, "\r\n"+want+"\r\n") {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
	}
}

// A message of MaxSize is accepted, one more byte is not. The session goes on in both cases,
// however long the message is.
func TestMaxSize(t *testing.T) {
	const max = 1000
	for _, size := range []int{max, max + 1, 100 * max} {
		for _, line := range []string{strings.Repeat("x", 48) + "\r\n", "." + strings.Repeat("x", 47) + "\r\n"} {
			m := startMemory(t, Config{MaxSize: max})
			message := strings.Repeat(line, size/50)
			message += message[:size%50] // not a line, but the end follows
			if size%50 > 0 {
				message = "y" + strings.Repeat(line, size/50)
			}
			sent := strings.ReplaceAll("\r\n"+message, "\r\n.", "\r\n..")[2:]
			stored := size <= max
			want := "552 5.3.4 message longer than 1000 bytes\r\n"
			if stored {
				want = "250 2.0.0 stored\r\n"
			}
			in := "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + sent + ".\r\nNOOP\r\nMAIL FROM:<a@b>\r\nQUIT\r\n"
			for _, pieces := range []int{0, 1} {
				got := m.converse(in, pieces)
				if !strings.HasSuffix(got, "<CRLF>.<CRLF>\r\n"+want+"250 2.0.0 ok\r\n250 2.1.0 ok\r\n221 2.0.0 bye\r\n") {
					t.Errorf("%d bytes in pieces of %d: %q", len(message), pieces, got)
				}
				if n := len(m.delivered()); (n == 1) != stored {
					t.Errorf("%d bytes: %d messages were delivered", len(message), n)
				}
			}
		}
	}
}

func TestMaxErrors(t *testing.T) {
	m := startMemory(t, Config{MaxErrors: 3})
	const bad, end = "500 5.5.2 unknown command\r\n", "421 4.7.0 localhost too many errors, closing connection\r\n"
	long := "NOOP " + strings.Repeat("x", maxLine) + "\r\n"
	mail := "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n"
	mailReplies := "250 localhost\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 send the message, end it with <CRLF>.<CRLF>\r\n250 2.0.0 stored\r\n"
	for in, want := range map[string]string{
		"A\r\nB\r\nC\r\nQUIT\r\n":                     bad + bad + bad + "221 2.0.0 bye\r\n",
		"A\r\nB\r\nC\r\nD\r\nNOOP\r\n":                bad + bad + bad + end,
		"A\r\nB\r\n" + mail + "A\r\nB\r\nC\r\nD\r\n":  bad + bad + mailReplies + bad + bad + bad + end,
		"A\r\nB\r\nC\r\n" + long + "NOOP\r\nNOOP\r\n": bad + bad + bad + end,
		long + long + long + "A\r\nNOOP\r\n":          strings.Repeat("500 5.5.2 line too long\r\n", 3) + end,
	} {
		if got := m.converse(in, 0); got != greeting+want {
			t.Errorf("%.40q: got %q, want %q", in, got, want)
		}
	}
}

// If a message cannot be stored, the client is told to try again.
func TestDeliveryFails(t *testing.T) {
	var log strings.Builder
	c := Config{
		Deliver: func(context.Context, *Message) error { return errors.New("disk full") },
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
	}
	m := startMemory(t, c)
	got := m.converse(envelope+"hello\r\n.\r\nNOOP\r\n", 0)
	if want := envelopeReplies + "451 4.3.0 message not stored, try again later\r\n250 2.0.0 ok\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	m.net.Close()
	logger.Flush(patience)
	if !strings.Contains(log.String(), "disk full") {
		t.Errorf("the log has %q", log.String())
	}
}

// The trace has the names of RFC 3848, and cannot be forged by a name in EHLO.
func TestTrace(t *testing.T) {
	var trace string
	m := startMemory(t, Config{Hostname: "mx.example.com", Deliver: func(_ context.Context, m *Message) error {
		trace = m.Trace
		return nil
	}})
	m.converse("EHLO evil)\r\nEHLO a;b\r\nEHLO client.example.org\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n.\r\n", 0)
	want := regexp.MustCompile(`^Return-Path: <a@b>\r\nDelivered-To: c@d\r\nDelivered-To: e@f\r\n` +
		`Received: from client\.example\.org \(\[192\.0\.2\.1\]\)\r\n\tby mx\.example\.com with ESMTP id \w{16};\r\n\t\w{3}, \d\d \w{3} \d{4} [\d:]{8} [+-]\d{4}\r\n$`)
	if !want.MatchString(trace) {
		t.Errorf("the trace is %q", trace)
	}
}

// Replies to commands that came together go out in one write. In a bubble the commands take no time:
// replies are not held back for longer than some milliseconds.
func TestPipelinedRepliesAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startMemory(t, Config{})
		var writes atomic.Int32
		ln := tcptest.Listen()
		go m.net.TCP.Serve(t.Context(), countingListener{ln, &writes}) // until m.net is closed
		conn, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tcptest.Receive(t, conn, greeting)
		synctest.Wait()
		writes.Store(0)
		tcptest.Send(t, conn, strings.Repeat("NOOP\r\n", 100))
		tcptest.Receive(t, conn, strings.Repeat("250 2.0.0 ok\r\n", 100))
		if n := writes.Load(); n != 1 {
			t.Errorf("the replies to 100 commands have come in %d writes", n)
		}
	})
}

// countingListener counts the writes to its connections.
type countingListener struct {
	*tcptest.Listener
	writes *atomic.Int32
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{conn.(*tcptest.Conn), l.writes}, nil
}

type countingConn struct {
	*tcptest.Conn
	writes *atomic.Int32
}

func (c countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func TestTimeouts(t *testing.T) {
	const timeout = "421 4.4.2 localhost timeout, closing connection\r\n"
	for name, test := range map[string]struct {
		in     string
		after  time.Duration // the last byte
		reason handler.Reason
	}{
		"silent":                 {"", 5 * time.Minute, handler.ReasonIdleTimeout},
		"between two commands":   {"NOOP\r\n", 5 * time.Minute, handler.ReasonIdleTimeout},
		"in a command":           {"NO", 5 * time.Minute, handler.ReasonIdleTimeout},
		"in a message":           {envelope + "hello\r\n", 3 * time.Minute, handler.ReasonIdleTimeout},
		"before a message":       {envelope, 3 * time.Minute, handler.ReasonIdleTimeout},
		"after a message":        {envelope + "hello\r\n.\r\n", 5 * time.Minute, handler.ReasonIdleTimeout},
		"slow command":           {"NOOP" + strings.Repeat(" ", 100), 0, handler.ReasonFrameTimeout},
		"slow message":           {envelope + strings.Repeat("x", 100), 0, handler.ReasonFrameTimeout},
		"slow, too long message": {envelope + strings.Repeat("x", 5000), 0, handler.ReasonFrameTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := startMemory(t, Config{MaxSize: 4000}, withFrames(func(h *handler.Frames) {
					h.IdleTimeout, h.FrameTimeout = 5*time.Minute, 30*time.Minute
				}))
				conn := m.net.Dial()
				defer conn.Close()
				fast := max(len(test.in)-60, 0)
				if test.reason == handler.ReasonIdleTimeout {
					fast = len(test.in)
				}
				io.WriteString(conn, test.in[:fast])
				for _, b := range []byte(test.in[fast:]) {
					time.Sleep(time.Minute)
					if _, err := conn.Write([]byte{b}); err != nil {
						break
					}
				}
				last := time.Now()
				all, err := io.ReadAll(conn)
				if err != nil || !strings.HasSuffix(string(all), timeout) {
					t.Errorf("got %q, %v", all, err)
				}
				if took := time.Since(last); test.after > 0 && (took < test.after || took > test.after+time.Second) {
					t.Errorf("closed after %v, want %v", took, test.after)
				}
				conn.Close()
				synctest.Wait()
				if len(m.records) != 1 || m.records[0].Reason != test.reason {
					t.Errorf("records %+v", m.records)
				}
			})
		})
	}
}

// A drain tells idle clients, and answers those that are being served.
func TestDrain(t *testing.T) {
	storing, stored := make(chan bool), make(chan bool)
	var m *memory
	m = startMemory(t, Config{Deliver: func(ctx context.Context, msg *Message) error {
		storing <- true
		<-stored
		return m.deliver(ctx, msg)
	}})
	idle, sending, busy := m.connect(), m.connect(), m.connect()
	tcptest.Send(t, idle, "NOOP\r\n")
	tcptest.Receive(t, idle, greeting+"250 2.0.0 ok\r\n")
	for _, conn := range []net.Conn{sending, busy} {
		tcptest.Send(t, conn, envelope)
		tcptest.Receive(t, conn, envelopeReplies)
		tcptest.Send(t, conn, "hello\r\n")
	}
	tcptest.Send(t, busy, ".\r\n")
	<-storing
	drained := make(chan error)
	go func() { drained <- m.net.Shutdown(t.Context()) }()
	const goodbye = "421 4.3.2 localhost shutting down, closing connection\r\n"
	tcptest.ReceiveAll(t, idle, goodbye)
	tcptest.ReceiveAll(t, sending, goodbye)
	close(stored)
	if got, err := io.ReadAll(busy); err != nil || stable(string(got)) != "250 2.0.0 stored\r\n"+goodbye {
		t.Errorf("the busy client got %q, %v", got, err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if n := len(m.delivered()); n != 1 {
		t.Errorf("%d messages were delivered", n)
	}
}
