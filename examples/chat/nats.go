package main

import (
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"

	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/lib/field"
)

// embeddedListen is where the NATS server of this process listens, if the setting does not say it.
const embeddedListen = "127.0.0.1:4222"

// ownNATS returns the address of the NATS server that is to run in this process; ok is false if
// there is to be none.
func (c *Chat) ownNATS() (listen string, ok bool) {
	mode, listen, given := strings.Cut(c.NATS, ":")
	switch {
	case mode != "embedded":
		return "", false
	case !given:
		return embeddedListen, true
	}
	return listen, true
}

// checkNATS reports what is wrong with the settings.
func (c *Chat) checkNATS() error {
	if !natsbus.IsPrefix(c.NATSPrefix) {
		return &field.Error{Field: "NATSPrefix", Value: c.NATSPrefix, Reason: "must be letters, digits, '-' and '_', and single dots inside"}
	}
	if c.NATS == "" {
		return nil
	}
	if listen, own := c.ownNATS(); own {
		if _, _, err := net.SplitHostPort(listen); err != nil {
			return wrongNATS(errors.New("must be embedded:HOST:PORT"))
		}
		return nil
	}
	for one := range strings.SplitSeq(c.NATS, ",") {
		if u, err := url.Parse(strings.TrimSpace(one)); err != nil || u.Host == "" {
			return wrongNATS(errors.New("must be a URL such as nats://127.0.0.1:4222"))
		}
	}
	return nil
}

// wrongNATS blames the setting for an error. It does not show the value: a URL may have a password.
func wrongNATS(err error) error {
	return &field.Error{Field: "NATS", Value: "(secret)", Reason: err.Error()}
}

// openBus returns the bus that the configuration asks for; nil for none. stop ends the NATS server
// of this process, after the bus was closed.
func openBus(c *Chat, log *slog.Logger) (bus hub.Bus, stop func(), err error) {
	stop = func() {}
	if c.NATS == "" {
		return nil, stop, nil
	}
	b := &natsbus.Bus{Prefix: c.NATSPrefix, Log: log}
	listen, own := c.ownNATS()
	if !own {
		b.URL = c.NATS
		return b, stop, nil
	}
	server := &natsbus.Embedded{Listen: listen, Log: log}
	if err := server.Start(); err != nil {
		return nil, stop, wrongNATS(err)
	}
	log.Info("NATS server of this process", "url", server.URL())
	b.Options = []nats.Option{server.Option()}
	return b, server.Close, nil
}
