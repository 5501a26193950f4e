package main

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/tcptest"
)

const (
	extensions     = "250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
	plainHello     = extensions + "250-SIZE 26214400\r\n250 STARTTLS"
	encryptedHello = extensions + "250-SIZE 26214400\r\n250 AUTH PLAIN"
	readyForTLS    = "220 2.0.0 ready to start TLS"
)

// upgrade makes the client's handshake after STARTTLS.
func upgrade(t *testing.T, conn net.Conn) *tls.Conn {
	t.Helper()
	client := tls.Client(conn, clientTLS())
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client
}

// After STARTTLS the session begins again, without a greeting.
func TestStartTLS(t *testing.T) {
	m := startMemory(t, Config{TLS: serverTLS(), Users: users, RequireTLS: true, RequireAuth: true})
	conn := m.connect()
	exchange(t, conn, "", strings.TrimSuffix(greeting, "\r\n"), "EHLO x", plainHello, "STARTTLS x", badArguments, "STARTTLS", readyForTLS)
	client := upgrade(t, conn)
	defer client.Close()
	exchange(t, client, "MAIL FROM:<a@b>", noHello,
		"EHLO x", encryptedHello,
		"STARTTLS", "503 5.5.1 TLS already active",
		"MAIL FROM:<a@b>", "530 5.7.0 authentication required",
		"AUTH PLAIN "+plain("", "alice", "secret"), authenticated,
		"MAIL FROM:<a@b>", "250 2.1.0 ok",
		"RCPT TO:<c@d>", "250 2.1.5 ok",
		"DATA", "354 send the message, end it with <CRLF>.<CRLF>")
	tcptest.Send(t, client, "hello\r\n.\r\nQUIT\r\n")
	if got, err := io.ReadAll(client); err != nil || stable(string(got)) != "250 2.0.0 stored\r\n221 2.0.0 bye\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := m.delivered(); !slices.Equal(got, []string{"a@b -> c@d: hello\r\n"}) {
		t.Errorf("delivered %q", got)
	}
}

// A transaction does not go on under TLS.
func TestStartTLSForgets(t *testing.T) {
	m := startMemory(t, Config{TLS: serverTLS()})
	conn := m.connect()
	exchange(t, conn, "", strings.TrimSuffix(greeting, "\r\n"), "HELO x", "250 localhost", "MAIL FROM:<evil@b>", "250 2.1.0 ok",
		"RCPT TO:<c@d>", "250 2.1.5 ok", "STARTTLS", readyForTLS)
	client := upgrade(t, conn)
	defer client.Close()
	exchange(t, client, "DATA", "503 5.5.1 MAIL first", "RCPT TO:<c@d>", "503 5.5.1 MAIL first", "MAIL FROM:<a@b>", noHello)
}

// What stands behind STARTTLS in plain text is never executed (CVE-2011-0411), also if it is only
// the first part of a command.
func TestStartTLSDiscardsPlaintext(t *testing.T) {
	for _, injected := range []string{
		"EHLO evil\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\n",
		"EHLO evil\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nevil\r\n.\r\n",
		"EHLO evil\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
		"NO", "RSET\r\nMAIL FROM:<evil@", "NOOP\r", "\n", "QUIT\r\n", strings.Repeat("x", maxLine),
	} {
		m := startMemory(t, Config{TLS: serverTLS()})
		conn := m.connect()
		tcptest.Receive(t, conn, greeting)
		tcptest.Send(t, conn, "STARTTLS\r\n"+injected)
		tcptest.Receive(t, conn, readyForTLS+"\r\n")
		client := upgrade(t, conn)
		exchange(t, client, "NOOP", "250 2.0.0 ok", "RCPT TO:<c@d>", "503 5.5.1 MAIL first", "MAIL FROM:<a@b>", noHello,
			"HELO x", "250 localhost", "MAIL FROM:<a@b>", "250 2.1.0 ok", "QUIT", "221 2.0.0 bye")
		client.Close()
		if got := m.delivered(); len(got) > 0 {
			t.Errorf("%.40q: delivered %q", injected, got)
		}
	}
}

// A handshake that fails, or never comes, ends the connection.
func TestStartTLSFails(t *testing.T) {
	for name, input := range map[string]string{"no handshake": "EHLO x\r\n", "silence": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := startMemory(t, Config{TLS: serverTLS()}, withFrames(func(h *handler.Frames) { h.HandshakeTimeout = time.Minute }))
				conn := m.connect()
				exchange(t, conn, "", strings.TrimSuffix(greeting, "\r\n"), "STARTTLS", readyForTLS)
				conn.SetDeadline(time.Time{})
				tcptest.Send(t, conn, input)
				got, err := io.ReadAll(conn)
				if err != nil || strings.ContainsAny(string(got), "\r\n") {
					t.Errorf("after 220: %q, %v", got, err)
				}
				conn.Close()
				synctest.Wait()
				if len(m.records) != 1 || m.records[0].Reason != handler.ReasonTLS {
					t.Errorf("records %+v", m.records)
				}
			})
		})
	}
}
