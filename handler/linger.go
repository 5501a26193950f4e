package handler

import (
	"errors"
	"net"
	"os"
	"time"

	"wireline/internal/netconn"
)

const (
	// lingerTime bounds a lingering close: a client that is still sending has
	// so long to read our last words.
	lingerTime = 2 * time.Second

	// lingerDrain bounds it during a drain, and for plain handlers.
	lingerDrain = 500 * time.Millisecond

	// lingerBytes is how much is read at full speed while lingering, enough
	// for who sends all before he reads. After that it goes on slowly: who
	// sends for ever costs no more than a little of the processor, and no more
	// than some MiB are read in lingerTime.
	lingerBytes = netconn.LingerBytes

	// lingerPause is the time between two reads when it goes slowly.
	lingerPause = 10 * time.Millisecond
)

// linger is netconn.Linger with two bounds more: a drain shortens it, and one who
// sends for ever does not keep the processor busy.
func (s *stream) linger(limit time.Duration) {
	defer s.conclude()
	if netconn.CloseWrite(s.conn) != nil {
		return // no half-close, or closed already
	}
	end := time.Now().Add(limit)
	for discarded := 0; ; {
		if discarded > lingerBytes {
			time.Sleep(lingerPause)
		}
		end = s.setLingerDeadline(end)
		s.client.buffer().Reset()
		n, err := s.conn.Read(s.client.in.Space())
		s.client.countIn(int64(n), 0)
		discarded += n
		interrupted := errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end)
		if err != nil && !interrupted {
			return
		}
	}
}

// setLingerDeadline bounds the next read by end, or by what a drain leaves of
// it. As in setReadDeadline, wake comes after the client's state has changed.
func (s *stream) setLingerDeadline(end time.Time) time.Time {
	s.conn.SetReadDeadline(end)
	if !s.client.draining.Load() {
		return end
	}
	if soon := time.Now().Add(lingerDrain); soon.Before(end) {
		end = soon
		s.conn.SetReadDeadline(end)
	}
	return end
}

// conclude closes conn, which may have SO_LINGER from its listener, in the end: once the
// client has acknowledged all if it is to be waited for.
func (c *Client) conclude(conn net.Conn) error {
	if mode, _ := c.closeMode(); mode > 0 {
		return netconn.CloseWithin(conn, mode.bound())
	}
	if c.setsLinger() {
		netconn.SetLinger(conn, -1)
	}
	return conn.Close()
}
