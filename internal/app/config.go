package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"wireline/admin"
	"wireline/config"
	"wireline/echo"
	"wireline/handler"
	"wireline/lib/field"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// Config is the whole configuration of the wireline program. Its one service, without
// Services, is the inline one.
type Config struct {
	Service `config:",inline"`

	// Log is what the log shows and how.
	Log logger.Config `config:"log"`

	// Admin is the admin side.
	Admin admin.Config `config:"admin"`

	// Reload says when the configuration file is read again.
	Reload Reload `config:"reload"`

	// Services are the services by their names, if there are several. What one of them does not
	// set is as in the inline Service, but for the address.
	Services map[string]Service `config:"services" own:"tcp.address" needs:"handler,tcp.address" help:"a service of its own; what it does not set is as without services.NAME, but for tcp.address"`
}

// Reload says when the configuration file is read again, besides SIGHUP and requests to the admin
// side.
type Reload struct {
	// Watch is when its contents change.
	Watch bool `config:"watch" default:"false" help:"read the configuration file again when its contents change"`
}

// Service is a listener and what serves its clients.
type Service struct {
	// Handler is what serves the connections: echo or proxy.
	Handler string `config:"handler" default:"echo" help:"echo or proxy"`

	// TCP is the server.
	TCP tcp.Config `config:"tcp"`

	// Echo is the handler echo.
	Echo echo.Config `config:"echo"`

	// Proxy is the handler proxy.
	Proxy proxy.Config `config:"proxy"`
}

// defaultAddress is the default of tcp.address.
const defaultAddress = ":8000"

// handlers are the values of Service.Handler.
var handlers = []string{"echo", "proxy"}

// isProxy reports whether the service is a proxy.
func (s *Service) isProxy() bool { return s.Handler == "proxy" }

// Validate reports what is wrong with the settings of a service together. Those of each
// section are validated by its own method.
func (s *Service) Validate() error {
	var e field.Errors
	e.Check(slices.Contains(handlers, s.Handler), "Handler", s.Handler, "must be "+strings.Join(handlers, " or "))
	if s.isProxy() {
		e.Check(len(s.Proxy.Upstreams) > 0, "Proxy.Upstreams", "", "must name at least one for the handler proxy")
		e.Check(s.TCP.Linger != handler.CloseLingering, "TCP.Linger", s.TCP.Linger, "is not for the handler proxy, which closes as the other side does")
		e.Add(within("Proxy", s.Proxy.CheckListener(s.TCP.Network, s.TCP.Address)))
	}
	return e.Err()
}

// within returns err with the section before the name of its field.
func within(section string, err error) error {
	var bad *field.Error
	if !errors.As(err, &bad) {
		return err
	}
	return &field.Error{Field: section + "." + bad.Field, Value: bad.Value, Reason: bad.Reason}
}

// Validate reports services that cannot be served together.
func (c *Config) Validate() error {
	var e field.Errors
	c.checkAdmin(&e)
	if len(c.Services) == 0 {
		e.Add(c.Service.Validate())
		return e.Err()
	}
	c.checkAddresses(&e)
	c.checkCycles(&e, c.upstreams())
	return e.Err()
}

// checkAdmin reports a service that has the address of the admin side.
func (c *Config) checkAdmin(e *field.Errors) {
	if c.Admin.Validate() != nil || c.Admin.Address == "" {
		return
	}
	side := c.Admin.Listener()
	for name, s := range c.all() {
		of := "tcp.address"
		if name != "" {
			of = "services." + name + "." + of
		}
		e.Check(!side.Overlaps(&s.TCP), "Admin.Address", c.Admin.Address, "is an address of "+of+", "+s.TCP.Address)
	}
}

// Check reports what Validate does with names instead of addresses, which it looks up.
// It gives names that have no address now to warn: they may have one later.
func (c *Config) Check(ctx context.Context, warn func(error)) error {
	if len(c.Services) > 0 && c.TCP.Address != defaultAddress {
		warn(&field.Error{Field: "TCP.Address", Value: c.TCP.Address, Reason: "is not used: each service has an address of its own"})
	}
	return c.checkUpstreams(ctx, warn)
}

// names returns the names of the services in order; none if there is the one without a name.
func (c *Config) names() []string { return slices.Sorted(maps.Keys(c.Services)) }

// Options are those of the program for package config.
func Options(version string, args, environ []string) config.Options {
	return config.Options{
		Name: "wireline", Prefix: "WIRELINE", Args: notNil(args), Environ: notNil(environ),
		Version: fmt.Sprintf("%s %s %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH),
		Notes:   commandHelp() + "\nExit codes: 0 clean stop, 1 serving failed or clients were cut, 2 bad usage or configuration, or an address that cannot be bound.",
	}
}

// notNil keeps package config from reading the arguments and the environment of the process.
func notNil(list []string) []string { return append([]string{}, list...) }
