package client

import "context"

// Opening is a connection that has just been made, for OnConnect: what it sends goes out before
// everything that waits. It may be used until OnConnect returns. The ids of its requests must not be
// those of requests of the Conn, which may wait.
type Opening struct {
	conn *Conn
	link *link
}

// Conn returns the Conn whose connection it is.
func (o *Opening) Conn() *Conn { return o.conn }

// Send is Conn.Send on this connection.
func (o *Opening) Send(ctx context.Context, payload []byte) error {
	return o.conn.send(ctx, o.link, payload)
}

// Request is Conn.Request on this connection. It does not count for MaxInFlight.
func (o *Opening) Request(ctx context.Context, payload []byte) (answer []byte, err error) {
	return o.conn.ask(ctx, o.link, payload)
}
