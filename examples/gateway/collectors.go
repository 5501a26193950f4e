package main

import (
	"log/slog"
	"net"
)

// collectors are connections to what collects the readings, by address. Devices that were there
// before a reload go on with the old one, so all of them stay open until the program ends.
type collectors map[string]net.Conn

// get returns the connection to an address; nil if that is empty or cannot be used.
func (c collectors) get(address string, log *slog.Logger) net.Conn {
	if address == "" {
		return nil
	}
	if c[address] == nil {
		conn, err := net.Dial("udp", address)
		if err != nil {
			log.Warn("no collector", "err", err)
			return nil
		}
		c[address] = conn
	}
	return c[address]
}

func (c collectors) close() {
	for _, conn := range c {
		conn.Close()
	}
}
