package main

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/tcptest"
)

func TestMain(m *testing.M) {
	tcptest.Timeout = patience
	var err error
	if built.dir, err = os.MkdirTemp("", "smtpd"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(built.dir)
		os.Exit(code)
	}))
}

func TestUsage(t *testing.T) {
	cert, key := certificateFiles(t)
	secret := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(secret, []byte("# who may send\nalice:secret\nhunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tlsFiles := " -tls-cert " + cert + " -tls-key " + key
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"-h", exitOK, "-max-size"},
		{"-nosuch", exitUsage, "-nosuch"},
		{"rest", exitUsage, `unexpected argument "rest"`},
		{"-max-size 0", exitUsage, "-max-size must be"},
		{"-max-size 536870913", exitUsage, "-max-size must be"},
		{"-max-recipients 0", exitUsage, "must be positive"},
		{"-max-errors -1", exitUsage, "must be positive"},
		{"-idle-timeout -1s", exitUsage, "must not be negative"},
		{"-data-timeout -1s", exitUsage, "must not be negative"},
		{"-message-timeout -1s", exitUsage, "must not be negative"},
		{"-write-timeout -1s", exitUsage, "must not be negative"},
		{"-hostname a_b", exitUsage, "-hostname must be"},
		{"-tls-cert x", exitUsage, "must be set together"},
		{"-tls-key x", exitUsage, "must be set together"},
		{"-tls-implicit", exitUsage, "need -tls-cert"},
		{"-require-tls", exitUsage, "need -tls-cert"},
		{"-users x", exitUsage, "need -tls-cert"},
		{"-require-auth" + tlsFiles, exitUsage, "needs -users"},
		{"-max-clients -1", exitUsage, "MaxClients"},
		{"-addr nonsense", exitUsage, "nonsense"},
		{"-tls-cert nosuch -tls-key nosuch", exitFailed, "nosuch"},
		{"-tls-implicit -tls-cert nosuch -tls-key nosuch", exitFailed, "nosuch"},
		{"-users nosuch" + tlsFiles, exitFailed, "nosuch"},
		{"-users " + secret + tlsFiles, exitFailed, "line 3 is not user:password"},
		{"-maildir /dev/null/x", exitFailed, "/dev/null"},
	} {
		var stderr strings.Builder
		code := run(strings.Fields(test.args), &stderr)
		if code != test.code || !strings.Contains(stderr.String(), test.says) || strings.Contains(stderr.String(), "hunter2") {
			t.Errorf("smtpd %s exits with %d and prints %q", test.args, code, stderr.String())
		}
	}
}

// The README has a line for each flag, with its default.
func TestReadmeFlags(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var o options
	n := 0
	o.flags(io.Discard).VisitAll(func(f *flag.Flag) {
		n++
		want := fmt.Sprintf("\n| `-%s` | `%s` | ", f.Name, f.DefValue)
		if f.DefValue == "" {
			want = fmt.Sprintf("\n| `-%s` | | ", f.Name)
		}
		if !strings.Contains(string(readme), want) {
			t.Errorf("no %q in the README", want)
		}
	})
	if lines := strings.Count(string(readme), "\n| `-"); lines != n {
		t.Errorf("%d lines for %d flags", lines, n)
	}
}

// The session in the README shows what the program says.
func TestReadmeSession(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, session, _ := strings.Cut(string(readme), "Escape character is '^]'.\n")
	session, _, ok := strings.Cut(session, "Connection closed by foreign host.")
	if !ok {
		t.Fatal("no session in the README")
	}
	p := startProgram(t)
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	inMessage := false
	for line := range strings.Lines(session) {
		line = strings.TrimSuffix(line, "\n")
		isReply := len(line) > 3 && strings.Trim(line[:3], digits) == "" && !inMessage
		switch {
		case !isReply:
			tcptest.Send(t, conn, line+"\r\n")
			inMessage = inMessage && line != "."
		case strings.Contains(line, "stored as"):
			tcptest.Receive(t, conn, "250 2.0.0 stored as ")
			io.ReadFull(conn, make([]byte, 16+len("\r\n")))
		default:
			tcptest.Receive(t, conn, line+"\r\n")
			inMessage = strings.HasPrefix(line, "354")
		}
	}
	tcptest.ReceiveAll(t, conn, "")
}

// The program stores messages, ends cleanly, and logs that.
func TestProgram(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	p := startProgram(t, "-log-connections", "-maildir", dir, "-hostname", "mx.example.com", "-domains", "example.com", "-idle-timeout", "200ms")
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	got := converse(t, conn, envelope+"hello\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nQUIT\r\n", 0)
	want := strings.ReplaceAll(envelopeReplies, "localhost", "mx.example.com") + "250 2.0.0 stored\r\n250 2.1.0 ok\r\n550 5.7.1 not a recipient here\r\n221 2.0.0 bye\r\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if all := stored(t, dir); len(all) != 1 || !strings.HasPrefix(all[0], "Return-Path: <a@example.org>\r\n") || !strings.HasSuffix(all[0], "\r\nhello\r\n") {
		t.Errorf("stored %q", all)
	}
	silent, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetDeadline(time.Now().Add(patience))
	tcptest.ReceiveAll(t, silent, "220 mx.example.com ESMTP\r\n421 4.4.2 mx.example.com timeout, closing connection\r\n")
	said := p.stop()
	for _, want := range []string{"msg=listening", "reason=closed", "reason=idle_timeout", "msg=drained"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %s in %q", want, said)
		}
	}
}

// A renewed certificate is used for STARTTLS without a restart.
func TestCertificateReload(t *testing.T) {
	var o options
	o.cert, o.key = certificateFiles(t)
	if err := o.loadTLS(); err != nil {
		t.Fatal(err)
	}
	current := func() []byte {
		hello := &tls.ClientHelloInfo{ServerName: "localhost"}
		config, err := o.smtp.TLS.GetConfigForClient(hello)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := config.GetCertificate(hello)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Certificate[0]
	}
	first := current()
	writeCertificate(t, newCertificate(), o.cert, o.key)
	for deadline := time.Now().Add(30 * time.Second); bytes.Equal(current(), first); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not used")
		}
	}
}
