package main

import "math"

var keyCommands = []command{
	{name: "del", arity: -2, run: del, group: "generic", since: "1.0.0", flags: write, keys: allKeys,
		summary: "Delete keys"},
	{name: "unlink", arity: -2, run: del, group: "generic", since: "4.0.0", flags: write, keys: allKeys,
		summary: "Delete keys"},
	{name: "exists", arity: -2, run: exists, group: "generic", since: "1.0.0", flags: read, keys: allKeys,
		summary: "Count the keys that exist"},
	{name: "type", arity: 2, run: typeOf, group: "generic", since: "1.0.0", flags: read, keys: oneKey,
		summary: "Get the type of a value"},
	{name: "expire", arity: -3, run: expire, group: "generic", since: "1.0.0", flags: write, keys: oneKey,
		summary: "Set for how many seconds a key stays"},
	{name: "pexpire", arity: -3, run: pExpire, group: "generic", since: "2.6.0", flags: write, keys: oneKey,
		summary: "Set for how many milliseconds a key stays"},
	{name: "expireat", arity: -3, run: expireAt, group: "generic", since: "1.2.0", flags: write, keys: oneKey,
		summary: "Set until when a key stays, in seconds since 1970"},
	{name: "pexpireat", arity: -3, run: pExpireAt, group: "generic", since: "2.6.0", flags: write, keys: oneKey,
		summary: "Set until when a key stays, in milliseconds since 1970"},
	{name: "persist", arity: 2, run: persist, group: "generic", since: "2.2.0", flags: write, keys: oneKey,
		summary: "Let a key stay for ever"},
	{name: "ttl", arity: 2, run: ttl, group: "generic", since: "1.0.0", flags: read, keys: oneKey,
		summary: "Get for how many seconds a key stays"},
	{name: "pttl", arity: 2, run: pTTL, group: "generic", since: "2.6.0", flags: read, keys: oneKey,
		summary: "Get for how many milliseconds a key stays"},
}

func del(x *session, args [][]byte) error {
	x.out = appendInt(x.out, x.countKeys(args[1:], (*shard).remove))
	return nil
}

func exists(x *session, args [][]byte) error {
	x.out = appendInt(x.out, x.countKeys(args[1:], func(*shard, *entry) {}))
	return nil
}

// countKeys counts the keys that exist, and calls f for each while its shard is locked.
func (x *session) countKeys(keys [][]byte, f func(*shard, *entry)) (n int64) {
	for _, key := range keys {
		sh := x.store.lock(key)
		if e := sh.find(key); e != nil {
			f(sh, e)
			n++
		}
		sh.mu.Unlock()
	}
	return n
}

func typeOf(x *session, args [][]byte) error {
	sh := x.store.lock(args[1])
	defer sh.mu.Unlock()
	kind := "none"
	if sh.find(args[1]) != nil {
		kind = "string"
	}
	x.out = appendStatus(x.out, kind)
	return nil
}

// unit is the unit of a time in a command: seconds or milliseconds, from now or since 1970.
// Its names are those of SET's options.
type unit int

const (
	noUnit unit = iota
	unitEX
	unitPX
	unitEXAT
	unitPXAT
)

func unitOf(option []byte) unit {
	switch {
	case equalFold(option, "ex"):
		return unitEX
	case equalFold(option, "px"):
		return unitPX
	case equalFold(option, "exat"):
		return unitEXAT
	case equalFold(option, "pxat"):
		return unitPXAT
	}
	return noUnit
}

// due returns the time v in milliseconds since 1970. It reports false if that exceeds 64 bits.
func (u unit) due(v int64, now func() int64) (due int64, ok bool) {
	if u == unitEX || u == unitEXAT {
		if v > math.MaxInt64/1000 || v < math.MinInt64/1000 {
			return 0, false
		}
		v *= 1000
	}
	if u == unitEX || u == unitPX {
		base := now()
		if v > math.MaxInt64-base {
			return 0, false
		}
		v += base
	}
	return v, true
}

func (x *session) invalidExpire(command string) {
	x.fail("invalid expire time in '%s' command", command)
}

func expire(x *session, args [][]byte) error    { return x.expire("expire", unitEX, args) }
func pExpire(x *session, args [][]byte) error   { return x.expire("pexpire", unitPX, args) }
func expireAt(x *session, args [][]byte) error  { return x.expire("expireat", unitEXAT, args) }
func pExpireAt(x *session, args [][]byte) error { return x.expire("pexpireat", unitPXAT, args) }

// condition is what must hold for a key before it gets a new expiry time.
type condition struct{ nx, xx, gt, lt bool }

func (x *session) expire(command string, u unit, args [][]byte) error {
	var only condition
	if !only.parse(x, args[3:]) {
		return nil
	}
	v, ok := x.number(args[2])
	if !ok {
		return nil
	}
	due, ok := u.due(v, x.store.now)
	if !ok {
		x.invalidExpire(command)
		return nil
	}
	sh := x.store.lock(args[1])
	defer sh.mu.Unlock()
	e := sh.find(args[1])
	done := e != nil && only.holds(e, due)
	if done {
		x.setExpire(sh, e, due)
	}
	x.out = appendBool(x.out, done)
	return nil
}

// setExpire sets when e expires, which may be in the past.
func (x *session) setExpire(sh *shard, e *entry, due int64) {
	if due <= x.store.now() {
		sh.remove(e)
	} else {
		sh.expire(e, due)
	}
}

// parse parses the options. It replies with an error, and reports false, if they are invalid
// or exclude each other.
func (c *condition) parse(x *session, options [][]byte) bool {
	for _, option := range options {
		switch {
		case equalFold(option, "nx"):
			c.nx = true
		case equalFold(option, "xx"):
			c.xx = true
		case equalFold(option, "gt"):
			c.gt = true
		case equalFold(option, "lt"):
			c.lt = true
		default:
			x.fail("Unsupported option %s", cString(option))
			return false
		}
	}
	switch {
	case c.nx && (c.xx || c.gt || c.lt):
		x.fail("NX and XX, GT or LT options at the same time are not compatible")
	case c.gt && c.lt:
		x.fail("GT and LT options at the same time are not compatible")
	default:
		return true
	}
	return false
}

// holds reports whether e may get the new expiry time. No expiry time counts as later than
// all.
func (c *condition) holds(e *entry, due int64) bool {
	switch {
	case c.nx && e.due != 0, c.xx && e.due == 0:
		return false
	case c.gt && (e.due == 0 || due <= e.due):
		return false
	case c.lt && e.due != 0 && due >= e.due:
		return false
	}
	return true
}

func persist(x *session, args [][]byte) error {
	sh := x.store.lock(args[1])
	defer sh.mu.Unlock()
	e := sh.find(args[1])
	done := e != nil && e.due != 0
	if done {
		sh.persist(e)
	}
	x.out = appendBool(x.out, done)
	return nil
}

func ttl(x *session, args [][]byte) error {
	left := x.left(args[1])
	if left >= 0 {
		left = (left + 500) / 1000
	}
	x.out = appendInt(x.out, left)
	return nil
}

func pTTL(x *session, args [][]byte) error {
	x.out = appendInt(x.out, x.left(args[1]))
	return nil
}

// left returns the remaining time of a key in milliseconds: -1 if it does not expire, -2 if it
// does not exist.
func (x *session) left(key []byte) int64 {
	sh := x.store.lock(key)
	defer sh.mu.Unlock()
	e := sh.find(key)
	switch {
	case e == nil:
		return -2
	case e.due == 0:
		return -1
	}
	return max(e.due-x.store.now(), 0)
}
