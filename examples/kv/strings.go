package main

import (
	"math"
	"strconv"
)

var stringCommands = []command{
	{name: "get", arity: 2, run: get, group: "string", since: "1.0.0", flags: read, keys: oneKey,
		summary: "Get the value of a key"},
	{name: "set", arity: -3, run: set, group: "string", since: "1.0.0", flags: write, keys: oneKey,
		summary: "Set the value of a key"},
	{name: "setnx", arity: 3, run: setNX, group: "string", since: "1.0.0", flags: write, keys: oneKey,
		summary: "Set the value of a key that does not exist"},
	{name: "setex", arity: 4, run: setEX, group: "string", since: "2.0.0", flags: write, keys: oneKey,
		summary: "Set the value of a key and its expiry time in seconds"},
	{name: "psetex", arity: 4, run: setPX, group: "string", since: "2.6.0", flags: write, keys: oneKey,
		summary: "Set the value of a key and its expiry time in milliseconds"},
	{name: "getset", arity: 3, run: getSet, group: "string", since: "1.0.0", flags: write, keys: oneKey,
		summary: "Set the value of a key and return the old one"},
	{name: "getdel", arity: 2, run: getDel, group: "string", since: "6.2.0", flags: write, keys: oneKey,
		summary: "Get the value of a key and delete it"},
	{name: "strlen", arity: 2, run: strLen, group: "string", since: "2.2.0", flags: read, keys: oneKey,
		summary: "Get the length of a value"},
	{name: "mget", arity: -2, run: mGet, group: "string", since: "1.0.0", flags: read, keys: allKeys,
		summary: "Get the values of several keys"},
	{name: "mset", arity: -3, run: mSet, group: "string", since: "1.0.1", flags: write, keys: keyValue,
		summary: "Set the values of several keys"},
	{name: "incr", arity: 2, run: incr, group: "string", since: "1.0.0", flags: write, keys: oneKey,
		summary: "Add one to the number of a key"},
	{name: "decr", arity: 2, run: decr, group: "string", since: "1.0.0", flags: write, keys: oneKey,
		summary: "Subtract one from the number of a key"},
	{name: "incrby", arity: 3, run: incrBy, group: "string", since: "1.0.0", flags: write, keys: oneKey,
		summary: "Add to the number of a key"},
	{name: "decrby", arity: 3, run: decrBy, group: "string", since: "1.0.0", flags: write, keys: oneKey,
		summary: "Subtract from the number of a key"},
}

func get(x *session, args [][]byte) error {
	x.out = x.store.appendValue(x.out, args[1])
	return nil
}

// setting is what the options of SET ask for.
type setting struct {
	command string // the command's name, for errors
	due     int64  // 0 means that it does not expire
	nx, xx  bool   // only if the key does not exist, or only if it does
	keepTTL bool
	get     bool // reply with the old value

	expire unit // the unit of the option with the time
	time   []byte
}

func set(x *session, args [][]byte) error {
	s := setting{command: "set"}
	if !s.parse(args[3:]) {
		x.syntaxError()
		return nil
	}
	x.set(args[1], args[2], &s)
	return nil
}

// parse parses the options. It reports false if they are invalid or exclude each other.
func (s *setting) parse(options [][]byte) bool {
	for i := 0; i < len(options); i++ {
		option := options[i]
		unit := unitOf(option)
		switch {
		case equalFold(option, "nx") && !s.xx:
			s.nx = true
		case equalFold(option, "xx") && !s.nx:
			s.xx = true
		case equalFold(option, "get"):
			s.get = true
		case equalFold(option, "keepttl") && s.expire == noUnit:
			s.keepTTL = true
		case unit != noUnit && !s.keepTTL && (s.expire == noUnit || s.expire == unit) && i+1 < len(options):
			i++
			s.expire, s.time = unit, options[i]
		default:
			return false
		}
	}
	return true
}

// set sets a key as s says, and replies.
func (x *session) set(key, value []byte, s *setting) {
	if s.expire != noUnit {
		var ok bool
		if s.due, ok = x.setDue(s); !ok {
			return
		}
	}
	sh := x.store.lock(key)
	defer sh.mu.Unlock()
	e := sh.find(key)
	if s.get {
		x.old(e)
	}
	if s.nx && e != nil || s.xx && e == nil {
		if !s.get {
			x.out = appendNull(x.out)
		}
		return
	}
	if e == nil {
		e = sh.add(key)
	}
	e.assign(value)
	switch {
	case s.due != 0:
		sh.expire(e, s.due)
	case !s.keepTTL:
		sh.persist(e)
	}
	if !s.get {
		x.out = append(x.out, "+OK\r\n"...)
	}
}

// setDue returns when the key expires. It replies with an error if the time is invalid.
func (x *session) setDue(s *setting) (due int64, ok bool) {
	v, ok := x.number(s.time)
	if !ok {
		return 0, false
	}
	if v > 0 {
		if due, ok = s.expire.due(v, x.store.now); ok {
			return due, true
		}
	}
	x.invalidExpire(s.command)
	return 0, false
}

// old appends the value of e, which may be nil.
func (x *session) old(e *entry) {
	if e == nil {
		x.out = appendNull(x.out)
	} else {
		x.out = appendBulk(x.out, e.value)
	}
}

func setNX(x *session, args [][]byte) error {
	sh := x.store.lock(args[1])
	defer sh.mu.Unlock()
	added := sh.find(args[1]) == nil
	if added {
		sh.add(args[1]).assign(args[2])
	}
	x.out = appendBool(x.out, added)
	return nil
}

func setEX(x *session, args [][]byte) error {
	x.set(args[1], args[3], &setting{command: "setex", expire: unitEX, time: args[2]})
	return nil
}

func setPX(x *session, args [][]byte) error {
	x.set(args[1], args[3], &setting{command: "psetex", expire: unitPX, time: args[2]})
	return nil
}

func getSet(x *session, args [][]byte) error {
	x.set(args[1], args[2], &setting{get: true})
	return nil
}

func getDel(x *session, args [][]byte) error {
	sh := x.store.lock(args[1])
	defer sh.mu.Unlock()
	e := sh.find(args[1])
	x.old(e)
	if e != nil {
		sh.remove(e)
	}
	return nil
}

func strLen(x *session, args [][]byte) error {
	sh := x.store.lock(args[1])
	defer sh.mu.Unlock()
	n := 0
	if e := sh.find(args[1]); e != nil {
		n = len(e.value)
	}
	x.out = appendInt(x.out, int64(n))
	return nil
}

func mGet(x *session, args [][]byte) error {
	x.out = appendArray(x.out, len(args)-1)
	for _, key := range args[1:] {
		x.out = x.store.appendValue(x.out, key)
		if err := x.flushLarge(); err != nil {
			return err
		}
	}
	return nil
}

func mSet(x *session, args [][]byte) error {
	if len(args)%2 == 0 {
		x.wrongArity("mset")
		return nil
	}
	for pairs := args[1:]; len(pairs) > 0; pairs = pairs[2:] {
		sh := x.store.lock(pairs[0])
		sh.persist(sh.set(pairs[0], pairs[1]))
		sh.mu.Unlock()
	}
	x.out = append(x.out, "+OK\r\n"...)
	return nil
}

func incr(x *session, args [][]byte) error {
	x.add(args[1], 1)
	return nil
}

func decr(x *session, args [][]byte) error {
	x.add(args[1], -1)
	return nil
}

func incrBy(x *session, args [][]byte) error {
	if n, ok := x.number(args[2]); ok {
		x.add(args[1], n)
	}
	return nil
}

func decrBy(x *session, args [][]byte) error {
	n, ok := x.number(args[2])
	switch {
	case !ok:
	case n == math.MinInt64:
		x.fail("decrement would overflow")
	default:
		x.add(args[1], -n)
	}
	return nil
}

// add adds n to the number of a key, and replies with the sum.
func (x *session) add(key []byte, n int64) {
	sh := x.store.lock(key)
	defer sh.mu.Unlock()
	e := sh.find(key)
	var old int64
	if e != nil {
		var ok bool
		if old, ok = x.number(e.value); !ok {
			return
		}
	}
	sum, ok := addInt(old, n)
	if !ok {
		x.fail("increment or decrement would overflow")
		return
	}
	if e == nil {
		e = sh.add(key)
		e.value = make([]byte, 0, intSpace)
	}
	var digits [intSpace]byte
	e.assign(strconv.AppendInt(digits[:0], sum, 10))
	x.out = appendInt(x.out, sum)
}
