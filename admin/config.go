package admin

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"wireline/internal/tokenfile"
	"wireline/lib/field"
	"wireline/tcp"
)

// Config says where the admin side listens, and who may use it. The zero value is valid: it
// does not listen.
//
// The tags are for package config.
type Config struct {
	// Address is host:port, or unix:PATH: then only the user of the process may connect (mode
	// 0600). Empty means that ListenAndServe does nothing.
	Address string `config:"address" help:"host:port or unix:PATH of the admin page, API and metrics, empty = off"`

	// Token is what a request must have in its header Authorization, after "Bearer". Without
	// one, requests are answered only over unix sockets and loopback.
	Token string `config:"token,secret" help:"that requests must show as a bearer token; needed unless the address is a unix socket or loopback"`

	// TokenFile has the Token, in a file. White space around it does not count. It is read for
	// each request, so that it can be changed.
	TokenFile string `config:"token_file" help:"file with the token"`

	// Hosts are further names of the host in requests. IP addresses and localhost are always
	// allowed. This keeps a page of another site, whose name leads to this address, from it
	// (DNS rebinding).
	Hosts []string `config:"hosts" help:"names by which requests may call this host, besides IP addresses and localhost"`

	// TLS makes the admin side speak TLS, if both files are named.
	TLS TLS `config:"tls"`
}

// TLS are the files of the admin side's certificate, in PEM.
type TLS struct {
	Cert string `config:"cert" help:"certificate of the admin side, PEM"`
	Key  string `config:"key" help:"its private key, PEM"`
}

const unixPrefix = "unix:"

// Validate returns an error for each field that is out of range, joined with errors.Join; each
// is a *field.Error.
func (c *Config) Validate() error {
	var e field.Errors
	e.Check(c.Token == "" || c.TokenFile == "", "TokenFile", c.TokenFile, "must not be set together with Token")
	e.Check(tokenfile.IsToken(c.Token), "Token", "(secret)", "must be printable ASCII without spaces")
	e.Check(c.TLS.Cert == "" || c.TLS.Key != "", "TLS.Key", c.TLS.Key, "must be set, as cert is")
	e.Check(c.TLS.Key == "" || c.TLS.Cert != "", "TLS.Cert", c.TLS.Cert, "must be set, as key is")
	for _, h := range c.Hosts {
		e.Check(h != "" && !strings.ContainsAny(h, "/: "), "Hosts", h, "must be names without a port")
	}
	e.Add(c.checkAddress())
	return e.Err()
}

// checkAddress reports what is wrong with the address.
func (c *Config) checkAddress() error {
	wrong := func(reason string) error {
		return &field.Error{Field: "Address", Value: c.Address, Reason: reason}
	}
	if c.Address == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(c.Address, unixPrefix); ok {
		switch {
		case path == "":
			return wrong("has no path")
		case path[0] == '@':
			return wrong("must be a file: any user may open an abstract socket")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return wrong("must be host:port or unix:PATH")
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return wrong("has no valid port")
	}
	if !isLoopbackName(host) && !c.hasToken() {
		return wrong("needs admin.token or admin.token_file, as others can reach it")
	}
	return nil
}

// Check is Validate, and also reads the files, and asks the system what it can tell of the address
// without listening. Names are looked up until ctx ends.
func (c *Config) Check(ctx context.Context) error {
	if err := c.Validate(); err != nil || c.Address == "" {
		return err
	}
	var e field.Errors
	if _, err := c.token(); err != nil {
		e.Add(&field.Error{Field: "TokenFile", Value: c.TokenFile, Reason: err.Error()})
	}
	_, err := c.tlsConfig(nil)
	e.Add(err)
	listener := c.Listener()
	e.Add(listener.Check(ctx))
	return e.Err()
}

// Listener returns the configuration of the listener on Address, which must be valid.
func (c *Config) Listener() tcp.Config {
	if path, ok := strings.CutPrefix(c.Address, unixPrefix); ok {
		return tcp.Config{Network: "unix", Address: path, SocketMode: "0600"}
	}
	return tcp.Config{Address: c.Address}
}

// tlsConfig returns the configuration of TLS; nil without.
func (c *Config) tlsConfig(log *slog.Logger) (*tls.Config, error) {
	if c.TLS.Cert == "" {
		return nil, nil
	}
	return tcp.TLSFiles{Cert: c.TLS.Cert, Key: c.TLS.Key}.ServerConfig(log)
}

// hasToken reports whether requests need a token wherever they come from.
func (c *Config) hasToken() bool { return c.Token != "" || c.TokenFile != "" }

// token returns the token; empty if none is set.
func (c *Config) token() (string, error) { return tokenfile.Token(c.Token, c.TokenFile) }

// isLoopbackName reports whether host is an address of this machine that others cannot reach.
func isLoopbackName(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
