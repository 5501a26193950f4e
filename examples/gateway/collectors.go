package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// How long a collector is waited for at the start, and between two tries later.
const (
	collectorTimeout  = time.Second
	firstRetry, retry = time.Second, time.Minute
)

// collectors are those that readings are sent to, by address. Devices that were there before a reload go
// on with the old one, so all of them stay until the program ends. One goroutine at a time may use them.
type collectors struct {
	log  *slog.Logger
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	all   map[string]*collector
	ctx   context.Context // ends with close
	stop  context.CancelFunc
	tries sync.WaitGroup
}

func newCollectors(log *slog.Logger) *collectors {
	c := &collectors{log: log, dial: new(net.Dialer).DialContext, all: make(map[string]*collector)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// get returns the collector with an address; nil if that is empty. If its name cannot be looked up, it is
// tried again in the background.
func (c *collectors) get(address string) *collector {
	if address == "" || c.all[address] != nil {
		return c.all[address]
	}
	one := new(collector)
	c.all[address] = one
	ctx, cancel := context.WithTimeout(c.ctx, collectorTimeout)
	defer cancel()
	if err := c.connect(ctx, one, address); err != nil {
		c.log.Warn("no collector; it is tried again", "address", address, "err", err)
		c.tries.Go(func() { c.tryAgain(one, address) })
	}
	return one
}

// connect is a try.
func (c *collectors) connect(ctx context.Context, one *collector, address string) error {
	conn, err := c.dial(ctx, "udp", address)
	if err == nil {
		one.conn.Store(&conn)
	}
	return err
}

// tryAgain tries until there is a collector, or the program ends.
func (c *collectors) tryAgain(one *collector, address string) {
	for wait := firstRetry; ; wait = min(2*wait, retry) {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(wait):
		}
		if c.connect(c.ctx, one, address) == nil {
			c.log.Info("collector", "address", address)
			return
		}
	}
}

func (c *collectors) close() {
	c.stop()
	c.tries.Wait()
	for _, one := range c.all {
		if conn := one.conn.Load(); conn != nil {
			(*conn).Close()
		}
	}
}

// collector is what readings are sent to by UDP: what is lost is lost. A nil one gets nothing.
type collector struct {
	conn atomic.Pointer[net.Conn] // nil before it can be reached
}

// send sends a reading. It does not wait.
func (c *collector) send(line string) {
	if c == nil {
		return
	}
	if conn := c.conn.Load(); conn != nil {
		io.WriteString(*conn, line)
	}
}
