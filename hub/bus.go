package hub

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrAway is returned when the bus cannot reach the other processes now. Nothing waits for it:
	// the call fails at once, and works again when the bus is back.
	ErrAway = errors.New("hub: the bus is away")
	// ErrLost is returned by Send, Request and Kick when the process that has the client has not
	// answered in time, or has ended. The client may have received the message.
	ErrLost = errors.New("hub: the process of the client has not answered")
)

// Bus joins the hubs of several processes to one: each has a bus of its own, and they meet at a
// message broker. Package hub/natsbus, a module of its own, has one that uses NATS. All methods
// are safe for concurrent use. Errors of a broker that is not there wrap ErrAway and come at once.
// Methods that wait for the broker or another process bound the wait, also where ctx has no end.
//
// A bus carries what goes to other processes only. The hub delivers to its own clients by itself,
// also while the bus is away. It holds no lock when it calls the bus.
type Bus interface {
	// Start gives the bus the hub of this process. The hub calls it once, before all other
	// methods. It need not wait until the broker is there.
	Start(l Local) error

	// Claim makes this process the owner of a key, as second says: with RefuseSecond it fails
	// with ErrTaken if another process owns it; with KickFirst it takes the key from that
	// process; with AllowBoth it shares the key. When Claim returns, the messages for the key come
	// to this process. With AllowBoth, Claim does not need the broker: while it is away, Claim
	// returns without an error, and the messages come when it is back. After an error this process
	// owns nothing; the hub then reports the end of ctx by itself.
	//
	// lost is called, at most once and in a goroutine of the bus, when another process has taken
	// the key over. When it returns, this process has no client with the key. lost may be called
	// before Claim has returned, and while Release runs, but not after Release has returned. It
	// does not wait for anything, but may call Listen and its stop functions.
	//
	// The hub does not call Claim for a key before the last Claim for it has failed, its Release has
	// returned, or lost was called. lost may still be running then.
	Claim(ctx context.Context, key string, second Second, lost func()) (Claim, error)

	// Listen has the messages of a room come to this process, until stop is called. Neither waits
	// for the broker or for Local.Deliver, and while the broker is away they take effect when it is
	// back. The hub calls Listen once for a room, and stop has returned before it calls it again.
	Listen(room string) (stop func())

	// Publish sends payload to the clients in a room that other processes have. It does not wait
	// for them, and keeps neither of its arguments. The messages of one goroutine to one room
	// arrive in their order, each at most once.
	Publish(room string, payload []byte) error

	// Send sends payload to the client with the key in another process, and waits until that
	// process says that the connection has it queued. The error is that of Hub.Send there.
	Send(ctx context.Context, key string, payload []byte) error

	// Request is Hub.Request to a client in another process. It ends with ErrLost when that
	// process ends.
	Request(ctx context.Context, key string, payload []byte) (answer []byte, err error)

	// Kick is Hub.Kick of a client in another process. It waits as Send does. If the key may be
	// shared, it waits for all processes, and fails if one of them does not answer.
	Kick(ctx context.Context, key, why string) error

	// Has reports whether another process has a client with the key.
	Has(ctx context.Context, key string) (bool, error)

	// Presence returns the keys of the clients in a room that other processes have. If one of
	// them does not answer in time, the keys of the others come with an error.
	Presence(ctx context.Context, room string) (keys []string, err error)

	// Stats returns what the bus has done, without waiting, also before Start and after Close. Totals
	// never go back.
	Stats() BusStats

	// Close gives up all claims, and ends the bus. Calls that wait end with ErrClosed, and so do
	// later ones; Release, Listen and stop do nothing then. When Close returns, the bus calls neither lost nor
	// a method of Local any more. Close may be called without Start.
	Close() error
}

// Claim is the ownership of a key.
type Claim interface {
	// Release gives the key up. The hub calls it once at most. It does not wait for the broker, does
	// nothing if the claim is lost, and never touches a later claim of the same key.
	Release()
}

// Local is the hub of this process as its Bus sees it. Its methods concern clients of this process
// alone. They keep no payload, and wait for no client, but for RequestLocal.
type Local interface {
	// Deliver sends a message of another process to the clients in a room. For one room, it is
	// called with one message after the other.
	Deliver(room string, payload []byte)

	// SendLocal is Send to a client of this process.
	SendLocal(key string, payload []byte) error

	// RequestLocal is Request to a client of this process.
	RequestLocal(ctx context.Context, key string, payload []byte) (answer []byte, err error)

	// KickLocal is Kick of a client of this process.
	KickLocal(key, why string) error

	// Present returns the keys of the clients in a room.
	Present(room string) (keys []string)
}

// BusStats says what a Bus has done since its start, and how it is.
type BusStats struct {
	Connected  bool          // the broker is there
	Since      time.Time     // of the last change of Connected
	Reconnects int64         // how often it has come back
	Nodes      int           // processes that are known to be there, with this one
	Out, In    int64         // messages to and from other processes
	Dropped    int64         // messages that this process has lost because it was too slow to take them
	RoundTrip  time.Duration // of the last answer of the broker; zero if there was none
	Claims     int           // keys that this process owns
	Lost       int64         // keys that other processes have taken over
}
