//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// options are the choices of the command line.
type options struct {
	servers  []server
	loads    []load
	rounds   int
	tries    int           // of a measurement while other processes use the machine
	duration time.Duration // of each measurement
	warmup   time.Duration // before each measurement
	sleep    time.Duration // of the line in the load "stalled"
	idle     int           // clients of the memory measurement
	tlsIdle  int           // the same over TLS
	pairs    int           // of a proxy, in the memory measurement
	rooms    int           // of five members, in the memory measurement
	kvSource string        // the example that redis-benchmark measures
	json     string        // where the results go
	before   string        // the bench program of an earlier version, to compare with

	tlsIdleFrame bool // measures the memory a second time, after a frame
}

// parse parses the command line. If it returns an error, it has printed it.
func parse(args []string, usage io.Writer) (options, error) {
	o := options{servers: servers, loads: loads}
	limit, err := fileLimit()
	if err != nil {
		fmt.Fprintln(usage, "bench:", err)
		return o, err
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(usage)
	f.IntVar(&o.rounds, "rounds", 5, "measurements of each server under each load")
	f.IntVar(&o.tries, "tries", 3, "most tries of a measurement while other programs use its cores")
	f.DurationVar(&o.duration, "duration", time.Second, "length of a measurement")
	f.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "load before each measurement")
	f.DurationVar(&o.sleep, "sleep", 10*time.Second, "how long the line sleeps in the load stalled")
	f.IntVar(&o.idle, "idle", min(15_000, limit-otherFiles), "idle clients for the memory figure, 0 = leave it out, as -loads does")
	f.IntVar(&o.tlsIdle, "tls-idle", min(15_000, limit-otherFiles), "idle clients over TLS for the memory figure, 0 = leave it out, as -loads does")
	f.BoolVar(&o.tlsIdleFrame, "tls-idle-frame", false, "measure the memory of idle clients over TLS also after one frame of 16 KiB instead of a line")
	f.IntVar(&o.pairs, "pairs", min(2000, (limit-otherFiles)/filesPerPair), "idle pairs of a proxy for the memory figure, 0 = leave it out, as -loads does")
	f.IntVar(&o.rooms, "rooms", 100_000, "rooms of five members for the memory figure, 0 = leave it out, as -loads does")
	f.StringVar(&o.kvSource, "kv", "../examples/kv", "folder of the example that redis-benchmark measures, empty = leave it out, as -loads does")
	f.StringVar(&o.json, "json", "results.json", "file for the results")
	f.StringVar(&o.before, "before", "", "bench program of an earlier version, whose servers of the framework are measured beside those of this one")
	chooseVar(f, &o.servers, "servers", func(s server) string { return s.name })
	chooseVar(f, &o.loads, "loads", func(l load) string { return l.name })
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.leaveOut(f)
	if o.before != "" {
		o.servers = withBefore(o.servers, o.before)
	}
	if err := o.check(f.Args()); err != nil {
		fmt.Fprintln(usage, "bench:", err)
		return o, err
	}
	return o, nil
}

// leaveOut drops the parts that were not asked for: with -loads, only these run, and the parts
// whose flags are set.
func (o *options) leaveOut(f *flag.FlagSet) {
	given := make(map[string]bool)
	f.Visit(func(one *flag.Flag) { given[one.Name] = true })
	if given["loads"] && !given["idle"] {
		o.idle = 0
	}
	if given["loads"] && !given["tls-idle"] {
		o.tlsIdle = 0
	}
	if given["loads"] && !given["pairs"] {
		o.pairs = 0
	}
	if given["loads"] && !given["rooms"] {
		o.rooms = 0
	}
	if given["loads"] && !given["kv"] {
		o.kvSource = ""
	}
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.rounds < 1 || o.tries < 1:
		return errors.New("-rounds and -tries must be at least 1")
	case o.duration <= 0 || o.sleep <= 0 || o.warmup < 0:
		return errors.New("-duration and -sleep must be positive, -warmup must not be negative")
	case o.idle < 0 || o.tlsIdle < 0 || o.pairs < 0 || o.rooms < 0:
		return errors.New("-idle, -tls-idle, -pairs and -rooms must not be negative")
	}
	return nil
}

// chooseVar adds a flag that selects some of *all by a comma-separated list. The order of *all
// stays. An empty list selects none.
func chooseVar[T any](f *flag.FlagSet, all *[]T, flagName string, name func(T) string) {
	every := slices.Clone(*all)
	names := make([]string, len(every))
	for i, v := range every {
		names[i] = name(v)
	}
	f.Func(flagName, "comma-separated, of "+strings.Join(names, ","), func(text string) error {
		chosen := strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		for _, c := range chosen {
			if !slices.Contains(names, c) {
				return fmt.Errorf("%q is none of %s", c, strings.Join(names, ", "))
			}
		}
		*all = nil
		for i, v := range every {
			if slices.Contains(chosen, names[i]) {
				*all = append(*all, v)
			}
		}
		return nil
	})
}
