package tcp

import "os"

// migrateKey says whether the kernel gives connections that are not accepted yet to another
// listener on the address when theirs is closed (Linux 5.14, Documentation/networking/ip-sysctl.rst).
const migrateKey = "/proc/sys/net/ipv4/tcp_migrate_req"

// migratesNothing reports whether the system could do that, and does not.
func migratesNothing() bool {
	value, err := os.ReadFile(migrateKey)
	return err == nil && string(value) == "0\n"
}
