package netconn

import "net"

// AllAcknowledged reports whether the peer has acknowledged everything that was written
// to conn, and the FIN if it has had one, or never will. It is true where the system
// does not tell, and once conn is closed.
func AllAcknowledged(conn net.Conn) bool { return acknowledged(conn) }
