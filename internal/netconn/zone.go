package netconn

import (
	"net"
	"strconv"
)

// Zone returns the zone of a link-local address as package net writes it: the name of the
// interface with that index, or the index if it has no name; empty for zero.
func Zone(index uint32) string {
	if index == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(index))
}
