package main

import (
	"fmt"
	"testing"
)

// array encodes a command as clients send it.
func array(args ...string) []byte {
	b := appendArray(nil, len(args))
	for _, arg := range args {
		b = appendBulk(b, arg)
	}
	return b
}

// newSession returns a session without a connection.
func newSession(tb testing.TB) *session {
	s := newServer(Codec{})
	tb.Cleanup(s.close)
	return &session{server: s, store: s.store}
}

// do splits, parses and executes one command, but does not write the reply.
func (x *session) do(tb testing.TB, in []byte) {
	frame, n, err := x.server.codec.Split(in, 0, false)
	if n != len(in) || err != nil {
		tb.Fatalf("split took %d bytes of %q, %v", n, in, err)
	}
	if err := x.serve(frame); err != nil {
		tb.Fatal(err)
	}
	x.reset()
}

func benchmarkCommands(b *testing.B, commands [][]byte) {
	x := newSession(b)
	x.do(b, array("MSET", "key:000000000001", "abc", "counter", "1"))
	for i := range 10000 {
		x.do(b, array("SET", fmt.Sprintf("key:%012d", i), "xxx"))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.do(b, commands[i%len(commands)])
	}
}

// manyKeys returns a command on many keys, as redis-benchmark -r sends them.
func manyKeys(args ...string) (commands [][]byte) {
	for i := range 10000 {
		args[1] = fmt.Sprintf("key:%012d", i*7919%10000)
		commands = append(commands, array(args...))
	}
	return commands
}

func BenchmarkCommand(b *testing.B) {
	for _, bench := range []struct {
		name     string
		commands [][]byte
	}{
		{"PING inline", [][]byte{[]byte("PING\r\n")}},
		{"PING", [][]byte{array("PING")}},
		{"GET", [][]byte{array("GET", "key:000000000001")}},
		{"GET of 10000", manyKeys("GET", "")},
		{"SET", [][]byte{array("SET", "key:000000000001", "xxx")}},
		{"SET of 10000", manyKeys("SET", "", "xxx")},
		{"SET EX", [][]byte{array("SET", "key:000000000001", "xxx", "EX", "100")}},
		{"INCR", [][]byte{array("INCR", "counter")}},
	} {
		b.Run(bench.name, func(b *testing.B) { benchmarkCommands(b, bench.commands) })
	}
}

// The walk over an array that is not complete yet, which each read repeats.
func BenchmarkSplitPartOfLargeArray(b *testing.B) {
	const args = 100000
	buf := appendArray(nil, args)
	for range args - 1 {
		buf = appendBulk(buf, "x")
	}
	for b.Loop() {
		if _, n, err := (Codec{}).Split(buf, len(buf)-1, false); n != 0 || err != nil {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/args, "ns/arg")
}
