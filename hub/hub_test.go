package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/handler"
	"wireline/hub"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

func TestMain(m *testing.M) {
	tcptest.Timeout = testutil.Patience
	goleak.VerifyTestMain(m)
}

// house is a server of lines whose clients are in a hub. A client's first line is its key. Later
// lines are "enter ROOM", "exit ROOM", "leave", or an answer.
type house struct {
	*hub.Hub
	server  *tcptest.Server
	records *testutil.Records[handler.Record]

	onOpen func(*handler.Client)
	onJoin func(*handler.Client, error)

	mu      sync.Mutex
	clients map[string]*handler.Client // by the text of their Join
}

func newHouse(t *testing.T, h *hub.Hub, set func(*handler.Frames)) *house {
	t.Helper()
	e := &house{Hub: h, records: testutil.NewRecords[handler.Record](), clients: map[string]*handler.Client{}}
	f := &handler.Frames{OnOpen: e.open, OnFrame: e.serve, OnRecord: e.records.Add}
	if set != nil {
		set(f)
	}
	e.server = tcptest.NewUnstartedServer(f)
	e.server.Serve(tcptest.Listen())
	t.Cleanup(func() {
		e.server.Close()
		h.Close()
	})
	return e
}

func (e *house) open(c *handler.Client) error {
	if e.onOpen != nil {
		e.onOpen(c)
	}
	return nil
}

func (e *house) serve(c *handler.Client, line []byte) error {
	word, rest, _ := strings.Cut(string(line), " ")
	var err error
	switch word {
	case "join":
		err = e.Join(c, rest)
		if e.onJoin != nil {
			e.onJoin(c, err)
		}
		e.mu.Lock()
		e.clients[rest] = c
		e.mu.Unlock()
	case "enter":
		err = e.Enter(c, rest)
	case "exit":
		e.Exit(c, rest)
	case "leave":
		e.Leave(c)
	case "end":
		return handler.ErrQuit
	default:
		if !e.Answer(c, line) {
			err = errors.New("nobody waits")
		}
	}
	if err != nil {
		return c.WriteFrame([]byte(err.Error()))
	}
	return c.WriteFrame([]byte("ok"))
}

// client is a client that talks to the house.
type client struct {
	net.Conn
	t *testing.T
}

func (e *house) dial(t *testing.T) *client {
	t.Helper()
	conn := e.server.Dial()
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testutil.Patience))
	return &client{conn, t}
}

// joined returns a client that has joined, and entered the rooms.
func (e *house) joined(t *testing.T, key string, rooms ...string) *client {
	t.Helper()
	c := e.dial(t)
	c.does("join "+key, "ok")
	for _, room := range rooms {
		c.does("enter "+room, "ok")
	}
	return c
}

// does sends a line, and expects a reply.
func (c *client) does(line, reply string) {
	c.t.Helper()
	c.says(line)
	c.gets(reply)
}

func (c *client) says(line string) {
	c.t.Helper()
	tcptest.Send(c.t, c, line+"\n")
}

func (c *client) gets(line string) {
	c.t.Helper()
	tcptest.Receive(c.t, c, line+"\n")
}

// ends expects the server's FIN.
func (c *client) ends() {
	c.t.Helper()
	tcptest.ReceiveAll(c.t, c, "")
}

// end has the server end the client.
func (c *client) end() {
	c.t.Helper()
	tcptest.Send(c.t, c, "end\n")
	tcptest.ReceiveAll(c.t, c, "")
}

func (e *house) send(t *testing.T, key, text string, want error) {
	t.Helper()
	if err := e.Send(t.Context(), key, []byte(text)); !errors.Is(err, want) {
		t.Errorf("send to %s: %v, want %v", key, err, want)
	}
}

func (e *house) publish(t *testing.T, room, text string, want hub.Published) {
	t.Helper()
	got, err := e.Publish(t.Context(), room, []byte(text))
	if err != nil || got != want {
		t.Errorf("publish to %s: %+v, %v; want %+v", room, got, err, want)
	}
}

// present returns the keys in a room in their order.
func (e *house) present(t *testing.T, room string) []string {
	t.Helper()
	keys, err := e.Presence(t.Context(), room)
	if err != nil {
		t.Error(err)
	}
	slices.Sort(keys)
	return keys
}

func TestSend(t *testing.T) {
	e := newHouse(t, new(hub.Hub), nil)
	a, b := e.joined(t, "a"), e.joined(t, "b")
	e.send(t, "a", "for a", nil)
	e.send(t, "b", "for b", nil)
	e.send(t, "c", "for nobody", hub.ErrUnknown)
	tcptest.Receive(t, a, "for a\n")
	tcptest.Receive(t, b, "for b\n")
	a.does("join x", "ok") // another key
	e.send(t, "a", "", hub.ErrUnknown)
	e.send(t, "x", "for x", nil)
	tcptest.Receive(t, a, "for x\n")
	b.does("leave", "ok")
	e.send(t, "b", "", hub.ErrUnknown)
	a.end()
	testutil.Eventually(t, "a client that has ended has left", func() bool { return e.Count() == 0 })
	e.send(t, "x", "", hub.ErrUnknown)
}

func TestSecondClientOfAKey(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		e := newHouse(t, new(hub.Hub), nil)
		a := e.joined(t, "k")
		a.does("join k", "ok") // again
		e.dial(t).does("join k", hub.ErrTaken.Error())
		e.send(t, "k", "hello", nil)
		tcptest.Receive(t, a, "hello\n")
	})
	t.Run("kicks the first", func(t *testing.T) {
		e := newHouse(t, &hub.Hub{Second: hub.KickFirst}, nil)
		a := e.joined(t, "k", "room")
		first := e.clients["k"]
		b := e.joined(t, "k")
		tcptest.ReceiveAll(t, a, "")
		a.Close()
		if r := e.records.Next(t); r.Reason != handler.ReasonApplication || !errors.Is(r.Err, hub.ErrReplaced) {
			t.Errorf("record %+v", r)
		}
		e.Leave(first) // the late end of the older connection
		e.send(t, "k", "hello", nil)
		tcptest.Receive(t, b, "hello\n")
		if n := e.CountIn("room"); n != 0 {
			t.Errorf("%d clients are in the room of the first client", n)
		}
	})
	t.Run("stays", func(t *testing.T) {
		e := newHouse(t, &hub.Hub{Second: hub.AllowBoth}, nil)
		all := []*client{e.joined(t, "k"), e.joined(t, "k"), e.joined(t, "k")}
		for len(all) > 0 {
			e.send(t, "k", "hello", nil)
			for _, c := range all {
				tcptest.Receive(t, c, "hello\n")
			}
			gone := rand.IntN(len(all))
			all[gone].does("leave", "ok")
			all = slices.Delete(all, gone, gone+1)
		}
		e.send(t, "k", "", hub.ErrUnknown)
	})
}

// A client that has ended cannot join, and does not take the key from another.
func TestJoinAfterTheEnd(t *testing.T) {
	e := newHouse(t, &hub.Hub{Second: hub.KickFirst}, nil)
	ended := e.joined(t, "ended")
	c := e.clients["ended"]
	ended.end()
	<-c.Context().Done()
	a := e.joined(t, "k")
	if err := e.Join(c, "k"); !errors.Is(err, handler.ErrClosed) {
		t.Errorf("Join of a client that has ended: %v", err)
	}
	e.send(t, "k", "hello", nil)
	tcptest.Receive(t, a, "hello\n")
	testutil.Eventually(t, "one client is left", func() bool { return e.Count() == 1 })
}

func TestNames(t *testing.T) {
	e := newHouse(t, &hub.Hub{MaxName: 3, MaxRooms: 2}, nil)
	c := e.dial(t)
	c.does("enter a", hub.ErrNotJoined.Error())
	c.does("join ", hub.ErrName.Error())
	c.does("join abcd", hub.ErrName.Error())
	c.does("join abc", "ok")
	c.does("enter abcd", hub.ErrName.Error())
	for _, room := range []string{"a", "a", "b"} {
		c.does("enter "+room, "ok")
	}
	c.does("enter c", hub.ErrTooManyRooms.Error())
	c.does("exit a", "ok")
	c.does("enter c", "ok")
}

func TestRooms(t *testing.T) {
	e := newHouse(t, new(hub.Hub), nil)
	a, b := e.joined(t, "a", "x", "y"), e.joined(t, "b", "y")
	e.publish(t, "x", "to x", hub.Published{Sent: 1})
	e.publish(t, "y", "to y", hub.Published{Sent: 2})
	e.publish(t, "z", "to z", hub.Published{})
	tcptest.Receive(t, a, "to x\nto y\n")
	tcptest.Receive(t, b, "to y\n")
	keys := e.present(t, "y")
	if !slices.Equal(keys, []string{"a", "b"}) || e.CountIn("y") != 2 || e.CountIn("z") != 0 {
		t.Errorf("in room y: %v", keys)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := e.Publish(ended, "y", nil); p.Sent != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("published %+v, %v", p, err)
	}
	a.does("exit y", "ok")
	e.publish(t, "y", "again", hub.Published{Sent: 1})
	b.Close()
	testutil.Eventually(t, "the room is empty", func() bool { return e.CountIn("y") == 0 })
}

// The lists of rooms and clients stay those of a simple model, whatever comes and goes.
func TestRoomsLikeAModel(t *testing.T) {
	e := newHouse(t, &hub.Hub{MaxRooms: 10}, nil)
	const clients, rooms = 20, 12
	model := map[string]map[string]bool{} // rooms, and the keys in each
	for i := range rooms {
		model[fmt.Sprint("room ", i)] = map[string]bool{}
	}
	for i := range clients {
		e.joined(t, fmt.Sprint(i))
	}
	for range 5000 {
		key, room := fmt.Sprint(rand.IntN(clients)), fmt.Sprint("room ", rand.IntN(rooms))
		c, in := e.clients[key], 0
		for _, keys := range model {
			if keys[key] {
				in++
			}
		}
		switch action := rand.IntN(20); {
		case action == 0:
			e.Leave(c)
			for _, keys := range model {
				delete(keys, key)
			}
			if err := e.Join(c, key); err != nil {
				t.Fatal(err)
			}
		case action < 12:
			want := error(nil)
			if in == 10 && !model[room][key] {
				want = hub.ErrTooManyRooms
			}
			if err := e.Enter(c, room); err != want {
				t.Fatalf("enter: %v, want %v", err, want)
			}
			if want == nil {
				model[room][key] = true
			}
		default:
			e.Exit(c, room)
			delete(model[room], key)
		}
		got, want := e.present(t, room), model[room]
		if len(got) != len(want) || slices.ContainsFunc(got, func(key string) bool { return !want[key] }) {
			t.Fatalf("in %s: %v, want %v", room, got, want)
		}
		for _, name := range e.Rooms(c) {
			if !model[name][key] {
				t.Fatalf("%s is in %s", key, name)
			}
		}
	}
}

// countingCodec counts how often a frame is encoded.
type countingCodec struct {
	frame.Line
	encoded *int
}

func (c countingCodec) Append(dst, payload []byte) ([]byte, error) {
	*c.encoded++
	return c.Line.Append(dst, payload)
}

func (c countingCodec) Wrap(buf, payload []byte) (head, tail []byte, err error) {
	*c.encoded++
	return c.Line.Wrap(buf, payload)
}

// A Frames that was reconfigured has another codec for the clients that come later.
func TestPublishEncodesOnce(t *testing.T) {
	var encoded int
	codec := countingCodec{frame.Line{Max: 1 << 20}, &encoded}
	e := newHouse(t, new(hub.Hub), func(f *handler.Frames) { f.Codec = codec })
	var all []*client
	const generations = 2
	for i := range 25 * generations {
		if i == 25 {
			if err := e.server.TCP.Handler.(*handler.Frames).Reconfigure(&handler.Frames{OnFrame: e.serve, Codec: codec}); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, e.joined(t, fmt.Sprint(i), "room"))
	}
	for i := range 1000 { // mixes the list of the room
		key := fmt.Sprint(i % len(all))
		e.Exit(e.clients[key], "room")
		e.Enter(e.clients[key], "room")
	}
	for _, size := range []int{10, 100_000} {
		text := strings.Repeat("x", size)
		encoded = 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, c := range all {
				tcptest.Receive(t, c, text+"\n")
			}
		}()
		e.publish(t, "room", text, hub.Published{Sent: len(all)})
		<-done
		if encoded != generations {
			t.Errorf("%d bytes were encoded %d times", size, encoded)
		}
	}
}

// A client that does not read delays nobody, whatever happens to its own messages.
func TestSlowReader(t *testing.T) {
	for _, whenSlow := range []handler.WhenSlow{handler.SlowBlock, handler.SlowDrop, handler.SlowClose} {
		e := newHouse(t, new(hub.Hub), func(f *handler.Frames) { f.MaxPending, f.WhenSlow = 10_000, whenSlow })
		e.joined(t, "slow", "room")
		quick := e.joined(t, "quick", "room")
		line := strings.Repeat("x", 999)
		slow, gone := 0, 0
		for range 1000 {
			p, err := e.Publish(t.Context(), "room", []byte(line))
			if err != nil || p.Slow > 1 {
				t.Fatal(p, err)
			}
			slow += p.Slow
			gone += p.Gone
			tcptest.Receive(t, quick, line+"\n")
		}
		if slow == 0 || whenSlow != handler.SlowClose && gone > 0 {
			t.Errorf("policy %d: %d messages were refused, %d found no client", whenSlow, slow, gone)
		}
		if whenSlow != handler.SlowClose { // some may still fit into the connection's buffer
			testutil.Eventually(t, "the slow client to be told apart", func() bool {
				return errors.Is(e.Send(t.Context(), "slow", []byte(line)), handler.ErrSlowReader)
			})
		}
	}
}

// ids are numbers at the beginning of a line.
func ids(frame []byte) (string, bool) {
	id, _, ok := strings.Cut(string(frame), " ")
	return id, ok
}

// request makes a request in a goroutine.
func (e *house) request(ctx context.Context, key, text string) (result chan string) {
	result = make(chan string, 1)
	go func() {
		answer, err := e.Request(ctx, key, []byte(text))
		if err != nil {
			answer = []byte("error: " + err.Error())
		}
		result <- string(answer)
	}()
	return result
}

func TestRequest(t *testing.T) {
	e := newHouse(t, &hub.Hub{ID: ids}, nil)
	c := e.joined(t, "device")
	first := e.request(t.Context(), "device", "1 status")
	tcptest.Receive(t, c, "1 status\n")
	second := e.request(t.Context(), "device", "2 reboot")
	tcptest.Receive(t, c, "2 reboot\n")
	expect := func(result chan string, want string) {
		t.Helper()
		if got := testutil.Await(t, "the result of a request", result); got != want {
			t.Errorf("the result is %q, want %q", got, want)
		}
	}
	expect(e.request(t.Context(), "device", "1 again"), "error: "+hub.ErrIDInUse.Error())
	c.does("2 rebooted", "ok") // in another order
	expect(second, "2 rebooted")
	c.does("2 rebooted", "nobody waits") // again
	c.does("1 fine", "ok")
	expect(first, "1 fine")
	expect(e.request(t.Context(), "nobody", "3 x"), "error: "+hub.ErrUnknown.Error())
	expect(e.request(t.Context(), "device", "none"), "error: "+hub.ErrNoID.Error())

	limited, cancel := context.WithCancel(t.Context())
	late := e.request(limited, "device", "4 slow")
	tcptest.Receive(t, c, "4 slow\n")
	cancel()
	expect(late, "error: "+context.Canceled.Error())
	expect(e.request(t.Context(), "device", "4 again"), "error: "+hub.ErrIDInUse.Error())
	c.does("4 late", "nobody waits")
	again := e.request(t.Context(), "device", "4 again")
	tcptest.Receive(t, c, "4 again\n")
	c.does("4 answer", "ok")
	expect(again, "4 answer")

	left := e.request(t.Context(), "device", "5 x")
	tcptest.Receive(t, c, "5 x\n")
	c.does("leave", "ok")
	expect(left, "error: "+hub.ErrNotJoined.Error())
	c.does("join device", "ok")
	ended := e.request(t.Context(), "device", "6 x")
	tcptest.Receive(t, c, "6 x\n")
	c.Close()
	if got := testutil.Await(t, "the result of a request", ended); !strings.HasPrefix(got, "error: "+handler.ErrClosed.Error()) {
		t.Errorf("the client has ended: %q", got)
	}
}

// A client that never answers makes the hub remember the ids of its last requests only.
func TestRequestsGivenUp(t *testing.T) {
	e := newHouse(t, &hub.Hub{ID: ids}, nil)
	c := e.joined(t, "device")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	giveUp := func(id int) error {
		_, err := e.Request(ended, "device", fmt.Appendf(nil, "%d x", id))
		tcptest.Receive(t, c, fmt.Sprintf("%d x\n", id))
		return err
	}
	for id := range hub.MaxGivenUp + 1 {
		if err := giveUp(id); err != context.Canceled {
			t.Fatal(err)
		}
	}
	if _, err := e.Request(t.Context(), "device", []byte("1 x")); err != hub.ErrIDInUse {
		t.Errorf("an id that is remembered: %v", err)
	}
	if err := giveUp(0); err != context.Canceled {
		t.Errorf("the oldest id: %v", err)
	}
}

// With AllowBoth, the newest client is asked that has not ended.
func TestRequestNewestEnded(t *testing.T) {
	e := newHouse(t, &hub.Hub{Second: hub.AllowBoth, ID: ids}, nil)
	older := e.joined(t, "k")
	for n := range 50 { // the newest is about to leave
		e.joined(t, "k")
		e.mu.Lock()
		newest := e.clients["k"]
		e.mu.Unlock()
		newest.Close()
		answer := e.request(t.Context(), "k", fmt.Sprint(n, " x"))
		tcptest.Receive(t, older, fmt.Sprint(n, " x\n"))
		older.does(fmt.Sprint(n, " y"), "ok")
		if got := testutil.Await(t, "the result of a request", answer); got != fmt.Sprint(n, " y") {
			t.Fatal(got)
		}
	}
}

func TestClose(t *testing.T) {
	h := &hub.Hub{ID: ids}
	e := newHouse(t, h, nil)
	c := e.joined(t, "a", "room")
	request := e.request(t.Context(), "a", "1 x")
	tcptest.Receive(t, c, "1 x\n")
	h.Close()
	if got := testutil.Await(t, "the result", request); got != "error: "+hub.ErrNotJoined.Error() {
		t.Error(got)
	}
	c.does("join a", hub.ErrClosed.Error())
	c.does("enter room", hub.ErrNotJoined.Error())
	if h.Count() != 0 || h.CountIn("room") != 0 {
		t.Error("somebody is left")
	}
}

// Clients come and go while others send to them: everybody is gone in the end.
func TestComeAndGo(t *testing.T) {
	e := newHouse(t, &hub.Hub{Second: hub.KickFirst}, func(f *handler.Frames) { f.WhenSlow = handler.SlowDrop })
	ctx, cancel := context.WithCancel(t.Context())
	var senders, clients sync.WaitGroup
	for range 2 {
		senders.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				e.Publish(ctx, fmt.Sprint("room ", i%3), []byte("hello"))
				e.Send(ctx, fmt.Sprint(i%5), []byte("you"))
				for key := range e.All() {
					e.Presence(ctx, "room "+key)
				}
			}
		})
	}
	for range 8 {
		clients.Go(func() {
			for range 100 {
				conn := e.server.Dial()
				fmt.Fprintf(conn, "join %d\nenter room %d\n", rand.IntN(5), rand.IntN(3))
				conn.SetReadDeadline(time.Now().Add(testutil.Patience))
				conn.Read(make([]byte, 100))
				conn.Close()
			}
		})
	}
	clients.Wait()
	cancel()
	senders.Wait()
	testutil.Eventually(t, "all have left", func() bool { return e.Count() == 0 })
	for i := range 3 {
		if n := e.CountIn(fmt.Sprint("room ", i)); n != 0 {
			t.Errorf("%d clients are left in room %d", n, i)
		}
	}
}

// A client that comes again at once finds its key free, even if the hub has not noticed yet that
// the old connection has ended.
func TestJoinAgain(t *testing.T) {
	e := newHouse(t, new(hub.Hub), nil)
	c := e.joined(t, "k")
	for range 200 {
		e.mu.Lock()
		old := e.clients["k"]
		e.mu.Unlock()
		c.end()
		<-old.Context().Done()
		c = e.joined(t, "k")
	}
}
