package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"wireline/tcptest"
)

// A user who does not read is reset; the others see everything.
func TestSlowReader(t *testing.T) {
	x := newChat(t, "--chat.max_pending=4KiB", "--chat.max_line=64KiB", "--chat.history=0")
	anna := x.login(t, "anna", "tea")
	slow := x.login(t, "slow", "tea")
	anna.sees("* slow has joined tea")
	slow.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	line := strings.Repeat("x", 60<<10)
	for n := 0; ; n++ {
		if n == 10000 {
			t.Fatal("the slow user is still there")
		}
		anna.says(line)
		got := anna.line()
		if got == "* slow has left tea" {
			anna.sees("[tea] anna: " + line)
			break
		}
		if got != "[tea] anna: "+line {
			t.Fatalf("got %d bytes: %.80s", len(got), got)
		}
	}
	slow.SetReadDeadline(time.Now().Add(patience))
	tcptest.ReceiveReset(t, slow.Conn)
	x.login(t, "slow") // the nickname is free
}

// Before a stop all users are told, also those who have no nickname yet and those who come late.
func TestStop(t *testing.T) {
	x := newChat(t)
	x.grace = 10 * time.Second // the Group's, which a tcptest.Server has not
	anna, ben, nobody := x.login(t, "anna", "tea"), x.login(t, "ben", "tea"), x.dial(t)
	anna.sees("* ben has joined tea")
	carl := x.login(t, "carl", "tea")
	for _, u := range []*user{anna, ben} {
		u.sees("* carl has joined tea")
	}
	nobody.says("-") // the answer says that the greeting is over
	nobody.sees("! "+errName.Error(), "* What is your nickname?")
	x.announceEnd()
	const notice = "* The server is going down in 10s."
	late := newUser(t, x.tcp.Dial())
	late.sees(notice, greeting)
	for _, u := range []*user{anna, ben, carl, nobody} {
		u.sees(notice)
	}
	anna.says("we have time")
	for _, u := range []*user{anna, ben, carl} {
		u.sees("[tea] anna: we have time")
	}
	carl.says("/quit")
	carl.sees("* Goodbye.")
	for _, u := range []*user{anna, ben} {
		u.sees("* carl has left tea")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- x.tcp.Shutdown(ctx) }()
	const goodbye = "* Goodbye: the server is going down."
	for _, u := range []*user{anna, ben, nobody, late} {
		u.sees(goodbye) // and not who else leaves
		u.ends()
		u.Close()
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Whatever bytes come, other users see whole lines that say who they are from, without anything
// that a terminal obeys.
func TestJunk(t *testing.T) {
	x := newChat(t)
	anna := x.login(t, "anna", "tea")
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		junk := x.login(t, "junk", "tea")
		io.WriteString(junk, string(randomBytes(random, 10<<10))+"\n/quit\n")
		go io.Copy(io.Discard, junk.in)
		for {
			line := anna.line()
			if line == "* junk has left tea" {
				break
			}
			checkLine(t, line)
		}
		junk.Close()
	}
	anna.doesNotSee()
}

// randomBytes returns bytes that often are line ends, commands or part of escape sequences.
func randomBytes(random *rand.Rand, n int) []byte {
	const often = "\n\r\x1b[31m\x00\b\x9b\xff\xe2\x80\xae/*![ "
	var b bytes.Buffer
	for range n {
		if random.IntN(3) == 0 {
			b.WriteByte(often[random.IntN(len(often))])
		} else {
			b.WriteByte(byte(random.IntN(256)))
		}
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("/"), []byte("x/")) // no commands, such as /q
}

// checkLine checks a line that comes from the user junk.
func checkLine(t *testing.T, line string) {
	t.Helper()
	bad := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
	isMessage := strings.HasPrefix(line, "[tea] junk: ") && len(line) > len("[tea] junk: ")
	if !isMessage && line != "* junk has joined tea" || strings.ContainsFunc(line, bad) || !utf8.ValidString(line) {
		t.Errorf("got %q", line)
	}
}
