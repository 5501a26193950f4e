//go:build unix

package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"encoding/xml"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// These tests run wireline's TLS against other programs.

// authority signs certificates, and has a folder for their files.
type authority struct {
	*testutil.Authority
	t      *testing.T
	folder string
}

// newAuthority returns an authority whose own certificate is in the file ca.pem.
func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{testutil.NewAuthority(t), t, t.TempDir()}
	testutil.ReplaceFile(t, a.file("ca.pem"), a.PEM)
	return a
}

// issue writes a certificate for name and its key to files, NAME.pem and NAME.key.
func (a *authority) issue(name string) {
	a.t.Helper()
	cert, key := a.Issue(a.t, name)
	testutil.ReplaceFile(a.t, a.file(name+".pem"), cert)
	testutil.ReplaceFile(a.t, a.file(name+".key"), key)
}

func (a *authority) file(name string) string { return filepath.Join(a.folder, name) }

// startTLS starts an echo server, or the command in args, as "localhost".
func (a *authority) startTLS(t *testing.T, args ...string) *process {
	t.Helper()
	a.issue("localhost")
	return start(t, append([]string{"--tcp.tls.cert=" + a.file("localhost.pem"), "--tcp.tls.key=" + a.file("localhost.key"), "--log.level=debug"}, args...)...)
}

// client returns the arguments of s_client for a server at addr that must prove to be
// "localhost".
func (a *authority) client(addr string, args ...string) []string {
	return append([]string{"s_client", "-connect", addr, "-CAfile", a.file("ca.pem"), "-verify_return_error",
		"-verify_hostname", "localhost"}, args...)
}

// A session of lines. When the server stops, it sends a close_notify.
func TestTLSOpenSSL(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	for _, test := range []struct {
		name string
		args []string
		says string
	}{
		{"as it comes", nil, "TLSv1.3"},
		{"1.2", []string{"-tls1_2"}, "TLSv1.2"},
		{"ALPN", []string{"-alpn", "other,echo/1,echo/2"}, "ALPN protocol: echo/2"},
		{"slow to write", []string{"-split_send_frag", "512", "-max_send_frag", "512"}, "TLSv1.3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			p := a.startTLS(t, "--tcp.tls.alpn=echo/2,echo/1")
			client := launchTool(t, path, a.client(p.addr, append(test.args, "-ign_eof")...)...)
			client.send("hello\n")
			client.awaitOutput("\nhello\n")
			client.awaitOutput(test.says)
			long := strings.Repeat("x", 20_000) + "\n" // longer than a TLS record
			client.send(long)
			client.awaitOutput(long)
			p.stop()
			if code := client.wait(); code != 0 || strings.Contains(client.stderr.String(), "unexpected eof") {
				t.Errorf("exit code %d, printed\n%s\nwant a clean end", code, client.stderr.String())
			}
			if record := p.await("msg", "connection"); record["by"] != "server" || record["reason"] != "drain" || record["frames_in"] != "2" {
				t.Errorf("record %v", record)
			}
		})
	}
}

// A client that is refused receives an alert with the reason.
func TestTLSOpenSSLRefused(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	const old = "DEFAULT@SECLEVEL=0" // or openssl would not even try
	for _, test := range []struct {
		name         string
		server, args []string
		alert        string
	}{
		{"TLS 1.1", nil, []string{"-tls1_1", "-cipher", old}, "alert protocol version"},
		{"TLS 1.2", []string{"--tcp.tls.min_version=1.3"}, []string{"-tls1_2"}, "alert protocol version"},
		{"ALPN", []string{"--tcp.tls.alpn=echo/1"}, []string{"-alpn", "other"}, "alert no application protocol"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			p := a.startTLS(t, test.server...)
			wantRefused(t, launchTool(t, path, a.client(p.addr, append(test.args, "-quiet")...)...), test.alert)
			p.await("msg", "TLS handshake failed")
			echoes(t, tls.Client(p.dial(), a.Client("localhost")), "hello\n")
			p.stopQuiet()
		})
	}
}

// wantRefused checks that a client fails with the server's alert.
func wantRefused(t *testing.T, client *toolProcess, alert string) {
	t.Helper()
	if code := client.wait(); code == 0 || !strings.Contains(client.stderr.String(), alert) {
		t.Errorf("exit code %d, printed\n%s\nwant %q", code, client.stderr.String(), alert)
	}
}

// A client that asks for a new handshake on its connection is refused, and loses that connection.
// Others go on.
func TestTLSOpenSSLRenegotiation(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	p := a.startTLS(t)
	other := tls.Client(p.dial(), a.Client("localhost"))
	echoes(t, other, "hello\n")
	client := launchTool(t, path, a.client(p.addr, "-tls1_2")...)
	client.send("hello\n")
	client.awaitOutput("\nhello\n")
	client.send("R\n") // the command of s_client
	wantRefused(t, client, "alert")
	record := p.await("msg", "connection")
	if record["by"] != "client" || record["reason"] != "tls" || record["frames_in"] != "1" || record["version"] != "TLS 1.2" {
		t.Errorf("record %v", record)
	}
	echoes(t, other, "still there\n")
	other.Close()
	p.stop()
}

func TestTLSOpenSSLResumes(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			p := a.startTLS(t)
			for _, session := range []struct{ arg, says string }{{"-sess_out", "New, TLSv"}, {"-sess_in", "Reused, TLSv"}} {
				client := launchTool(t, path, a.client(p.addr, version, session.arg, a.file("session"))...)
				client.send("hello\n")
				client.awaitOutput("\nhello\n") // the ticket arrives before this line
				client.awaitOutput(session.says)
				client.stdin.Close()
				if code := client.wait(); code != 0 {
					t.Errorf("%s: exit code %d, printed\n%s", session.arg, code, client.stderr.String())
				}
			}
			p.stopQuiet()
		})
	}
}

func TestTLSOpenSSLClientCertificate(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, openssl)
	a, other := newAuthority(t), newAuthority(t)
	p := a.startTLS(t, "--tcp.tls.client_ca="+a.file("ca.pem"))
	certificate := func(a *authority) []string {
		a.issue("client")
		return []string{"-cert", a.file("client.pem"), "-key", a.file("client.key")}
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		client := launchTool(t, path, a.client(p.addr, append(certificate(a), version, "-quiet")...)...)
		client.send("hello\n")
		client.awaitOutput("hello\n")
		for _, bad := range [][]string{nil, certificate(other)} {
			client := launchTool(t, path, a.client(p.addr, append(bad, version, "-quiet")...)...)
			wantRefused(t, client, "alert")
		}
	}
	p.stopQuiet()
}

// A session of ncat, which verifies the server. Its end of the input ends the session.
func TestTLSNcat(t *testing.T) {
	t.Parallel()
	path := need(t, ncat)
	a := newAuthority(t)
	p := a.startTLS(t)
	host, port := splitAddr(p.addr)
	client := launchTool(t, path, "--ssl-verify", "--ssl-trustfile", a.file("ca.pem"), "--ssl-servername", "localhost", host, port)
	long := strings.Repeat("x", 40_000) + "\n"
	for _, line := range []string{"hello\n", long, "again\n"} {
		client.send(line)
		client.awaitOutput(line)
	}
	client.stdin.Close()
	if code := client.wait(); code != 0 {
		t.Errorf("exit code %d, printed\n%s", code, client.stderr.String())
	}
	if record := p.await("msg", "connection"); record["reason"] != "fin" || record["frames_in"] != "3" {
		t.Errorf("record %v", record)
	}
	p.stopQuiet()
}

// What a scanner says of the defaults: nothing that it calls weak, and no known hole.
func TestTLSScan(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, sslscan)
	p := newAuthority(t).startTLS(t)
	var report struct {
		Protocols []struct {
			Version string `xml:"version,attr"`
			Enabled bool   `xml:"enabled,attr"`
		} `xml:"ssltest>protocol"`
		Renegotiation struct {
			Supported bool `xml:"supported,attr"`
		} `xml:"ssltest>renegotiation"`
		Heartbleed []struct {
			Vulnerable bool `xml:"vulnerable,attr"`
		} `xml:"ssltest>heartbleed"`
		Ciphers []struct {
			Name     string `xml:"cipher,attr"`
			Strength string `xml:"strength,attr"`
		} `xml:"ssltest>cipher"`
	}
	out := runGood(t, "", path, "--xml=-", p.addr)
	if err := xml.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if len(report.Protocols) < 4 || len(report.Ciphers) < 5 {
		t.Fatalf("%d protocols and %d ciphers in\n%s", len(report.Protocols), len(report.Ciphers), out)
	}
	for _, v := range report.Protocols {
		if good := v.Version == "1.2" || v.Version == "1.3"; v.Enabled != good {
			t.Errorf("version %s: enabled is %v", v.Version, v.Enabled)
		}
	}
	for _, c := range report.Ciphers {
		if c.Strength != "strong" && c.Strength != "acceptable" {
			t.Errorf("%s is %s", c.Name, c.Strength)
		}
	}
	for _, h := range report.Heartbleed {
		if h.Vulnerable {
			t.Error("heartbleed")
		}
	}
	if report.Renegotiation.Supported {
		t.Error("renegotiation")
	}
	p.stopQuiet()
}

// The client's direction ends with a close_notify. All that was asked before it is answered.
func TestTLSHalfClose(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, socat) // s_client stops reading after its own close_notify
	a := newAuthority(t)
	p := a.startTLS(t)
	for _, input := range []string{"a\nb", "", strings.Repeat("0123456789abcdef\n", 200_000) + "end"} {
		got, err := runTool(strings.NewReader(input), path, "-t", "20", "-",
			"OPENSSL:"+p.addr+",commonname=localhost,cafile="+a.file("ca.pem"))
		if got != input || err != nil {
			t.Errorf("printed %s, %v; want %s", abridged(got), err, abridged(input))
		}
	}
	p.stopQuiet()
	if records := p.find("reason", "fin"); len(records) != 3 {
		t.Errorf("%d records of a FIN, want 3", len(records))
	}
}

// New certificate files apply to new connections; an open one goes on.
func TestTLSOpenSSLNewCertificate(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	p := a.startTLS(t)
	// served returns the certificate that a new client receives.
	served := func() []byte {
		t.Helper()
		out := runGood(t, "", path, a.client(p.addr)...)
		block, _ := pem.Decode([]byte(out))
		if block == nil {
			t.Fatalf("printed %s without a certificate", abridged(out))
		}
		return block.Bytes
	}
	open := launchTool(t, path, a.client(p.addr, "-quiet")...)
	open.send("hello\n")
	open.awaitOutput("hello\n")
	before := served()
	if again := served(); !bytes.Equal(before, again) {
		t.Error("the certificate changed before it was replaced")
	}
	a.issue("localhost")
	for begin := time.Now(); bytes.Equal(served(), before); {
		if time.Since(begin) > patience {
			t.Fatal("the new certificate is not used")
		}
	}
	p.await("msg", "certificates reloaded")
	open.send("still here\n")
	open.awaitOutput("still here\n")
	p.stopQuiet()
	if code := open.wait(); code != 0 {
		t.Errorf("exit code %d, printed\n%s", code, open.stderr.String())
	}
}

// HTTPS through a proxy that adds TLS to a server without it.
func TestTLSProxyCurl(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, curl)
	a := newAuthority(t)
	small, large := "hello\n", string(randomBytes(16<<20))
	p := a.startTLS(t, "--handler=proxy", "--tcp.tls.alpn=http/1.1,http/1.0",
		"--proxy.upstreams="+startWeb(t, map[string]string{"small": small, "large": large}))
	host, port := splitAddr(p.addr)
	url := "https://localhost:" + port + "/"
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"small", []string{url + "small", "-w", "%{ssl_verify_result}"}, small + "0"},
		{"large", []string{url + "large"}, large},
		{"limited", []string{"--limit-rate", "30M", url + "large"}, large},
		{"TLS 1.2", []string{"--tls-max", "1.2", url + "large"}, large},
		{"HTTP/1.0", []string{"--http1.0", "-H", "Connection: close", url + "large"}, large},
		{"two on one connection", []string{url + "small", url + "large", "-w", "%{num_connects}"}, small + "1" + large + "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := []string{"-sS", "--fail", "--noproxy", "*", "--cacert", a.file("ca.pem"), "--resolve", "localhost:" + port + ":" + host}
			if got := runGood(t, "", path, append(args, test.args...)...); got != test.want {
				t.Errorf("%d bytes %s, want %s", len(got), abridged(got), abridged(test.want))
			}
		})
	}
	p.stopQuiet()
	if records := p.find("msg", "connection"); len(records) != 6 {
		t.Errorf("%d records, want 6", len(records))
	}
}

// Every cipher that a client of openssl can choose.
func TestTLSOpenSSLCiphers(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	p := a.startTLS(t)
	for _, test := range []struct{ version, option, cipher string }{
		{"-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"},
		{"-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"},
		{"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"},
		{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"},
		{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"},
		{"-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"},
		{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"},
	} {
		client := launchTool(t, path, a.client(p.addr, test.version, test.option, test.cipher)...)
		long := strings.Repeat("x", 40_000) + "\n"
		client.send("hello\n" + long)
		client.awaitOutput("\nhello\n" + long)
		client.awaitOutput("Cipher is " + test.cipher)
		client.stdin.Close()
		if code := client.wait(); code != 0 {
			t.Errorf("%s: exit code %d, printed\n%s", test.cipher, code, client.stderr.String())
		}
	}
	p.stopQuiet()
}

// The keys of both directions change, as often as the client wants.
func TestTLSOpenSSLKeyUpdate(t *testing.T) {
	t.Parallel()
	path := need(t, openssl)
	a := newAuthority(t)
	p := a.startTLS(t)
	client := launchTool(t, path, a.client(p.addr, "-tls1_3", "-msg")...)
	client.send("hello\n")
	client.awaitOutput("\nhello\n")
	const sent, received = ">>> TLS 1.3, Handshake [length 0005], KeyUpdate", "<<< TLS 1.3, Handshake [length 0005], KeyUpdate"
	answers := 0
	for i, letter := range []string{"k", "K", "K", "k", "K"} {
		client.send(letter + "\n")
		if letter == "K" { // wants an answer
			answers++
		}
		ok := testutil.Soon(patience, func() bool {
			out := client.stdout.String()
			return strings.Count(out, sent) == i+1 && strings.Count(out, received) == answers
		})
		if !ok {
			t.Fatalf("after %d KeyUpdates, %d answers: printed\n%s", i+1, answers, client.stdout.String())
		}
		line := strings.Repeat(string(rune('a'+i)), 100) + "\n"
		client.send(line)
		client.awaitOutput(line)
	}
	client.stdin.Close()
	if code := client.wait(); code != 0 {
		t.Errorf("exit code %d, printed\n%s", code, client.stderr.String())
	}
	p.stopQuiet()
	if record := p.await("msg", "connection"); record["reason"] != "fin" || record["frames_in"] != "6" {
		t.Errorf("record %v", record)
	}
}
