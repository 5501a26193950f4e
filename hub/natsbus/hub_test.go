package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"wireline/handler"
	"wireline/hub"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// house is a hub in a process of its own, as far as a test in one process can have that. Its clients
// send "join KEY", "enter ROOM" and "ans ID".
type house struct {
	*hub.Hub
	server *tcptest.Server
	ends   *testutil.Records[handler.Record]
}

func newHouse(t *testing.T, bus hub.Bus, second hub.Second) *house {
	t.Helper()
	e := &house{Hub: &hub.Hub{Second: second, ID: requestID, Bus: bus}, ends: testutil.NewRecords[handler.Record]()}
	e.server = tcptest.NewServer(&handler.Frames{OnRecord: e.ends.Add, OnFrame: func(c *handler.Client, line []byte) error {
		word, name, _ := strings.Cut(string(line), " ")
		switch word {
		case "ans":
			e.Answer(c, line)
			return nil
		case "enter":
			return e.Enter(c, name)
		}
		if err := e.Join(c, name); err != nil {
			return c.WriteFrame([]byte(err.Error()))
		}
		return c.WriteFrame([]byte("joined"))
	}})
	t.Cleanup(func() {
		e.server.Close()
		e.Close()
	})
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	return e
}

// joined returns a client that has joined.
func (e *house) joined(t *testing.T, key string) net.Conn {
	t.Helper()
	c := e.server.Dial()
	fmt.Fprintf(c, "join %s\n", key)
	tcptest.Receive(t, c, "joined\n")
	return c
}

func TestHubs(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		url := m.server(t).URL()
		here, there := newHouse(t, m.bus(url), hub.KickFirst), newHouse(t, m.bus(url), hub.KickFirst)
		ctx := context.Background()
		first := here.joined(t, "k")
		if err := there.Send(ctx, "k", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		tcptest.Receive(t, first, "hello\n")

		second := there.joined(t, "k")
		tcptest.ReceiveAll(t, first, "")
		if r := here.ends.Next(t); !errors.Is(r.Err, hub.ErrReplaced) {
			t.Errorf("the end of the first client: %v", r.Err)
		}
		first.Close()

		fmt.Fprint(second, "enter room\n")
		testutil.Eventually(t, "nobody is in the room", func() bool {
			keys, err := here.Presence(ctx, "room")
			return err == nil && slices.Equal(keys, []string{"k"})
		})
		answer := make(chan string)
		go func() {
			a, err := here.Request(ctx, "k", []byte("ask 1"))
			answer <- fmt.Sprint(string(a), err)
		}()
		tcptest.Receive(t, second, "ask 1\n")
		fmt.Fprint(second, "ans 1\n")
		if a := testutil.Await(t, "no answer", answer); a != "ans 1<nil>" {
			t.Errorf("Request: %s", a)
		}
		why := errors.New("enough of it")
		if err := here.Kick(ctx, "k", why); err != nil {
			t.Fatal(err)
		}
		tcptest.ReceiveAll(t, second, "")
		second.Close()
		if r := there.ends.Next(t); r.Err == nil || r.Err.Error() != why.Error() {
			t.Errorf("the end of the second client: %v", r.Err)
		}
		testutil.Eventually(t, "the key is not free", func() bool {
			return errors.Is(here.Send(ctx, "k", nil), hub.ErrUnknown)
		})
		here.joined(t, "another")
		here.Close() // with a client
		wantErr(t, "Send to a closed hub", there.Send(ctx, "another", nil), hub.ErrUnknown)
	})
}
