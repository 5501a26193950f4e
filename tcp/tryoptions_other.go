//go:build !linux

package tcp

func (c *Config) tryOptions() error { return nil }
