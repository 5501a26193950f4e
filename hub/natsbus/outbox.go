package natsbus

import (
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// post is something that the outbox does with the connection: it sends a message, or calls do.
type post struct {
	subject, reply string
	data           []byte
	isRoom         bool // a message of a room: it gets an origin in the place of a reply
	do             func(*nats.Conn)
}

func (p *post) size() int64 { return int64(len(p.data) + len(p.subject) + len(p.reply)) }

func (o *outbox) execute(nc *nats.Conn, p post) error {
	if p.isRoom {
		p.reply = o.origin.next()
	}
	switch {
	case p.do != nil:
		p.do(nc)
		return nil
	case p.reply != "":
		return nc.PublishRequest(p.subject, p.reply, p.data)
	}
	return nc.Publish(p.subject, p.data)
}

// outbox is where everything goes that leaves the process. A call of nats.go may wait for the
// socket; those that serve clients must not. Its goroutine does what was put in, in order.
type outbox struct {
	limit  int64  // bytes of messages
	origin origin // of the messages of rooms; of run

	sent  atomic.Int64 // how many posts have left it
	bytes atomic.Int64 // of the posts that have not

	mu     sync.Mutex
	posts  []post
	closed bool
	wakeup chan struct{} // has room for one
}

func newOutbox(id nodeID, limit int64) *outbox {
	return &outbox{limit: limit, origin: origin{node: id.String()}, wakeup: make(chan struct{}, 1)}
}

// put reports whether there was room for the message. It keeps data.
func (o *outbox) put(p post) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || p.do == nil && o.bytes.Load()+p.size() > o.limit {
		return false
	}
	o.bytes.Add(p.size())
	o.posts = append(o.posts, p)
	select {
	case o.wakeup <- struct{}{}:
	default:
	}
	return true
}

// do has f called, after what was put in before. There is always room for it.
func (o *outbox) do(f func(*nats.Conn)) { o.put(post{do: f}) }

// close lets run return when it has done everything.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.wakeup)
	}
}

// take returns everything that was put in, and takes spare for the next.
func (o *outbox) take(spare []post) []post {
	o.mu.Lock()
	defer o.mu.Unlock()
	posts := o.posts
	o.posts = spare
	return posts
}

// run does what is put in, until close is called. failed is told of each message that could not be
// sent.
func (o *outbox) run(nc *nats.Conn, failed func(post, error)) {
	var posts []post
	for open := true; open; {
		_, open = <-o.wakeup
		clear(posts)
		posts = o.take(posts[:0])
		for _, p := range posts {
			if err := o.execute(nc, p); err != nil {
				failed(p, err)
			}
			o.bytes.Add(-p.size())
			o.sent.Add(1)
		}
	}
}
