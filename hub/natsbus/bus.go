package natsbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"wireline/hub"
)

// ErrBusy is returned when MaxPending bytes wait to be sent, or when the other process serves as
// many requests as it can. It wraps hub.ErrAway. The message has not been sent, or not been served.
var ErrBusy = fmt.Errorf("natsbus: too much is waiting: %w", hub.ErrAway)

// errNobody is what the server answers if nobody has subscribed to a subject.
var errNobody = errors.New("natsbus: no responders")

// errCut is the error of calls whose answers may be lost.
var errCut = fmt.Errorf("natsbus: the connection to the server has ended: %w", hub.ErrLost)

// The values that hold if fields of a Bus are zero.
const (
	defaultPrefix     = "wireline"
	defaultTimeout    = 2 * time.Second
	defaultHeartbeat  = time.Second
	defaultMaxPending = 64 << 20
	defaultLease      = 10 * time.Second
)

// Bus is a hub.Bus on NATS. Set its fields before the hub starts it. The zero value connects to
// nats.DefaultURL, without JetStream. A Bus is for one hub, and cannot be used again after Close.
type Bus struct {
	// URL is the address of the NATS server, or several with commas between them. Empty means
	// nats.DefaultURL. Options may name another server.
	URL string

	// Options are those of nats.Connect, such as credentials and TLS; OptionsOf has those of a
	// connection that the program has already. The connection is the bus's own, and ends with
	// Close. The bus sets some options by itself that its promises need: it reconnects for ever,
	// sends nothing late that was meant for another time, and gets no echo of what it sends. The
	// functions that are set here are called as usual, after those of the bus. They must not wait,
	// nor close the connection.
	Options []nats.Option

	// Prefix is the first part of all subjects. Hubs with the same prefix are one hub. Empty means
	// "wireline". It has letters, digits, '-', '_' and single dots. The user at the NATS server
	// needs the rights to publish and subscribe to Prefix.>, and with JetStream to $JS.API.>,
	// $KV.Bucket.> and _INBOX.>.
	Prefix string

	// Timeout is how long another process may take to answer. Zero means 2 s.
	Timeout time.Duration

	// Heartbeat is how often processes tell each other that they are there; one that has not been
	// heard four times has gone. Zero means 1 s. All processes need the same.
	Heartbeat time.Duration

	// MaxPending is how many bytes of messages may wait to be sent, and how many that have arrived
	// may wait to be delivered to clients. Beyond that, Publish and Send fail, and messages that
	// arrive are dropped. Zero means 64 MiB.
	MaxPending int64

	// JetStream makes keys the property of one process at a time. Nil means core NATS alone.
	JetStream *JetStream

	// OnDrop is called about once in a Heartbeat while messages are dropped, with the number since the
	// last call: of messages of other processes for which this one was too slow, and of messages
	// that could not be sent any more. Calls do not overlap. Close waits
	// for the last one, so OnDrop must not call it.
	OnDrop func(n int64)

	// Log is told when the connection ends or comes back, and of dropped messages. Nil means
	// slog.Default().
	Log *slog.Logger

	names      subjects
	answers    string // the subjects of answers start with it
	id         nodeID
	local      hub.Local
	ctx        context.Context // ends with Close
	stop       context.CancelFunc
	nc         *nats.Conn
	outbox     *outbox
	link       link
	calls      calls
	claims     claims
	nodes      nodes
	age        atomic.Uint32 // in ticks
	serving    serving
	rooms      rooms
	keyBox     chan *nats.Msg // all that arrives, but for the messages of rooms
	owner      *ownership     // nil without JetStream
	drops      drops
	maxPayload atomic.Int64
	out, in    atomic.Int64

	started atomic.Bool // Start has succeeded, but for its wait
	closing sync.Once
	loops   sync.WaitGroup // goroutines that Close ends
	sender  sync.WaitGroup // that of the outbox
}

var _ hub.Bus = (*Bus)(nil)

// Start implements hub.Bus. It waits for the server for Timeout, and goes on without it.
func (b *Bus) Start(local hub.Local) error {
	if b.ctx != nil {
		return errors.New("natsbus: the bus has been started")
	}
	if err := b.prepare(local); err != nil {
		return err
	}
	nc, err := b.connect()
	if err != nil {
		b.stop()
		return err
	}
	b.nc = nc
	if err := b.subscribe(); err != nil {
		b.stop()
		nc.Close()
		return err
	}
	b.sender.Go(func() { b.outbox.run(nc, b.unsent) })
	b.loops.Go(b.dispatch)
	b.loops.Go(b.runChecks)
	b.rooms.start(b)
	if b.owner != nil {
		b.owner.start()
	}
	b.loops.Go(b.tick)
	b.loops.Go(b.runReports)
	b.started.Store(true)
	b.link.await(b.timeout(), b.owner)
	if !b.link.hasConnected() {
		b.loops.Go(b.warnIfAway)
	}
	return nil
}

// prepare sets everything that needs no server.
func (b *Bus) prepare(local hub.Local) error {
	b.names.prefix = cmp.Or(b.Prefix, defaultPrefix)
	if !IsPrefix(b.names.prefix) {
		return fmt.Errorf("natsbus: Prefix %q has other characters than letters, digits, '-', '_' and single dots", b.names.prefix)
	}
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.id, b.local = newNodeID(), guarded{local, b}
	b.answers = b.names.answers(b.id)
	b.outbox = newOutbox(b.id, b.pendingLimit())
	b.keyBox = make(chan *nats.Msg, channelSize)
	b.maxPayload.Store(1 << 20)
	b.link.init(b)
	b.claims.doubt = make(chan struct{}, 1)
	b.rooms.init(b.pendingLimit(), min(runtime.GOMAXPROCS(0), 8))
	if b.JetStream != nil {
		b.owner = newOwnership(b)
	}
	return nil
}

// Stats implements hub.Bus.
func (b *Bus) Stats() hub.BusStats {
	if !b.started.Load() {
		return hub.BusStats{}
	}
	s := hub.BusStats{
		Nodes:   b.nodes.count() + 1,
		Out:     b.out.Load(),
		In:      b.in.Load(),
		Dropped: b.drops.total(),
	}
	b.link.stats(&s)
	b.claims.stats(&s)
	return s
}

// Close implements hub.Bus. It waits for up to Timeout until the server has what was sent before.
func (b *Bus) Close() error {
	if b.started.Load() {
		b.closing.Do(b.close)
	}
	return nil
}

func (b *Bus) close() {
	b.claims.close()
	if b.owner != nil {
		b.owner.close()
	}
	b.stop()
	b.serving.close()
	b.outbox.put(post{subject: b.names.all(), data: append([]byte{byte(kindBye)}, b.id[:]...)})
	b.link.up.Store(false)
	b.calls.fail(hub.ErrClosed, true)
	b.outbox.close()
	b.sender.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout())
	defer cancel()
	if b.nc.IsConnected() {
		b.nc.FlushWithContext(ctx) // if it fails, nobody needs to know: the bus ends
	}
	b.nc.Close()
	b.loops.Wait()
}

func (b *Bus) timeout() time.Duration   { return positive(b.Timeout, defaultTimeout) }
func (b *Bus) heartbeat() time.Duration { return positive(b.Heartbeat, defaultHeartbeat) }
func (b *Bus) pendingLimit() int64      { return positive(b.MaxPending, defaultMaxPending) }

// positive returns a value that is set, or else the default.
func positive[T int64 | time.Duration](set, otherwise T) T {
	if set > 0 {
		return set
	}
	return otherwise
}

func (b *Bus) log() *slog.Logger {
	if b.Log != nil {
		return b.Log
	}
	return slog.Default()
}
