// Package rpcclient is the Go client of the rpc example.
package rpcclient

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/atomic"

	"wireline/client"
	"wireline/examples/rpc/proto"
)

// keepAlive is how long the server may be silent. Half of it is over before it is asked.
const keepAlive = 30 * time.Second

// Options are what a client may set. The zero value is good.
type Options struct {
	// MaxMessage is the longest message in bytes, either way: rpc.max_message of the server. A longer
	// one ends the connection. Zero means proto.DefaultMax.
	MaxMessage int

	// OnNotice, if not nil, is called with each notice of the server, one at a time. It must not call
	// the server.
	OnNotice func(params json.RawMessage)
}

// Client calls the methods of a server, over one connection that is made again when it is lost. All
// methods are safe for concurrent use. Close it.
type Client struct {
	dialer client.Dialer
	conn   *client.Conn
	lastID atomic.Uint64
}

// Dial connects to a server.
func Dial(ctx context.Context, network, address string, o Options) (*Client, error) {
	c := &Client{}
	c.dialer = client.Dialer{
		Codec:     proto.Codec(cmp.Or(o.MaxMessage, proto.DefaultMax)),
		ID:        proto.ID,
		KeepAlive: keepAlive,
		Ping:      c.ping,
		OnFrame: func(_ *client.Conn, frame []byte) error {
			var m proto.Message
			if err := json.Unmarshal(frame, &m); err != nil {
				return err
			}
			if m.Method == "notice" && o.OnNotice != nil {
				o.OnNotice(m.Params)
			}
			return nil
		},
	}
	conn, err := c.dialer.Dial(ctx, network, address)
	if err != nil {
		c.dialer.Close()
		return nil, err
	}
	c.conn = conn
	return c, nil
}

// ping returns a request to which any answer will do.
func (c *Client) ping() []byte {
	b, _ := json.Marshal(proto.Message{ID: c.lastID.Inc(), Method: "ping"}) // it can always be encoded
	return b
}

// Call calls a method, and stores its result in the value that result points to, if that is not nil.
//
// The error tells whether the method has run. A *proto.Error is the answer of the server: it has not run
// with CodeBadRequest and CodeUnknownMethod, and has begun with the others. With an error that matches
// client.ErrLost or client.ErrClosed, with the cause of ctx, and with an error of package json for an
// answer or a result that does not fit, it may have run. With any other error it has not.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	request, err := c.request(method, params)
	if err != nil {
		return err
	}
	answer, err := c.conn.Request(ctx, request)
	if err != nil {
		return err
	}
	var m proto.Message
	if err := json.Unmarshal(answer, &m); err != nil {
		return err
	}
	switch {
	case m.Error != nil:
		return m.Error
	case result == nil:
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

// request encodes a request, with an id of its own.
func (c *Client) request(method string, params any) ([]byte, error) {
	if method == "" {
		return nil, errors.New("rpcclient: no method")
	}
	m := proto.Message{ID: c.lastID.Inc(), Method: method}
	if params != nil {
		var err error
		if m.Params, err = proto.Encode(params); err != nil {
			return nil, err
		}
	}
	return proto.Encode(m)
}

// Status returns what is known of the connection.
func (c *Client) Status() client.Status { return c.conn.Status() }

// Close waits a moment for calls that are under way, and closes the connection.
func (c *Client) Close() error { return c.dialer.Close() }
