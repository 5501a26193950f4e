package natsbus_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// The size of the cluster of processes.
const (
	processes = 3
	perRoom   = 10 // clients in a room, which are at all processes
)

// cluster is three processes with clients, and a NATS server.
type cluster struct {
	t         *testing.T
	server    *child
	apps      [processes]*child
	addresses [processes]string
	users     []*user
	stop      chan struct{} // closed when the users are to do nothing more by themselves
	end       chan struct{} // closed when they are to end
	running   sync.WaitGroup
	lastID    atomic.Int64

	mu    sync.Mutex
	sends map[string]*sent
}

// sent is a Send that somebody has made.
type sent struct {
	to      *user
	start   time.Time
	outcome string // "ok", or the text of the error
}

// user is a client of the cluster, with a key of its own. It connects again when its connection
// ends, to any of the processes.
type user struct {
	cluster *cluster
	key     string
	room    string

	mu      sync.Mutex
	conn    net.Conn // nil while there is none
	life    int      // counts the connections
	seq     int      // of what it has published in this life
	joined  bool
	ended   time.Time       // the last connection
	pending string          // the id of a Send or Request that it waits for
	result  chan string     // gets the result of it; has room for one
	last    map[string]int  // the last message in the room, by sender and its life
	got     map[string]int  // how often the message of a Send has come
	texts   map[string]bool // what was heard in the room at the end
}

func TestProcessesAreKilled(t *testing.T) {
	inBothModes(t, func(t *testing.T, m mode) {
		n, lease := 3000, time.Duration(0)
		if testutil.Reduced() {
			n = 120
		}
		if m.jetStream {
			lease = 10 * time.Second
		}
		c := newCluster(t, lease, n)
		victims := append([]*child{c.server}, c.apps[:]...)
		for _, victim := range victims {
			c.letTime(time.Second)
			victim.kill()
			c.letTime(500 * time.Millisecond)
			victim.start(t)
			c.awaitJoined()
		}
		c.letTime(time.Second)
		c.finish()
	})
}

// newCluster starts everything, and waits until n users have joined. Without a lease, there is no
// JetStream.
func newCluster(t *testing.T, lease time.Duration, n int) *cluster {
	c := &cluster{t: t, stop: make(chan struct{}), end: make(chan struct{}), sends: make(map[string]*sent)}
	address := freeAddress(t)
	c.server = newChild(t, "server", address, t.TempDir())
	for i := range c.apps {
		c.addresses[i] = freeAddress(t)
		c.apps[i] = newChild(t, "app", c.addresses[i], "nats://"+address, lease.String())
	}
	for i := range n {
		u := &user{
			cluster: c, key: fmt.Sprintf("user%d", i), room: fmt.Sprintf("room %d", i/perRoom),
			result: make(chan string, 1), last: make(map[string]int), got: make(map[string]int), texts: make(map[string]bool),
		}
		u.room = strings.ReplaceAll(u.room, " ", ".")
		c.users = append(c.users, u)
	}
	for i, u := range c.users {
		c.running.Go(func() { u.live(i % processes) })
		c.running.Go(u.work)
	}
	t.Cleanup(func() {
		close(c.end)
		for _, u := range c.users {
			u.hangUp()
		}
		c.running.Wait()
	})
	c.awaitJoined()
	return c
}

// letTime lets the users work for some time, which is part of the test.
func (c *cluster) letTime(d time.Duration) { time.Sleep(d) }

func (c *cluster) awaitJoined() {
	c.t.Helper()
	begin, missing := time.Now(), 0
	ok := testutil.Soon(4*testutil.Patience, func() bool {
		missing = 0
		for _, u := range c.users {
			u.mu.Lock()
			if !u.joined {
				missing++
			}
			u.mu.Unlock()
		}
		return missing == 0
	})
	c.t.Logf("%d of %d users have joined after %v", len(c.users)-missing, len(c.users), time.Since(begin))
	if !ok {
		c.t.FailNow()
	}
}

// live keeps a connection until the end of the test.
func (u *user) live(process int) {
	for {
		u.connect(u.cluster.addresses[process])
		select {
		case <-u.cluster.end:
			return
		case <-time.After(time.Duration(20+rand.IntN(100)) * time.Millisecond):
		}
		process = rand.IntN(processes)
	}
}

// connect serves one connection until it ends.
func (u *user) connect(address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	u.mu.Lock()
	u.conn, u.life, u.seq = conn, u.life+1, 0
	u.mu.Unlock()
	fmt.Fprintf(conn, "join %s\nenter %s\n", u.key, u.room)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		u.receive(lines.Text())
	}
	conn.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conn, u.joined, u.ended = nil, false, time.Now()
	if u.pending != "" { // the end of the connection is an answer too
		u.pending = ""
		u.result <- "ended"
	}
}

func (u *user) hangUp() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conn != nil {
		u.conn.Close()
	}
}

// receive serves a line of the server.
func (u *user) receive(line string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	words := append(strings.SplitN(line, " ", 3), "", "")
	switch words[0] {
	case "joined":
		u.joined = true
	case "ask":
		fmt.Fprintf(u.conn, "ans %s\n", words[1])
	case "s":
		if u.got[words[1]]++; u.got[words[1]] > 1 {
			u.cluster.t.Errorf("%s has got the message of Send %s twice", u.key, words[1])
		}
	case "res":
		if words[1] == u.pending {
			u.pending = ""
			u.result <- words[2]
		}
	case "m":
		u.hear(words[1], words[2])
	}
}

// hear checks the order of the messages in the room.
func (u *user) hear(from, text string) {
	u.texts[text] = true
	var seq int
	if _, err := fmt.Sscan(text, &seq); err != nil {
		return
	}
	if seq <= u.last[from] {
		u.cluster.t.Errorf("%s: message %d of %s after %d", u.key, seq, from, u.last[from])
	}
	u.last[from] = seq
}

// work publishes, sends and asks, until the users are to stop.
func (u *user) work() {
	for {
		select {
		case <-u.cluster.stop:
			return
		case <-u.cluster.end:
			return
		case <-time.After(time.Duration(rand.Int64N(int64(len(u.cluster.users)) * int64(time.Millisecond)))):
		}
		u.publish()
		to := u.cluster.users[rand.IntN(len(u.cluster.users))]
		u.send(to)
		u.ask("req", to)
	}
}

// publish publishes the next number to the room.
func (u *user) publish() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.joined {
		u.seq++
		fmt.Fprintf(u.conn, "pub %s %s-%d %d\n", u.room, u.key, u.life, u.seq)
	}
}

// send sends a message to another user, and notes the outcome. It reports whether the error was nil.
func (u *user) send(to *user) bool {
	c := u.cluster
	s := &sent{to: to, start: time.Now()}
	id, result := u.ask("send", to)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.outcome = result
	c.sends[id] = s
	return result == "ok"
}

// ask makes a Send or a Request, and waits for the outcome.
func (u *user) ask(what string, to *user) (id, result string) {
	id = fmt.Sprint(u.cluster.lastID.Add(1))
	u.mu.Lock()
	if !u.joined {
		u.mu.Unlock()
		return id, "not joined"
	}
	u.pending = id
	fmt.Fprintf(u.conn, "%s %s %s\n", what, id, to.key)
	u.mu.Unlock()
	select {
	case result = <-u.result:
	case <-time.After(testutil.Patience):
		u.cluster.t.Errorf("%s: %s %s to %s has no outcome", u.key, what, id, to.key)
	case <-u.cluster.end:
	}
	return id, result
}

// finish checks that everything works again, and that no Send was lost.
func (c *cluster) finish() {
	c.t.Helper()
	close(c.stop)
	for i, u := range c.users {
		other := c.users[(i+1)%len(c.users)]
		testutil.Eventually(c.t, u.key+" does not reach "+other.key, func() bool {
			u.awaitIdle()
			return u.send(other)
		})
	}
	for i := 0; i < len(c.users); i += perRoom {
		c.checkRoom(c.users[i : i+perRoom])
	}
	c.checkSends()
}

// awaitIdle waits until the user waits for nothing.
func (u *user) awaitIdle() {
	testutil.Soon(testutil.Patience, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.pending == "" && u.joined
	})
}

// checkRoom publishes until everybody in the room has heard it.
func (c *cluster) checkRoom(users []*user) {
	c.t.Helper()
	testutil.Eventually(c.t, "not everybody hears in "+users[0].room, func() bool {
		users[0].mu.Lock()
		if users[0].conn != nil {
			fmt.Fprintf(users[0].conn, "pub %s %s final\n", users[0].room, users[0].key)
		}
		users[0].mu.Unlock()
		return testutil.Soon(100*time.Millisecond, func() bool {
			for _, u := range users {
				u.mu.Lock()
				heard := u.texts["final"]
				u.mu.Unlock()
				if !heard {
					return false
				}
			}
			return true
		})
	})
}

// checkSends checks that each message arrived if Send has returned nil, unless the connection of the
// receiver has ended about that time.
func (c *cluster) checkSends() {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok, outcomes := 0, make(map[string]int)
	for id, s := range c.sends {
		outcomes[s.outcome]++
		if s.outcome != "ok" {
			continue
		}
		ok++
		arrived := testutil.Soon(5*time.Second, func() bool {
			s.to.mu.Lock()
			defer s.to.mu.Unlock()
			return s.to.got[id] == 1 || s.to.ended.After(s.start.Add(-2*time.Second))
		})
		if !arrived {
			c.t.Errorf("the message of Send %s to %s has not arrived", id, s.to.key)
		}
	}
	c.t.Logf("outcomes of Send: %v", outcomes)
	if ok < len(c.users) {
		c.t.Error("too few messages")
	}
}
