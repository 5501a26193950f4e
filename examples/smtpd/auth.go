package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// auth starts the authentication (RFC 4954). The only mechanism is PLAIN (RFC 4616). It
// sends the password, so it needs TLS.
func (x *session) auth(arg string) error {
	mechanism, response, initial := strings.Cut(arg, " ")
	switch {
	case x.server.config.Users == nil:
		return x.unknown(arg)
	case !x.secure():
		return x.refuse("538 5.7.11 encryption required")
	case !x.esmtp:
		return x.refuse(noHello)
	case x.user != "":
		return x.refuse("503 5.5.1 already authenticated")
	case x.mail != nil:
		return x.refuse("503 5.5.1 not during a transaction")
	case mechanism == "":
		return x.refuse(badArguments)
	case !strings.EqualFold(mechanism, "PLAIN"):
		return x.refuse("504 5.5.4 unknown mechanism")
	case initial:
		return x.checkPlain(response)
	}
	x.phase = phaseResponse
	return x.reply("334 ") // an empty challenge
}

// checkPlain checks the response of PLAIN: "authorization\x00user\x00password" in base64.
func (x *session) checkPlain(response string) error {
	if response == "*" {
		return x.refuse("501 5.7.0 authentication cancelled")
	}
	text, err := base64.StdEncoding.Strict().DecodeString(response)
	if err != nil {
		return x.refuse("501 5.5.2 invalid base64")
	}
	fields := strings.Split(string(text), "\x00")
	switch {
	case len(fields) != 3 || fields[1] == "":
		return x.refuse("501 5.5.2 invalid response")
	case !x.server.config.authenticate(fields[1], fields[2]) || fields[0] != "" && fields[0] != fields[1]:
		return x.refuse("535 5.7.8 invalid credentials")
	}
	x.user = fields[1]
	return x.reply("235 2.7.0 authenticated")
}

// authenticate checks a password. How long it takes tells nothing about the users and their
// passwords.
func (c *Config) authenticate(user, password string) bool {
	want, known := c.Users[user]
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	same := subtle.ConstantTimeCompare(a[:], b[:]) == 1
	return same && known
}

// readUsers reads a file of lines "user:password". Empty lines, and lines that begin with
// "#", are skipped.
func readUsers(r io.Reader) (map[string]string, error) {
	users := make(map[string]string)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		user, password, ok := strings.Cut(line, ":")
		if !ok || user == "" || password == "" {
			return nil, fmt.Errorf("line %d is not user:password", n) // without the line: it is a secret
		}
		if _, twice := users[user]; twice {
			return nil, fmt.Errorf("line %d: the user has a line already", n)
		}
		users[user] = password
	}
	if len(users) == 0 && lines.Err() == nil {
		return nil, errors.New("no users")
	}
	return users, lines.Err()
}
