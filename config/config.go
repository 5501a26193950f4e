package config

import (
	"wireline/echo"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// Config is the whole configuration of the wireline program.
type Config struct {
	// Handler is what serves the connections: echo or proxy.
	Handler string `config:"handler" default:"echo" help:"echo or proxy"`

	// TCP is the server.
	TCP tcp.Config `config:"tcp"`

	// Echo is the handler echo.
	Echo echo.Config `config:"echo"`

	// Proxy is the handler proxy.
	Proxy proxy.Config `config:"proxy"`

	// Log is what the log shows and how.
	Log logger.Config `config:"log"`
}

// handlers are the values of Config.Handler.
var handlers = []string{"echo", "proxy"}
