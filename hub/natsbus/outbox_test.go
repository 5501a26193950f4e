package natsbus

import (
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"wireline/internal/testutil"
)

// What the outbox has taken, and not sent, counts as pending.
func TestOutboxLimit(t *testing.T) {
	o := newOutbox(newNodeID(), 100)
	reached, hold := make(chan bool), make(chan bool)
	o.do(func(*nats.Conn) {
		close(reached)
		<-hold
	})
	message := post{subject: "s", data: make([]byte, 59)}
	if !o.put(message) {
		t.Fatal("the first message has no room")
	}
	var done sync.WaitGroup
	done.Go(func() { o.run(nil, func(post, error) {}) }) // without a connection each message fails
	testutil.Await(t, "the outbox does nothing", reached)
	if o.put(message) {
		t.Error("there is room for another message while the first one waits")
	}
	close(hold)
	testutil.Eventually(t, "there is no room afterwards", func() bool { return o.put(message) })
	o.close()
	done.Wait()
	if n := o.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are pending at the end", n)
	}
}
