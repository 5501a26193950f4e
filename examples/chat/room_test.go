package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A newcomer is shown the last messages, and not the notices. An empty room forgets them.
func TestRoomHistory(t *testing.T) {
	x := newChatInMemory(t, "--chat.history=3")
	anna := x.login(t, "anna", "tea")
	anna.says(numbered("", 5)...)
	anna.sees(numbered("[tea] anna: ", 5)...)
	ben := x.login(t, "ben")
	ben.says("/join tea", "/part")
	last := []string{"(just now) [tea] anna: 2", "(just now) [tea] anna: 3", "(just now) [tea] anna: 4"}
	ben.sees(append(last, youAreIn("tea"), "* You have left tea.")...)
	anna.sees("* ben has joined tea", "* ben has left tea")
	anna.says("/part")
	anna.sees("* You have left tea.")
	ben.says("/join tea")
	ben.sees(youAreIn("tea"))
}

// The longest history is just what may wait for a newcomer who does not read yet.
func TestLongestHistory(t *testing.T) {
	const flags, room = "--chat.max_line=64KiB --chat.history=20 --chat.max_pending=3942400 --chat.max_name=60", "\U00010428"
	x := newChatInMemory(t, strings.Fields(flags)...)
	name := strings.Repeat(room, 60) // the letters have four bytes each
	anna := x.login(t, name, name)
	said := "[" + name + "] " + name + ": " + strings.Repeat("\uFFFD", 64<<10)
	for range 20 {
		anna.says(strings.Repeat("\xff", 64<<10))
		anna.sees(said)
	}
	ben := x.login(t, "ben")
	ben.says("/join " + name)
	anna.sees("* ben has joined " + name)
	for range 20 {
		ben.sees("(just now) " + said)
	}
	ben.sees(youAreIn(name))
}

func TestNoHistory(t *testing.T) {
	x := newChatInMemory(t, "--chat.history=0")
	anna := x.login(t, "anna", "tea")
	anna.says("hello")
	anna.sees("[tea] anna: hello")
	ben := x.login(t, "ben")
	ben.says("/join tea")
	ben.sees(youAreIn("tea"))
}

// While others talk, newcomers see every message once and in its order: first those of the history,
// then the rest.
func TestNewcomersMissNothing(t *testing.T) {
	const messages, newcomers = 500, 20
	x := newChat(t, "--chat.history=1000", "--chat.max_pending=4MiB", "--chat.max_rooms_per_user=2")
	anna := x.login(t, "anna", "tea")
	var all sync.WaitGroup
	for n := range newcomers {
		u := x.login(t, fmt.Sprint("user", n))
		all.Go(func() {
			u.says("/join tea")
			for next := 0; next < messages; {
				_, number, ok := strings.Cut(u.line(), "[tea] anna: ")
				if !ok {
					continue // a notice
				}
				if number != strconv.Itoa(next) {
					t.Errorf("message %s, want %d", number, next)
					return
				}
				next++
			}
		})
	}
	anna.says(numbered("", messages)...)
	all.Wait()
}

// All users of a room see what several say in one order.
func TestOneOrder(t *testing.T) {
	const talkers, each = 5, 100
	x := newChat(t)
	var users []*user
	for n := range talkers {
		users = append(users, x.login(t, fmt.Sprint("user", n), "tea"))
	}
	for _, u := range users {
		u.seesOnlyNotices(talkers)
	}
	seen := make([]string, talkers)
	var all sync.WaitGroup
	for n, u := range users {
		u.says(numbered("", each)...)
		all.Go(func() {
			var lines []string
			for range talkers * each {
				lines = append(lines, u.line())
			}
			seen[n] = strings.Join(lines, "\n")
		})
	}
	all.Wait()
	for n := range seen {
		if seen[n] != seen[0] {
			t.Errorf("user%d has seen another order than user0:\n%s\n\n%s", n, seen[n], seen[0])
		}
	}
}

// seesOnlyNotices waits until the users up to the last one have joined.
func (u *user) seesOnlyNotices(users int) {
	u.t.Helper()
	last := fmt.Sprintf("* user%d has joined tea", users-1)
	u.says("/who")
	for {
		switch line := u.line(); {
		case line == last:
		case strings.HasPrefix(line, "* In tea: "):
			return
		case !strings.HasPrefix(line, "* "):
			u.t.Fatalf("got %q", line)
		}
	}
}

func TestMaxRooms(t *testing.T) {
	x := newChatInMemory(t, "--chat.max_rooms=3", "--chat.max_rooms_per_user=2")
	anna := x.login(t, "anna", "a", "b")
	anna.says("/join c", "/join a")
	anna.sees("! you are in 2 rooms; leave one with /part ROOM", youAreIn("a"))
	ben := x.login(t, "ben", "c")
	ben.says("/join d")
	ben.sees("! there are too many rooms; enter one of /list")
	anna.says("/part", "/quit")
	anna.sees("* You have left a.", "* Goodbye.")
	anna.ends()
	ben.says("/join d", "/list")
	ben.sees(youAreIn("d"))
	if rooms := ben.line(); rooms != "* Rooms: c (1), d (1)" && rooms != "* Rooms: b (1), c (1), d (1)" {
		t.Errorf("%s", rooms) // b may not be given up yet
	}
}

// In a crowd nobody is told who comes and goes.
func TestCrowd(t *testing.T) {
	x := newChatInMemory(t, "--chat.max_name=10")
	first := x.login(t, "first", "tea")
	var crowd []*user
	for n := range maxNotices + 5 {
		crowd = append(crowd, x.login(t, fmt.Sprintf("user%03d", n), "tea"))
	}
	for n := range maxNotices {
		first.sees(fmt.Sprintf("* user%03d has joined tea", n))
	}
	first.doesNotSee()
	crowd[0].says("/part", "/who tea", "/quit")
	crowd[0].seesLast("* You have left tea.")
	who := crowd[0].line()
	if !strings.HasPrefix(who, "* In tea: first, user001, ") || !strings.HasSuffix(who, ", user049, and 55 more") {
		t.Errorf("%s", who)
	}
	first.doesNotSee()
}
