// Package adminctl has the commands of the program that talk to the admin side of a program
// that runs: connections, upstreams, kill, reload and top.
package adminctl

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"wireline/admin"
	"wireline/internal/pemfile"
	"wireline/internal/tokenfile"
	"wireline/tcp"
)

// timeout bounds one request; reloadTimeout one for a reload, which may wait for another reload.
const (
	timeout       = 30 * time.Second
	reloadTimeout = 2 * time.Minute
)

// errNoAddress says that there is nothing to talk to.
var errNoAddress = errors.New("admin.address is not set: the program that runs has no admin side, or its configuration is not the one that was read")

// client talks to the admin side that a configuration names.
type client struct {
	http  *http.Client
	base  string
	token string
}

// host is the host in requests. It is not that of the address, which may be none (:9000), or have a
// zone or the name of a port, which a URL cannot. The admin side knows it always.
const host = "localhost"

// dialer returns what connects to the admin side, whatever a URL says.
func dialer(to tcp.Config) func(ctx context.Context, network, of string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, cmp.Or(to.Network, "tcp"), to.Address)
	}
}

func newClient(cfg admin.Config) (*client, error) {
	if cfg.Address == "" {
		return nil, errNoAddress
	}
	token, err := tokenfile.Token(cfg.Token, cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	c := &client{base: "http://" + host, token: token}
	transport := &http.Transport{DialContext: dialer(cfg.Listener())}
	if cfg.TLS.Cert != "" {
		c.base = "https://" + host
		pinned, err := pin(cfg.TLS.Cert)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = pinned
	}
	c.http = &http.Client{Transport: transport, Timeout: timeout}
	return c, nil
}

// pin returns a configuration that accepts the certificate in the file alone: the configuration of
// the program that runs names it.
func pin(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	certs, err := pemfile.Certificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection compares the whole certificate
		VerifyConnection: func(s tls.ConnectionState) error {
			if !s.PeerCertificates[0].Equal(certs[0]) {
				return fmt.Errorf("the certificate is not the one in %s", file)
			}
			return nil
		},
	}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// ask makes a request and decodes its answer into answer, unless that is nil.
func (c *client) ask(ctx context.Context, method, path string, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, reason(b))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}

// reason returns the error in the body of an answer. Several problems are a line each.
func reason(body []byte) string {
	var e struct{ Error string }
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		return printable(string(body))
	}
	lines := strings.Split(e.Error, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}
