//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handshakes is the load of short connections over TLS: connect, handshake, a line, its reply,
// close. Each client has a goroutine, because the handshake of crypto/tls waits inside.
type handshakes struct {
	task
	made *atomic.Int64 // connections so far

	// first waits for the first connection of every client that is to resume its session.
	first sync.WaitGroup

	mu      sync.Mutex
	latency histogram
}

// measureHandshakes lets the clients run for the warmup, then measures.
func measureHandshakes(t task) (m measurement, err error) {
	h := &handshakes{task: t, made: new(atomic.Int64)}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := h.run(ctx)
		cancel(err)
		ended <- err
	}()
	m, err = h.measure(ctx)
	cancel(nil)
	return m, errors.Join(err, <-ended)
}

// measure ends early when ctx does.
func (h *handshakes) measure(ctx context.Context) (m measurement, err error) {
	if err := h.await(ctx, 0); err != nil {
		return m, err
	}
	if err := sleep(ctx, h.Warmup); err != nil {
		return m, err
	}
	h.mu.Lock()
	h.latency = histogram{}
	h.mu.Unlock()
	made := h.made.Load()
	before, err := readClocks(h.Server, h.Forks, h.Cores)
	if err != nil {
		return m, err
	}
	if err := errors.Join(sleep(ctx, h.Measure), h.await(ctx, made)); err != nil {
		return m, err
	}
	after, err := readClocks(h.Server, h.Forks, h.Cores)
	if err != nil {
		return m, err
	}
	m = after.since(before, 0)
	m.Requests = h.made.Load() - made
	m.Bytes = m.Requests * lineSize
	m.Warmup = float64(made) / max(h.Warmup.Seconds(), 1e-9)
	h.mu.Lock()
	defer h.mu.Unlock()
	m.P50, m.P99, m.Max = h.latency.quantile(0.50), h.latency.quantile(0.99), h.latency.longest
	return m, nil
}

// await waits until more connections than made have been counted: a server may lose its core
// for longer than a short measurement.
func (h *handshakes) await(ctx context.Context, made int64) error {
	for h.made.Load() <= made {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// run runs all clients until ctx ends or one of them fails.
func (h *handshakes) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, h.Conns)
	var clients sync.WaitGroup
	h.first.Add(h.Conns)
	for id := range h.Conns {
		clients.Go(func() {
			if err := h.client(ctx, id); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	clients.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// client makes one connection after the other. Its first is not counted if it is to resume
// sessions, since it has none yet, and all clients wait for each other then.
func (h *handshakes) client(ctx context.Context, id int) error {
	c := handshaker{
		task:   h.task,
		config: clientTLS(),
		dialer: net.Dialer{
			Timeout:   h.Stall,
			KeepAlive: -1,
			LocalAddr: &net.TCPAddr{IP: sourceOf(id)},
			Control:   chooseNoPort,
		},
	}
	if h.Resume {
		c.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		err := c.connection(lineBurst(id, 0, 1), false)
		h.first.Done()
		if err != nil {
			return err
		}
		h.first.Wait()
	}
	for turn := 1; ctx.Err() == nil; turn = 1 - turn {
		began := time.Now()
		if err := c.connection(lineBurst(id, turn, 1), h.Resume); err != nil {
			return err
		}
		took := time.Since(began)
		h.mu.Lock()
		h.latency.add(took)
		h.mu.Unlock()
		h.made.Add(1)
	}
	return nil
}

// chooseNoPort leaves the choice of the port to connect(2), as bindSource does.
func chooseNoPort(_, _ string, raw syscall.RawConn) error {
	var err error
	controlled := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(controlled, err)
}

// handshaker is one client, which has one connection at a time.
type handshaker struct {
	task
	dialer net.Dialer
	config *tls.Config
}

// connection makes one connection for line. resumed says whether its session must be one that
// is resumed, or must not.
func (c *handshaker) connection(line []byte, resumed bool) error {
	plain, err := c.dialer.Dial("tcp4", c.Address.String())
	if err != nil {
		return err
	}
	conn := tls.Client(plain, c.config)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(c.Stall)); err != nil {
		return err
	}
	if err := conn.Handshake(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if did := conn.ConnectionState().DidResume; did != resumed {
		return fmt.Errorf("the session was resumed: %t, want %t", did, resumed)
	}
	if _, err := conn.Write(line); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if !bytes.Equal(got, line) {
		return fmt.Errorf("wrong echo: got %q, want %q", got, line)
	}
	return nil
}
