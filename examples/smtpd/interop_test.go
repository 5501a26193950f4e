package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// runTool runs a program and returns its output. A program that fails is an error, unless
// mayFail is set.
func runTool(t *testing.T, mayFail bool, stdin, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil && !mayFail || ctx.Err() != nil {
		t.Errorf("%s: %v, it printed\n%s", filepath.Base(path), err, out)
	}
	return string(out)
}

// needSwaks returns the path of swaks. For TLS it needs a module of Perl.
func needSwaks(t *testing.T) string {
	t.Helper()
	path := need(t, "swaks", "swaks")
	if out, _ := exec.Command(path, "--support").CombinedOutput(); !bytes.Contains(out, []byte("STARTTLS supported")) &&
		!bytes.Contains(out, []byte("TLS supported")) {
		missing(t, "Net::SSLeay", "libnet-ssleay-perl")
	}
	return path
}

// needSMTPSource returns the path of smtp-source, which is not in every PATH.
func needSMTPSource(t *testing.T) string {
	t.Helper()
	const standard = "/usr/sbin/smtp-source"
	if _, err := os.Stat(standard); err == nil {
		return standard
	}
	return need(t, "smtp-source", "postfix")
}

// mailProgram is a program with a Maildir, a certificate and users.
type mailProgram struct {
	*program
	dir string
}

func startMailProgram(t *testing.T, flags ...string) mailProgram {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mail")
	cert, key := certificateFiles(t)
	secret := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(secret, []byte("alice:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return mailProgram{startProgram(t, append([]string{"-maildir", dir, "-tls-cert", cert, "-tls-key", key, "-users", secret}, flags...)...), dir}
}

// message has lines that need care.
const message = "Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\nh\xc3\xbcllo\r\n"

func TestGoClient(t *testing.T) {
	p := startMailProgram(t, "-tls-implicit", "-require-auth")
	conn, err := tls.Dial("tcp", p.addr, clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Hello("client"); err != nil {
		t.Fatal(err)
	}
	if ok, mechanisms := c.Extension("AUTH"); !ok || mechanisms != "PLAIN" {
		t.Errorf("AUTH %q", mechanisms)
	}
	if err := c.Mail("a@example.org"); err == nil || !strings.HasPrefix(err.Error(), "530 ") {
		t.Errorf("MAIL before AUTH: %v", err)
	}
	if err := c.Auth(smtp.PlainAuth("", "alice", "secret", "localhost")); err != nil {
		t.Fatal(err)
	}
	sendByGo(t, c)
	if all := stored(t, p.dir); len(all) != 1 || !strings.HasSuffix(all[0], "\r\n"+message) || !strings.Contains(all[0], "with ESMTPSA id") {
		t.Errorf("stored %q", all)
	}
}

// net/smtp's SendMail uses STARTTLS and AUTH where the server has them.
func TestGoStartTLS(t *testing.T) {
	p := startMailProgram(t, "-require-tls", "-require-auth")
	c, err := smtp.Dial(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ok, _ := c.Extension("AUTH"); ok {
		t.Error("AUTH is offered without TLS")
	}
	if err := c.Mail("a@example.org"); err == nil || !strings.HasPrefix(err.Error(), "530 ") {
		t.Errorf("MAIL without TLS: %v", err)
	}
	if err := c.StartTLS(clientTLS()); err != nil {
		t.Fatal(err)
	}
	if ok, _ := c.Extension("STARTTLS"); ok {
		t.Error("STARTTLS is offered under TLS")
	}
	if err := c.Auth(smtp.PlainAuth("", "alice", "secret", "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	sendByGo(t, c)
	if all := stored(t, p.dir); len(all) != 1 || !strings.HasSuffix(all[0], "\r\n"+message) || !strings.Contains(all[0], "with ESMTPSA id") {
		t.Errorf("stored %q", all)
	}
}

// sendByGo sends the message and ends the session.
func sendByGo(t *testing.T, c *smtp.Client) {
	t.Helper()
	for _, step := range []func() error{
		func() error { return c.Mail("a@example.org") },
		func() error { return c.Rcpt("b@example.com") },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := w.Write([]byte(message)); err != nil {
				return err
			}
			return w.Close()
		},
		c.Noop,
		c.Quit,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGoSendMail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	p := startProgram(t, "-maildir", dir)
	err := smtp.SendMail(p.addr, nil, "a@example.org", []string{"b@example.com", "c@example.com"}, []byte(message))
	if all := stored(t, dir); err != nil || len(all) != 1 || !strings.HasSuffix(all[0], "\r\n"+message) {
		t.Errorf("%v, stored %q", err, all)
	}
}

func TestSwaks(t *testing.T) {
	swaks := needSwaks(t)
	p := startMailProgram(t, "-max-size", "5000")
	out := runTool(t, false, "", swaks, "--server", p.addr, "--from", "a@example.org", "--to", "b@example.com,c@example.com",
		"--ehlo", "client", "--body", "hello\n.\n..\nend", "--pipeline")
	if !strings.Contains(out, "250 2.0.0 stored as") {
		t.Errorf("swaks prints\n%s", out)
	}
	if all := stored(t, p.dir); len(all) != 1 || !strings.Contains(all[0], "hello\r\n.\r\n..\r\nend\r\n") ||
		!strings.Contains(all[0], "Delivered-To: b@example.com\r\nDelivered-To: c@example.com\r\n") {
		t.Errorf("stored %q", all)
	}
	out = runTool(t, true, "", swaks, "--server", p.addr, "--from", "a@example.org", "--to", "b@example.com", "--body", strings.Repeat("x\n", 5000))
	if !strings.Contains(out, "552 5.3.4 message longer than 5000 bytes") {
		t.Errorf("too long: swaks prints\n%s", out)
	}
	out = runTool(t, true, "", swaks, "--server", p.addr, "--from", "a@example.org", "--to", "b@example.com",
		"--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "secret")
	if !strings.Contains(out, "no authentication") && !strings.Contains(out, "not advertise") {
		t.Errorf("AUTH without TLS: swaks prints\n%s", out)
	}
}

// swaks over TLS, with AUTH.
func TestSwaksTLS(t *testing.T) {
	swaks := needSwaks(t)
	for way, flags := range map[string][]string{"--tls": {"-require-tls"}, "--tls-on-connect": {"-tls-implicit"}} {
		p := startMailProgram(t, append(flags, "-require-auth")...)
		for password, want := range map[string]string{"secret": "250 2.0.0 stored as", "wrong": "535 5.7.8 invalid credentials"} {
			out := runTool(t, password == "wrong", "", swaks, "--server", p.addr, way, "--from", "a@example.org", "--to", "b@example.com",
				"--auth", "PLAIN", "--auth-user", "alice", "--auth-password", password)
			if !strings.Contains(out, want) {
				t.Errorf("%s, %s: swaks prints\n%s", way, password, out)
			}
		}
		if all := stored(t, p.dir); len(all) != 1 || !strings.Contains(all[0], "with ESMTPSA id") {
			t.Errorf("%s: stored %q", way, all)
		}
	}
}

func TestOpenSSL(t *testing.T) {
	openssl := need(t, "openssl", "openssl")
	for way, flags := range map[string][]string{"-starttls smtp": nil, "": {"-tls-implicit"}} {
		p := startMailProgram(t, flags...)
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			args := append([]string{"s_client", "-connect", p.addr, "-ign_eof", "-crlf", version}, strings.Fields(way)...)
			out := runTool(t, false, "EHLO x\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nhello\n.\nQUIT\n", openssl, args...)
			if !strings.Contains(out, "250 AUTH PLAIN\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354") || !strings.Contains(out, "221 2.0.0 bye\r\n") {
				t.Errorf("%v: openssl prints\n%s", args, out)
			}
		}
		if all := stored(t, p.dir); len(all) != 2 || !strings.Contains(all[0], "with ESMTPS id") || !strings.HasSuffix(all[0], "\r\nhello\r\n") {
			t.Errorf("%s: stored %q", way, all)
		}
	}
}

// postfix's load generator. Its exit code says whether all messages were accepted.
func TestSMTPSource(t *testing.T) {
	source := needSMTPSource(t)
	for _, test := range []struct {
		args     []string
		messages int
	}{
		{[]string{"-s", "10", "-m", "200", "-l", "4000"}, 200},
		{[]string{"-s", "5", "-m", "50", "-l", "100000", "-r", "5", "-d"}, 50},
		{[]string{"-s", "1", "-m", "10", "-N"}, 10},
	} {
		dir := filepath.Join(t.TempDir(), "mail")
		p := startProgram(t, "-maildir", dir)
		runTool(t, false, "", source, append(test.args, "-f", "a@example.org", "-t", "b@example.com", p.addr)...)
		if all := stored(t, dir); len(all) != test.messages {
			t.Errorf("%v: stored %d messages, want %d", test.args, len(all), test.messages)
		}
	}
}

// Many clients at the same time, over sockets: every message that was acknowledged is stored
// once.
func TestManyClients(t *testing.T) {
	const clients, each = 20, 10
	dir := filepath.Join(t.TempDir(), "mail")
	p := startProgram(t, "-maildir", dir)
	done := make(chan error)
	for i := range clients {
		go func() {
			done <- func() error {
				conn, err := net.Dial("tcp", p.addr)
				if err != nil {
					return err
				}
				c, err := smtp.NewClient(conn, "localhost")
				if err != nil {
					return err
				}
				for j := range each {
					if err := c.Mail("a@example.org"); err != nil {
						return err
					}
					if err := c.Rcpt("b@example.com"); err != nil {
						return err
					}
					w, err := c.Data()
					if err != nil {
						return err
					}
					fmt.Fprintf(w, "%d.%d\r\n", i, j)
					if err := w.Close(); err != nil {
						return err
					}
				}
				return c.Quit()
			}()
		}()
	}
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var got, want []string
	for _, m := range stored(t, dir) {
		_, body, _ := strings.Cut(m, "Received:")
		lines := strings.Split(strings.TrimSpace(body), "\r\n")
		got = append(got, lines[len(lines)-1])
	}
	for i := range clients {
		for j := range each {
			want = append(want, fmt.Sprintf("%d.%d", i, j))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("stored %d messages: %q", len(got), got)
	}
}
