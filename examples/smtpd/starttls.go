package main

import (
	"crypto/tls"
	"errors"

	"wireline/handler"
)

// starttls replies to STARTTLS (RFC 3207). The handshake begins when the reply is sent. What
// the client has sent behind the command without encryption is discarded, and what it has said
// before is forgotten (4.2): both may come from someone between client and server.
func (x *session) starttls(arg string) error {
	c := &x.server.config
	switch {
	case arg != "":
		return x.refuse(badArguments)
	case c.TLS == nil:
		return x.unknown(arg)
	case x.secure():
		return x.refuse("503 5.5.1 TLS already active")
	}
	if err := startTLS(x.client, c.TLS); err != nil {
		return x.reply("454 4.7.0 TLS not available")
	}
	x.restart()
	return x.reply("220 2.0.0 ready to start TLS")
}

func startTLS(*handler.Client, *tls.Config) error { return errors.New("no StartTLS yet") }
