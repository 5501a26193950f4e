package main

import (
	"net"
	"slices"
	"strings"
	"testing"
)

// Sequences that some server has taken for the end of a message
// (https://sec-consult.com/blog/detail/smtp-smuggling-spoofing-e-mails-worldwide/,
// CVE-2023-51764, CVE-2023-51765, CVE-2023-51766, CVE-2024-27305), and more that are near to
// "\r\n.\r\n".
var smuggling = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\n.\r", "\r.\r", "\r.\n", "\r.\r\n", "\r\n.\r", "\r\r.\r\r",
	"\r\n.\r\r\n", "\r\r\n.\r\n", "\r\r\n.\r\r\n", "\n\n.\r\n", "\n\r\n.\r\n", "\r\n\n.\r\n", "\r\n\r.\r\n", "\r\n.\n\r\n",
	"\r\n.\n\r", "\n\r.\n\r", "\n.\n\n", "\r.\r\r",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n\x00.\x00\r\n", "\r\x00\n.\r\x00\n", "\x00\r\n\x00.\r\x00\n", "\n\x00.\n\x00",
	"\r\n..\r\n", "\r\n. \r\n", "\r\n .\r\n", "\r\n.\t\r\n", "\r\n.\\r\\n", "\\r\\n.\\r\\n", "\r\n=2E\r\n", "%0d%0a.%0d%0a",
	"\v.\v", "\f.\f", "\r\n.\f\r\n", "\x85.\x85", "\x1a.\x1a", "\x04", "\r\n\xff.\r\n",
	"\xc2\x85.\xc2\x85", "\xe2\x80\xa8.\xe2\x80\xa8", "\xe2\x80\xa9.\xe2\x80\xa9", "\xe5\x98\x8d\xe5\x98\x8a.\xe5\x98\x8d\xe5\x98\x8a",
}

// Nothing but "\r\n.\r\n" ends a message, and what follows is never a command. A sequence with
// a bare CR or LF ends the session, and nothing is delivered.
func TestSmuggling(t *testing.T) {
	const (
		evil = "MAIL FROM:<evil@example.net>\r\nRCPT TO:<c@example.com>\r\nDATA\r\nFrom: evil\r\n"
		end  = "\r\n.\r\n"
	)
	servers := map[string]func() (*memory, net.Conn){
		"plain": func() (*memory, net.Conn) { m := startMemory(t, Config{}); return m, m.connect() },
		"TLS": func() (*memory, net.Conn) {
			m := startMemory(t, Config{}, implicitTLS)
			return m, m.connectTLS()
		},
		"STARTTLS": func() (*memory, net.Conn) {
			m := startMemory(t, Config{TLS: serverTLS()})
			conn := m.connect()
			exchange(t, conn, "", strings.TrimSuffix(greeting, "\r\n"), "STARTTLS", readyForTLS)
			return m, upgrade(t, conn)
		},
	}
	for name, start := range servers {
		for _, sequence := range smuggling {
			text := "Subject: x\r\n\r\nhello" + sequence + evil
			for _, size := range []int{0, 1, 5} {
				m, conn := start()
				got := converse(t, conn, envelope+text+end+"QUIT\r\n", size)
				if name == "STARTTLS" { // it has no greeting
					got = greeting + got
				}
				want := envelopeReplies + "250 2.0.0 stored\r\n221 2.0.0 bye\r\n"
				messages := []string{"a@example.org -> b@example.com: " + strings.ReplaceAll(text, "\r\n.", "\r\n") + "\r\n"}
				if hasBare(text) {
					want, messages = envelopeReplies+"521 5.5.2 bare", nil
					got = strings.NewReplacer(" LF received\r\n", "", " CR received\r\n", "").Replace(got)
				}
				if got != want {
					t.Errorf("%s, %q in pieces of %d bytes: got %q", name, sequence, size, got)
				}
				if all := m.delivered(); !slices.Equal(all, messages) {
					t.Errorf("%s, %q in pieces of %d bytes: delivered %q", name, sequence, size, all)
				}
				m.net.Close()
			}
		}
	}
}

// The same in a message that is too long: no part of it is a command. After a bare CR or LF the
// server takes nothing for the end any more.
func TestSmugglingInLongMessages(t *testing.T) {
	for _, sequence := range smuggling {
		m := startMemory(t, Config{MaxSize: 100})
		text := strings.Repeat("long line\r\n", 20) + "hello" + sequence + "NOOP\r\n"
		want := "<CRLF>.<CRLF>\r\n552 5.3.4 message longer than 100 bytes\r\n"
		if !hasBare(text) {
			want += "221 2.0.0 bye\r\n"
		}
		for _, size := range []int{0, 1, 5} {
			got := m.converse(strings.Replace(envelope, "EHLO", "HELO", 1)+text+"\r\n.\r\nQUIT\r\n", size)
			if !strings.HasSuffix(got, want) {
				t.Errorf("%q in pieces of %d bytes: got %q", sequence, size, got)
			}
		}
		if all := m.delivered(); len(all) > 0 {
			t.Errorf("%q: delivered %q", sequence, all)
		}
	}
}

// hasBare reports whether text has a "\r" or "\n" that is not part of a "\r\n".
func hasBare(text string) bool {
	return strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n")
}

// Nor is what follows them in a command a command.
func TestSmugglingInCommands(t *testing.T) {
	m := startMemory(t, Config{})
	for sequence, want := range map[string]string{
		"\n":       "521 5.5.2 bare LF received\r\n",
		"\r":       "521 5.5.2 bare CR received\r\n",
		"\n\r\n":   "521 5.5.2 bare LF received\r\n",
		"\r\r\n":   "521 5.5.2 bare CR received\r\n",
		"\x00":     "500 5.5.2 a command is printable ASCII\r\n",
		"\xc2\x85": "500 5.5.2 a command is printable ASCII\r\n",
	} {
		if got := m.converse("NOOP x"+sequence+"HELO x\r\n", 0); got != greeting+want {
			t.Errorf("%q: got %q", sequence, got)
		}
	}
}

// The pieces in which input arrives change neither the replies nor the messages, and a message
// ends with "\r\n.\r\n" only.
func FuzzSession(f *testing.F) {
	for _, sequence := range smuggling {
		f.Add("EHLO x\r\nMAIL FROM:<a@b> SIZE=9\r\nRCPT TO:<c@d>\r\nDATA\r\nhello"+sequence+"QUIT\r\n.\r\nNOOP\r\n", uint8(3))
	}
	f.Add("HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n"+strings.Repeat("x\r\n", 99)+".\r\nRSET\r\nVRFY x\r\nAUTH PLAIN\r\nSTARTTLS\r\nQUIT\r\n", uint8(0))
	f.Fuzz(func(t *testing.T, input string, size uint8) {
		m := startMemory(t, Config{MaxSize: 200, MaxErrors: 3})
		whole := m.converse(input, 0)
		messages := m.delivered()
		if got := m.converse(input, 1+int(size)); got != whole {
			t.Errorf("%q: at once %q, in pieces of %d bytes %q", input, whole, 1+size, got)
		}
		if got := m.delivered(); !slices.Equal(got, messages) {
			t.Errorf("%q: delivered at once %q, in pieces of %d bytes %q", input, messages, 1+size, got)
		}
		if n := strings.Count(input, "\n.\r\n"); len(messages) > n {
			t.Errorf("%q: %d messages with %d ends", input, len(messages), n)
		}
		for line := range strings.Lines(whole) {
			text, ok := strings.CutSuffix(line, "\r\n")
			if !ok || len(text) < 4 || strings.ContainsAny(text, "\r\n") || strings.Trim(text[:3], digits) != "" {
				t.Errorf("%q: the reply has the line %q", input, line)
			}
		}
	})
}
