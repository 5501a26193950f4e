package main

// starttls replies to STARTTLS (RFC 3207). The handshake begins when the reply is sent. What
// arrived behind the command is discarded, and what came before it is forgotten (4.2): without
// encryption, anybody on the way may have changed it.
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
	if err := x.client.StartTLS(c.TLS); err != nil {
		return x.reply("454 4.7.0 TLS not available")
	}
	x.restart()
	return x.reply("220 2.0.0 ready to start TLS")
}
