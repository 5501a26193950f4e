package main

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"
)

// plain is a response of AUTH PLAIN.
func plain(authorization, user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(authorization + "\x00" + user + "\x00" + password))
}

var users = map[string]string{"alice": "secret", "bob": "hunter2"}

const (
	authenticated = "235 2.7.0 authenticated"
	invalid       = "535 5.7.8 invalid credentials"
)

func TestAuth(t *testing.T) {
	m := startMemory(t, Config{Users: users, RequireAuth: true}, implicitTLS)
	for name, test := range map[string]struct {
		lines   []string // each followed by its reply
		success bool
	}{
		"initial response":       {[]string{"AUTH PLAIN " + plain("", "alice", "secret"), authenticated}, true},
		"challenge":              {[]string{"auth plain", "334 ", plain("", "bob", "hunter2"), authenticated}, true},
		"for oneself":            {[]string{"AUTH PLAIN " + plain("alice", "alice", "secret"), authenticated}, true},
		"second attempt":         {[]string{"AUTH PLAIN " + plain("", "alice", "x"), invalid, "AUTH PLAIN " + plain("", "alice", "secret"), authenticated}, true},
		"for another":            {[]string{"AUTH PLAIN " + plain("bob", "alice", "secret"), invalid}, false},
		"wrong password":         {[]string{"AUTH PLAIN " + plain("", "alice", "hunter2"), invalid}, false},
		"a part of the password": {[]string{"AUTH PLAIN " + plain("", "alice", "secre"), invalid}, false},
		"no password":            {[]string{"AUTH PLAIN " + plain("", "alice", ""), invalid}, false},
		"unknown user":           {[]string{"AUTH PLAIN " + plain("", "carol", ""), invalid}, false},
		"no user":                {[]string{"AUTH PLAIN " + plain("", "", ""), "501 5.5.2 invalid response"}, false},
		"two fields":             {[]string{"AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("alice\x00secret")), "501 5.5.2 invalid response"}, false},
		"four fields":            {[]string{"AUTH PLAIN " + plain("", "alice", "secret\x00x"), "501 5.5.2 invalid response"}, false},
		"empty response":         {[]string{"AUTH PLAIN =", "501 5.5.2 invalid base64", "AUTH PLAIN", "334 ", " ", "501 5.5.2 invalid base64"}, false},
		"no base64":              {[]string{"AUTH PLAIN !", "501 5.5.2 invalid base64"}, false},
		"cancelled":              {[]string{"AUTH PLAIN", "334 ", "*", "501 5.7.0 authentication cancelled", "NOOP", "250 2.0.0 ok"}, false},
		"a command as response":  {[]string{"AUTH PLAIN", "334 ", "NOOP", "501 5.5.2 invalid response"}, false},
		"response too long":      {[]string{"AUTH PLAIN", "334 ", strings.Repeat("A", 20000), "500 5.5.2 line too long", "NOOP", "250 2.0.0 ok"}, false},
		"another mechanism":      {[]string{"AUTH CRAM-MD5", "504 5.5.4 unknown mechanism", "AUTH LOGIN", "504 5.5.4 unknown mechanism"}, false},
		"no mechanism":           {[]string{"AUTH", "501 5.5.4 syntax error in arguments"}, false},
		"twice":                  {[]string{"AUTH PLAIN " + plain("", "alice", "secret"), authenticated, "AUTH PLAIN", "503 5.5.1 already authenticated"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			conn := m.connectTLS()
			defer conn.Close()
			exchange(t, conn, "", strings.TrimSuffix(greeting, "\r\n"), "AUTH PLAIN", "503 5.5.1 EHLO first",
				"EHLO x", "250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SIZE 26214400\r\n250 AUTH PLAIN")
			for i := 0; i < len(test.lines); i += 2 {
				exchange(t, conn, test.lines[i:i+2]...)
			}
			want := "530 5.7.0 authentication required"
			if test.success {
				want = "250 2.1.0 ok"
			}
			exchange(t, conn, "MAIL FROM:<a@b>", want)
			if test.success {
				exchange(t, conn, "AUTH PLAIN", "503 5.5.1 already authenticated")
			}
		})
	}
}

// Without TLS, no password is asked for or accepted.
func TestAuthNeedsTLS(t *testing.T) {
	m := startMemory(t, Config{Users: users, RequireAuth: true})
	conn := m.connect()
	exchange(t, conn, "", strings.TrimSuffix(greeting, "\r\n"),
		"EHLO x", "250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 26214400",
		"AUTH PLAIN "+plain("", "alice", "secret"), "538 5.7.11 encryption required",
		"AUTH PLAIN", "538 5.7.11 encryption required",
		"MAIL FROM:<a@b>", "530 5.7.0 authentication required")
}

// Without TLS, only the commands that lead to it are accepted, if the server requires it.
func TestRequireTLS(t *testing.T) {
	c := Config{RequireTLS: true, TLS: serverTLS()}
	const refusal = "530 5.7.0 STARTTLS first"
	exchange(t, startMemory(t, c).connect(), "", strings.TrimSuffix(greeting, "\r\n"),
		"HELO x", refusal, "MAIL FROM:<a@b>", refusal, "RSET", refusal, "VRFY x", refusal, "AUTH PLAIN", refusal, "DATA", refusal,
		"NOOP", "250 2.0.0 ok",
		"EHLO x", "250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SIZE 26214400\r\n250 STARTTLS",
		"MAIL FROM:<a@b>", refusal, "QUIT", "221 2.0.0 bye")
	c.TLS = nil
	conn := startMemory(t, c, implicitTLS).connectTLS()
	defer conn.Close()
	exchange(t, conn, "", strings.TrimSuffix(greeting, "\r\n"), "HELO x", "250 localhost", "MAIL FROM:<a@b>", "250 2.1.0 ok")
}

func TestReadUsers(t *testing.T) {
	got, err := readUsers(strings.NewReader("# comment\n\nalice:secret\r\nbob:a:b\n"))
	want := map[string]string{"alice": "secret", "bob": "a:b"}
	if !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	for text, says := range map[string]string{
		"":                                "no users",
		"alice":                           "line 1",
		"\n:x":                            "line 2",
		"alice:":                          "line 1",
		"a:secret\na:b\n":                 "line 2",
		"a:" + strings.Repeat("x", 1<<17): "too long",
	} {
		if got, err := readUsers(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.20q: read %d users, %v", text, len(got), err)
		}
	}
}
