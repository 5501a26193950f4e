package natsbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wireline/hub"
)

// errConflict is returned for a write to an entry that is not as it was when it was read.
var errConflict = errors.New("natsbus: the entry has changed")

// markerTTL is for how long the bucket remembers that an entry was removed.
const markerTTL = time.Minute

// entry says who owns a key. Without an owner, there is none in the bucket.
type entry struct {
	owner
	revision uint64
	marked   bool // by a process that has not found the owner
}

// decodeEntry returns the entry in a value. What follows the owner is a mark.
func decodeEntry(value []byte, revision uint64) entry {
	o := decodeOwner(value)
	return entry{o, revision, len(value) > len(o.encode())}
}

// bucket holds the owners of keys and the leases of nodes. Both are in one bucket, whose leader
// serves all reads: who sees the entry of a node also sees that its lease is there.
type bucket struct {
	bus  *Bus
	name string
	open atomic.Pointer[opened] // nil until it has been found
}

// opened is a bucket that was there.
type opened struct {
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	stream jetstream.Stream // of kv
}

func (k *bucket) init(b *Bus) {
	k.bus = b
	k.name = cmp.Or(b.JetStream.Bucket, strings.ReplaceAll(b.names.prefix, ".", "_"))
}

// ensure opens the bucket, and makes it if there is none.
func (k *bucket) ensure(ctx context.Context) error {
	if k.open.Load() != nil {
		return nil
	}
	js, err := jetstream.New(k.bus.nc)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, k.name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if _, err = js.CreateStream(ctx, k.config()); err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			kv, err = js.KeyValue(ctx, k.name)
		}
	}
	if err != nil {
		return k.explain(ctx, err)
	}
	stream, err := js.Stream(ctx, "KV_"+k.name)
	if err != nil {
		return k.explain(ctx, err)
	}
	k.open.Store(&opened{js, kv, stream})
	return nil
}

// config is that of a key-value bucket, but for AllowDirect: any replica may answer a direct read,
// also one that lags behind.
func (k *bucket) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                   "KV_" + k.name,
		Description:            "owners of the keys of wireline's hub",
		Subjects:               []string{"$KV." + k.name + ".>"},
		MaxMsgsPerSubject:      1,
		Discard:                jetstream.DiscardNew,
		Replicas:               max(k.bus.JetStream.Replicas, 1),
		AllowRollup:            true,
		DenyDelete:             true,
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: markerTTL,
	}
}

// opened returns the bucket, if it has been found and the server is there.
func (k *bucket) opened() (*opened, error) {
	open := k.open.Load()
	if open == nil || !k.bus.link.up.Load() {
		return nil, k.bus.whyDown()
	}
	return open, nil
}

// explain turns what JetStream says into an error of the bus.
func (k *bucket) explain(ctx context.Context, err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return errConflict
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrMsgNotFound):
		return errNoEntry
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &api):
		return fmt.Errorf("%w: %w", hub.ErrAway, err) // it has no leader, or no room
	}
	return fmt.Errorf("%w: JetStream: %w", hub.ErrAway, err)
}

// within bounds the wait for JetStream.
func (k *bucket) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, k.bus.timeout(), hub.ErrAway)
}

// get returns the entry of a key. The error is errNoEntry if there is none.
func (k *bucket) get(ctx context.Context, key string) (entry, error) {
	open, err := k.opened()
	if err != nil {
		return entry{}, err
	}
	ctx, cancel := k.within(ctx)
	defer cancel()
	e, err := open.kv.Get(ctx, keyEntry(key))
	if err != nil {
		return entry{}, k.explain(ctx, err)
	}
	return decodeEntry(e.Value(), e.Revision()), nil
}

// from returns the first entry of a key with the revision or a later one. One that was removed has
// no owner.
func (k *bucket) from(ctx context.Context, revision uint64) (key string, e entry, err error) {
	open, err := k.opened()
	if err != nil {
		return "", entry{}, err
	}
	ctx, cancel := k.within(ctx)
	defer cancel()
	prefix := "$KV." + k.name + "."
	m, err := open.stream.GetMsg(ctx, max(revision, 1), jetstream.WithGetMsgSubject(prefix+keyEntry("")+">"))
	if err != nil {
		return "", entry{}, k.explain(ctx, err)
	}
	key, _ = unescape(strings.TrimPrefix(m.Subject, prefix+keyEntry("")))
	return key, decodeEntry(m.Data, m.Sequence), nil
}

// mark marks an entry if it has not changed.
func (k *bucket) mark(ctx context.Context, key string, e entry) error {
	open, err := k.opened()
	if err != nil {
		return err
	}
	ctx, cancel := k.within(ctx)
	defer cancel()
	if _, err := open.kv.Update(ctx, keyEntry(key), append(e.encode(), 1), e.revision); err != nil {
		return k.explain(ctx, err)
	}
	return nil
}

// put writes the owner of a key if the entry has the revision, which is zero if there is none. It
// returns the new one.
func (k *bucket) put(ctx context.Context, key string, o owner, revision uint64) (uint64, error) {
	open, err := k.opened()
	if err != nil {
		return 0, err
	}
	ctx, cancel := k.within(ctx)
	defer cancel()
	if revision == 0 {
		revision, err = open.kv.Create(ctx, keyEntry(key), o.encode())
	} else {
		revision, err = open.kv.Update(ctx, keyEntry(key), o.encode(), revision)
	}
	if err != nil {
		return 0, k.explain(ctx, err)
	}
	return revision, nil
}

// remove removes the entry of a key if it has the revision.
func (k *bucket) remove(ctx context.Context, key string, revision uint64) error {
	open, err := k.opened()
	if err != nil {
		return err
	}
	ctx, cancel := k.within(ctx)
	defer cancel()
	err = open.kv.Purge(ctx, keyEntry(key), jetstream.LastRevision(revision), jetstream.PurgeTTL(markerTTL))
	if err != nil {
		return k.explain(ctx, err)
	}
	return nil
}

// lease writes the lease of this node. It is there for ttl.
func (k *bucket) lease(ctx context.Context, ttl time.Duration) error {
	open, err := k.opened()
	if err != nil {
		return err
	}
	subject := "$KV." + k.name + "." + leaseEntry(k.bus.id)
	if _, err := open.js.Publish(ctx, subject, nil, jetstream.WithMsgTTL(ttl)); err != nil {
		return k.explain(ctx, err)
	}
	return nil
}

// endLease removes the lease of this node.
func (k *bucket) endLease(ctx context.Context) error {
	open, err := k.opened()
	if err != nil {
		return err
	}
	return open.kv.Purge(ctx, leaseEntry(k.bus.id), jetstream.PurgeTTL(markerTTL))
}

// hasLease reports whether a node has a lease.
func (k *bucket) hasLease(ctx context.Context, id nodeID) (bool, error) {
	open, err := k.opened()
	if err != nil {
		return false, err
	}
	ctx, cancel := k.within(ctx)
	defer cancel()
	_, err = open.kv.Get(ctx, leaseEntry(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, k.explain(ctx, err)
	}
	return true, nil
}

func keyEntry(key string) string    { return "key." + escape(key) }
func leaseEntry(node nodeID) string { return "lease." + node.String() }
