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

// NATS says how several processes are one gateway. The zero value is for one process.
type NATS struct {
	// URL is the address of a NATS server, or several with commas between them.
	URL string `config:"url,secret" help:"address of the NATS server by which several processes are one gateway, empty = one process"`

	// Embedded is host:port of a NATS server in this process, for it and for the others, which have
	// its address as their URL.
	Embedded string `config:"embedded" help:"host:port on which this process runs a NATS server itself, for the others too, in the place of nats.url"`

	// Prefix is the first part of all subjects, and with JetStream of the bucket's name. Processes with the
	// same one are one gateway.
	Prefix string `config:"prefix" default:"gateway" help:"first part of the subjects at the NATS server; processes with the same one are one gateway"`

	// JetStream has the NATS server keep which process has which device.
	JetStream bool `config:"jetstream" default:"false" help:"the NATS server keeps in JetStream which process has which device; all processes need the same"`
}

// Validate reports values that are out of range. config.Load calls it.
func (n *NATS) Validate() error {
	var e field.Errors
	if n.URL != "" {
		for _, address := range strings.Split(n.URL, ",") {
			e.Check(isNATS(address), "URL", "(secret)", "must be addresses such as nats://host:4222")
		}
	}
	e.Check(n.URL == "" || n.Embedded == "", "Embedded", n.Embedded, "must not be set together with nats.url")
	e.Check(natsbus.IsPrefix(n.Prefix), "Prefix", n.Prefix, "must be letters, digits, '-' and '_', and single dots inside")
	e.Check(!n.JetStream || n.URL != "", "JetStream", n.JetStream, "needs nats.url: the embedded server has no JetStream")
	if n.Embedded != "" {
		_, _, err := net.SplitHostPort(n.Embedded)
		e.Check(err == nil, "Embedded", n.Embedded, "must be host:port")
	}
	return e.Err()
}

// isNATS reports whether a NATS client can understand an address. As there, the scheme may be missing.
func isNATS(address string) bool {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	u, err := url.Parse(address)
	return err == nil && u.Host != ""
}

// open returns the bus of the hub; nil for one process. The hub closes it; stop ends what it needs, and
// is called after that. The error is a *field.Error.
func (n *NATS) open(log *slog.Logger) (bus hub.Bus, stop func(), err error) {
	b := &natsbus.Bus{URL: n.URL, Prefix: n.Prefix, Log: log}
	if n.JetStream {
		b.JetStream = new(natsbus.JetStream)
	}
	switch {
	case n.URL != "":
		return b, func() {}, nil
	case n.Embedded == "":
		return nil, func() {}, nil
	}
	server := &natsbus.Embedded{Listen: n.Embedded, Log: log}
	if err := server.Start(); err != nil {
		return nil, nil, &field.Error{Field: "Embedded", Value: n.Embedded, Reason: err.Error()}
	}
	log.Info("nats", "url", server.URL())
	b.Options = []nats.Option{server.Option()}
	return b, server.Close, nil
}

// blame returns an error of the bus at its start as a *field.Error. It does not show the URL, which may
// have a password.
func (n *NATS) blame(err error) error {
	if found := (*field.Error)(nil); errors.As(err, &found) {
		return err
	}
	return &field.Error{Field: "URL", Value: "(secret)", Reason: err.Error()}
}
