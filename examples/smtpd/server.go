package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"wireline/handler"
	"wireline/lib/frame"
	"wireline/lib/logger"
)

// Limits of Config if its fields are zero.
const (
	defaultMaxSize       = 25 << 20
	defaultMaxRecipients = 100 // the least that a server must accept (RFC 5321, 4.5.3.1.8)
	defaultMaxErrors     = 10
	defaultDataTimeout   = 3 * time.Minute // RFC 5321, 4.5.3.2.5
)

// maxLine is the longest command in bytes without its line end. RFC 4954, 4 needs 12288
// for AUTH, with the line end; other commands need much less (RFC 5321, 4.5.3.1.4).
const maxLine = 12288 - len("\r\n")

// Config says what a server accepts.
type Config struct {
	// Hostname is the name of the server in its greeting and in messages. Empty means
	// "localhost".
	Hostname string

	// Domains are the domains of recipients. Empty means that all are accepted.
	Domains []string

	// MaxSize is the longest message in bytes. Zero means 25 MiB.
	MaxSize int

	// MaxRecipients limits the recipients of a message. Zero means 100.
	MaxRecipients int

	// MaxErrors is how many commands of a client may fail, between two messages that it
	// delivers, before the server closes the connection. Zero means 10.
	MaxErrors int

	// DataTimeout closes a client that is silent for this time within a message, in the place of
	// the IdleTimeout between commands. Zero means 3 minutes. Negative means no timeout.
	DataTimeout time.Duration

	// TLS is the configuration for STARTTLS. Nil means that there is no STARTTLS.
	TLS *tls.Config

	// RequireTLS refuses a client without TLS.
	RequireTLS bool

	// Users has the password of each user. Nil means that there is no AUTH.
	Users map[string]string

	// RequireAuth refuses messages of clients that have not authenticated.
	RequireAuth bool

	// Deliver stores a message. It may block. The client is told to try again if it
	// fails. m is valid until Deliver returns. Nil discards messages.
	Deliver func(ctx context.Context, m *Message) error

	// Log gets the errors of Deliver. Nil means slog.Default().
	Log *slog.Logger
}

// Message is a message that was received.
type Message struct {
	ID   string
	From string   // the envelope's sender; empty for a bounce
	To   []string // the envelope's recipients

	// Trace has the header lines that the server adds in front of Data (RFC 5321, 4.4).
	Trace string
	// Data is the message as it was sent, with "\r\n" at the end of each line.
	Data []byte
}

// server is what all sessions share.
type server struct {
	frames  handler.Frames
	config  Config
	message frame.DotBlock // the codec of a message
}

// newServer returns a server. The caller may set timeouts in its frames.
func newServer(c Config) *server {
	s := &server{config: c, message: frame.DotBlock{Max: c.maxSize()}}
	s.frames.Codec = frame.Line{Strict: true, Max: maxLine}
	s.frames.TooLong = handler.TooLongDiscard
	s.frames.OnOpen = s.open
	s.frames.OnFrame = serve
	s.frames.OnError = fail
	s.frames.OnEnd = end
	return s
}

func (s *server) open(c *handler.Client) error {
	x := &session{server: s, client: c}
	c.Value = x
	return x.reply("220 " + s.config.hostname() + " ESMTP")
}

func serve(c *handler.Client, frame []byte) error { return c.Value.(*session).serve(frame) }

// fail replies to input that is not a command or a message. After all but frames that are too
// long, the connection ends. handler.ErrPlaintext is for input that StartTLS has discarded: that
// gets no reply.
func fail(c *handler.Client, err error) {
	x := c.Value.(*session)
	switch {
	case errors.Is(err, frame.ErrTooLong):
		x.tooLong()
	case errors.Is(err, frame.ErrLineEnd):
		// 521 and not 421: the client should not try this again.
		x.reply("521 5.5.2 " + strings.TrimPrefix(err.Error(), frame.ErrLineEnd.Error()+": ") + " received")
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.reply("421 4.4.2 " + x.server.config.hostname() + " timeout, closing connection")
	}
}

// end tells a client of a server that stops (RFC 5321, 3.8). A client that was being served has the
// reply to its command before.
func end(c *handler.Client) {
	if c.Record().Reason == handler.ReasonDrain {
		x := c.Value.(*session)
		x.reply("421 4.3.2 " + x.server.config.hostname() + " shutting down, closing connection")
	}
}

func (c *Config) hostname() string {
	if c.Hostname == "" {
		return "localhost"
	}
	return c.Hostname
}

func (c *Config) maxSize() int { return or(c.MaxSize, defaultMaxSize) }

func (c *Config) maxRecipients() int { return or(c.MaxRecipients, defaultMaxRecipients) }

func (c *Config) maxErrors() int { return or(c.MaxErrors, defaultMaxErrors) }

func (c *Config) dataTimeout() time.Duration { return cmp.Or(c.DataTimeout, defaultDataTimeout) }

func or(n, standard int) int {
	if n <= 0 {
		return standard
	}
	return n
}

func (c *Config) deliver(ctx context.Context, m *Message) error {
	if c.Deliver == nil {
		return nil
	}
	return c.Deliver(ctx, m)
}

func (c *Config) log() *slog.Logger {
	return logger.Async(c.Log) // a session does not wait for it
}
