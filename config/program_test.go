package config_test

import (
	"wireline/config"
	"wireline/internal/app"
)

// loaded is the configuration of the wireline program, which most of these tests read.
type loaded struct {
	*config.Loaded
	Config app.Config
}

// load reads it. It returns nil if there is an error.
func load(args, environ []string) (*loaded, error) {
	var l loaded
	var err error
	if l.Loaded, err = config.Load(&l.Config, app.Options("v1", args, environ)); err != nil {
		return nil, err
	}
	return &l, nil
}
