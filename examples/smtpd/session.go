package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"wireline/handler"
)

// session is the state of one client. Only the client's own frames, which are served one
// after the other, use it.
type session struct {
	server *server
	client *handler.Client

	phase  phase
	hello  string // the argument of EHLO or HELO; empty before that
	esmtp  bool   // it was EHLO
	user   string // as AUTH has found out; empty if the client has not authenticated
	mail   *mail  // the transaction; nil before MAIL
	errors int    // commands that have failed
}

// phase says what the next frame is.
type phase uint8

const (
	phaseCommand  phase = iota
	phaseResponse       // the response to the challenge of AUTH
	phaseMessage        // the message after DATA
)

// mail is a transaction: it begins with MAIL and ends with the message, or with RSET.
type mail struct {
	from string
	to   []string
}

// serve serves a frame.
func (x *session) serve(frame []byte) error {
	switch x.phase {
	case phaseMessage:
		return x.receive(frame)
	case phaseResponse:
		x.phase = phaseCommand
		return x.checkPlain(string(frame))
	}
	return x.command(string(frame))
}

// reply sends a line. The replies to commands that came together go out together.
func (x *session) reply(line string) error {
	_, err := io.WriteString(x.client, line+"\r\n")
	return err
}

// refuse replies to a command that has failed. After too many of them it closes the
// connection.
func (x *session) refuse(line string) error {
	if x.errors++; x.errors <= x.server.config.maxErrors() {
		return x.reply(line)
	}
	x.reply("421 4.7.0 " + x.server.config.hostname() + " too many errors, closing connection")
	return handler.ErrQuit
}

// tooLong replies to a frame that was too long. The rest of it is discarded as it arrives.
func (x *session) tooLong() {
	line := "500 5.5.2 line too long"
	if x.phase == phaseMessage {
		line = x.server.config.tooBig()
		x.endMessage()
	}
	x.phase = phaseCommand
	if x.refuse(line) != nil {
		x.client.Close()
	}
}

func (c *Config) tooBig() string {
	return fmt.Sprintf("552 5.3.4 message longer than %d bytes", c.maxSize())
}

// secure reports whether the client uses TLS.
func (x *session) secure() bool { return x.client.TLS() != nil }

// restart forgets what the client has said, as at the beginning of a connection.
func (x *session) restart() {
	x.hello, x.esmtp, x.user, x.mail = "", false, "", nil
}

// beginMessage makes the next frame the message.
func (x *session) beginMessage() {
	x.phase = phaseMessage
	x.client.SetCodec(x.server.message)
	x.client.SetTimeouts(handler.Timeouts{Idle: x.server.config.dataTimeout()})
}

// endMessage ends the transaction. The next frame is a command.
func (x *session) endMessage() {
	x.phase, x.mail = phaseCommand, nil
	x.client.SetCodec(nil)
	x.client.SetTimeouts(handler.Timeouts{})
}

// receive delivers a message. When the client has got the reply 250, the server is
// responsible for the message (RFC 5321, 4.2.5).
func (x *session) receive(data []byte) error {
	id := rand.Text()[:16]
	m := &Message{ID: id, From: x.mail.from, To: x.mail.to, Trace: x.trace(id, time.Now()), Data: data}
	x.endMessage()
	if err := x.server.config.deliver(x.client.Context(), m); err != nil {
		x.server.config.log().Error("message not stored", "id", id, "client", x.client.ID(), "err", err)
		return x.reply("451 4.3.0 message not stored, try again later")
	}
	x.errors = 0
	return x.reply("250 2.0.0 stored as " + id)
}

// trace returns the header lines that the last server adds to a message (RFC 5321, 4.4).
func (x *session) trace(id string, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: <%s>\r\n", x.mail.from)
	for _, to := range x.mail.to {
		fmt.Fprintf(&b, "Delivered-To: %s\r\n", to)
	}
	fmt.Fprintf(&b, "Received: from %s (%s)\r\n\tby %s with %s id %s;\r\n\t%s\r\n", x.hello, hostOf(x.client.RemoteAddr()),
		x.server.config.hostname(), x.protocol(), id, now.Format(time.RFC1123Z))
	return b.String()
}

// protocol returns the name of the protocol for the trace (RFC 3848).
func (x *session) protocol() string {
	name := "SMTP"
	if x.esmtp {
		name = "ESMTP"
	}
	if x.secure() {
		name += "S"
	}
	if x.user != "" {
		name += "A"
	}
	return name
}
