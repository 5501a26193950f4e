package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/tcptest"
)

// Two users meet. The test knows every byte that they are sent.
func TestConversation(t *testing.T) {
	x := newChat(t)
	anna := x.login(t, "anna")
	anna.says("hello?")
	anna.sees("! you are in no room; enter one with /join ROOM")
	anna.says("/JOIN Tea")
	anna.sees(youAreIn("tea"))

	ben := x.login(t, "ben")
	ben.says("/join tea")
	ben.sees(youAreIn("tea"))
	anna.sees("* ben has joined tea")
	ben.says("Hi, I am Ben.", "", "   ", "//who is here")
	for _, u := range []*user{anna, ben} {
		u.sees("[tea] ben: Hi, I am Ben.", "[tea] ben: /who is here")
	}

	anna.says("/msg Ben  a secret", "/msg carl hello", "/msg ben", "/msg")
	ben.sees("[from anna] a secret")
	anna.sees("[to ben] a secret", "! carl has not got that: nobody has that nickname",
		"! what do you want to say?", "! "+errName.Error())

	anna.says("/join milk", "moo", "/join tea", "back", "/who", "/who milk", "/who rum", "/list")
	anna.sees(youAreIn("milk"), "[milk] anna: moo", youAreIn("tea"), "[tea] anna: back",
		"* In tea: anna, ben", "* In milk: anna", "* In rum: none", "* Rooms: tea (2), milk (1)")
	ben.sees("[tea] anna: back")

	anna.says("/nick ann", "/part", "/part rum", "who hears me?", "/part", "/join tea")
	anna.sees("* anna is now ann", "* anna is now ann", "* You are ann.", "* You have left tea.", "! you are not in rum",
		"! you are in no room; enter one with /join ROOM", "! which room?",
		"(just now) [tea] ben: Hi, I am Ben.", "(just now) [tea] ben: /who is here", "(just now) [tea] anna: back", youAreIn("tea"))
	ben.sees("* anna is now ann", "* ann has left tea", "* ann has joined tea")

	anna.says("/quit", "too late")
	anna.sees("* Goodbye.")
	anna.ends()
	ben.sees("* ann has left tea")
	ben.doesNotSee()
}

// The last user of all is answered, although nobody reads the FIN before the answers.
func TestFIN(t *testing.T) {
	x := newChat(t)
	u := x.dial(t)
	u.says("anna", "/join tea")
	tcptest.Send(t, u.Conn, "the end") // without a line end
	tcptest.CloseWrite(t, u.Conn)
	u.sees(youAre("anna"), youAreIn("tea"), "[tea] anna: the end")
	u.ends()
}

func TestNicknames(t *testing.T) {
	x := newChatInMemory(t)
	anna := x.login(t, "anna", "tea")
	ben := x.dial(t)
	ben.says("ANNA")
	ben.sees("! somebody else has that nickname", "* What is your nickname?")
	ben.says("GET / HTTP/1.1")
	ben.sees("! "+errName.Error(), "* What is your nickname?")
	ben.says(strings.Repeat("b", 25))
	ben.sees("! a name has at most 24 characters", "* What is your nickname?")
	ben.says("ben", "/nick Ａnna", "/nick -", "/nick Ben")
	ben.sees(youAre("ben"), "! somebody else has that nickname", "! "+errName.Error(), "* You are ben.")
	anna.says("/nick carla")
	anna.sees("* anna is now carla", "* You are carla.")
	ben.says("/nick anna")
	ben.sees("* You are anna.")
	anna.says("/nick carla")
	anna.sees("* You are carla.")
}

// Whoever does not find a nickname must go.
func TestTriesOfNickname(t *testing.T) {
	x := newChatInMemory(t)
	u := x.dial(t)
	for range maxTries - 1 {
		u.says("-")
		u.sees("! "+errName.Error(), "* What is your nickname?")
	}
	u.says("-")
	u.sees("* Goodbye: too many tries.")
	u.ends()
}

// Commands before the login are no tries of a nickname, and only two of them do something.
func TestCommandsBeforeLogin(t *testing.T) {
	x := newChatInMemory(t)
	u := x.dial(t)
	for range maxTries {
		u.says("/help")
		if lines := u.seesLast("* What is your nickname?"); len(lines) != len(commands()) {
			t.Errorf("help is\n%s", strings.Join(lines, "\n"))
		}
		u.says("/join tea", "/frob")
		u.sees("! you need a nickname for that", "! there is no command /frob; /help shows all, and //text says /text")
	}
	u.says("/Quit")
	u.sees("* Goodbye.")
	u.ends()
	x.login(t, "anna")
}

// A nickname is free again as soon as its user has gone, however that was.
func TestNicknameIsFree(t *testing.T) {
	for name, leave := range map[string]func(*user){
		"FIN":   func(u *user) { tcptest.CloseWrite(t, u.Conn) },
		"reset": func(u *user) { u.Conn.(*net.TCPConn).SetLinger(0); u.Close() },
		"quit":  func(u *user) { u.says("/quit") },
	} {
		x := newChat(t)
		ben := x.login(t, "ben", "tea")
		anna := x.login(t, "anna", "tea")
		ben.sees("* anna has joined tea")
		leave(anna)
		ben.sees("* anna has left tea")
		if again := x.login(t, "anna"); again == nil {
			t.Error(name)
		}
	}
}

// A user who is silent is asked, and then sent away.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newChatInMemory(t)
		ben := x.login(t, "ben", "tea")
		anna := x.login(t, "anna", "tea")
		ben.sees("* anna has joined tea")
		talks := make(chan struct{})
		go func() { // Ben stays, and what he says is no sign of life of Anna's
			defer close(talks)
			for range 25 {
				time.Sleep(time.Minute)
				io.WriteString(ben, "/who\n")
			}
		}()
		began := time.Now()
		anna.SetReadDeadline(time.Time{})
		next := func(want string, after time.Duration) {
			t.Helper()
			line, err := anna.in.ReadString('\n')
			if d := time.Since(began); line != want+"\r\n" || d < after || d > after+time.Second {
				t.Fatalf("%q, %v after %v, want %q after %v", line, err, d, want, after)
			}
			began = time.Now()
		}
		next("* Are you there? Press Enter to stay.", 5*time.Minute)
		anna.says("")
		next("* Are you there? Press Enter to stay.", 5*time.Minute)
		next("* Goodbye: no line has come from you in 10m0s.", 5*time.Minute)
		anna.ends()
		<-talks
		ben.seesLast("* anna has left tea")
	})
}

// A nickname must come in time, whatever else comes.
func TestLoginTimeout(t *testing.T) {
	for name, sent := range map[string]string{"nothing": "", "a line that does not end": "x", "empty lines": "\n", "commands": "/who\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newChatInMemory(t)
				stays := x.login(t, "ben")
				began := time.Now()
				u := x.dial(t)
				var sends sync.WaitGroup
				sends.Go(func() {
					for err := error(nil); err == nil; _, err = io.WriteString(u, sent) {
						time.Sleep(time.Second)
						if time.Since(began) > 2*time.Minute {
							break
						}
					}
				})
				u.SetReadDeadline(time.Time{})
				rest, _ := io.ReadAll(u.in) // it ends with a reset, if it was sending
				if !strings.HasSuffix(string(rest), "* Goodbye: no nickname has come in time.\r\n") {
					t.Errorf("got %q", rest)
				}
				if d := time.Since(began); d < time.Minute || d > time.Minute+time.Second {
					t.Errorf("the end came after %v", d)
				}
				u.Close()
				sends.Wait()
				stays.doesNotSee()
			})
		})
	}
}

// Lines that are too long are dropped, and no others.
func TestLongLines(t *testing.T) {
	x := newChat(t, "--chat.max_line=64")
	anna := x.login(t, "anna", "tea")
	ben := x.login(t, "ben", "tea")
	anna.sees("* ben has joined tea")
	const dropped = "! a line has at most 64 bytes; yours was dropped"
	long, longest := strings.Repeat("x", 100<<10), strings.Repeat("\xff", 64)
	anna.says("before", long, strings.Repeat("y", 65), longest, "after")
	said := []string{"[tea] anna: before", "[tea] anna: " + strings.Repeat("\uFFFD", 64), "[tea] anna: after"}
	ben.sees(said...)
	anna.sees(said[0], dropped, dropped, said[1], said[2])
}

// What a user sends faster than the limit is served later. Nothing is lost.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newChatInMemory(t, "--chat.limit.frames=5", "--chat.limit.frame_burst=10")
		ben := x.login(t, "ben", "tea")
		anna := x.login(t, "anna", "tea") // two lines
		ben.sees("* anna has joined tea")
		began := time.Now()
		anna.says(numbered("line ", 58)...)
		anna.sees(numbered("[tea] anna: line ", 58)...)
		if d := time.Since(began); d < 9*time.Second || d > 11*time.Second {
			t.Errorf("50 lines over the burst have taken %v, want 10 s", d)
		}
		ben.sees(numbered("[tea] anna: line ", 58)...)
	})
}

func TestOperator(t *testing.T) {
	x := newChat(t, "--chat.operator_password", operatorPassword)
	anna := x.login(t, "anna", "tea")
	ben := x.login(t, "ben", "tea")
	anna.sees("* ben has joined tea")
	anna.says("/kick ben", "/oper", "/oper x", "/oper "+operatorPassword, "/kick", "/kick carl", "/kick BEN for \x1b[5mspam")
	anna.sees("! only operators may do that", "! that is not the password", "! that is not the password", "* You are an operator.",
		"! "+errName.Error(), "! carl was not kicked: nobody has that nickname")
	anna.seesInAnyOrder("* You have kicked ben.", "* ben has left tea")
	ben.sees("* Goodbye: kicked by anna: for \uFFFD[5mspam.")
	ben.ends()
	x.login(t, "ben") // it is no ban
}

// Passwords cannot be tried for long, and without a password in the configuration none is right.
func TestTriesOfPassword(t *testing.T) {
	x := newChat(t)
	u := x.login(t, "anna")
	for range maxTries - 1 {
		u.says("/oper")
		u.sees("! that is not the password")
	}
	u.says("/oper")
	u.sees("* Goodbye: too many tries.")
	u.ends()
}

// A program that connects again and again cannot try passwords faster. Not even the right one is looked
// at then.
func TestTriesOfPasswordTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newChatInMemory(t, "--chat.operator_password", operatorPassword)
		const later = "! there are too many tries now; try again later"
		for n := range maxTries {
			u := x.login(t, fmt.Sprint("user", n))
			u.says("/oper x")
			u.sees("! that is not the password")
		}
		anna := x.login(t, "anna")
		anna.says("/oper " + operatorPassword)
		anna.sees(later)
		time.Sleep(time.Second)
		anna.says("/oper "+operatorPassword, "/oper "+operatorPassword)
		anna.sees("* You are an operator.", later)
	})
}

func TestHelp(t *testing.T) {
	x := newChatInMemory(t)
	u := x.login(t, "anna")
	u.says("/help", "/", "/ help", "/frob x")
	lines := u.seesLast("* Any other line goes to your room.")
	if len(lines) != len(commands()) || lines[1] != "* /join ROOM: enter a room, or go back to one that you are in" {
		t.Errorf("help is\n%s", strings.Join(lines, "\n"))
	}
	u.sees("! there is no command /; /help shows all, and //text says /text",
		"! there is no command /; /help shows all, and //text says /text",
		"! there is no command /frob; /help shows all, and //text says /text")
}
