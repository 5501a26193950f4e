package tcp

import (
	"os"
	"os/user"
	"runtime"
	"strconv"

	"wireline/lib/field"
)

// socketFile is what Config.SocketMode and Config.SocketGroup say of the socket file.
type socketFile struct {
	mode    os.FileMode
	hasMode bool

	group     int
	groupName string
	hasGroup  bool
}

// socketFile parses the two fields. It adds what is wrong with them to e.
func (c *Config) socketFile(e *field.Errors) (f socketFile) {
	for _, set := range [][2]string{{"SocketMode", c.SocketMode}, {"SocketGroup", c.SocketGroup}} {
		switch name, value := set[0], set[1]; {
		case value == "":
		case c.Network != "unix":
			e.Check(false, name, value, "is for unix sockets only")
		case !hasSocketFiles:
			e.Check(false, name, value, "is not supported on "+runtime.GOOS)
		case c.Address != "" && c.Address[0] == '@':
			e.Check(false, name, value, "is not for abstract sockets, which have no file")
		}
	}
	if c.SocketMode != "" {
		// 0660 and 660 would be different numbers in some formats of configuration files.
		mode, err := strconv.ParseUint(c.SocketMode, 8, 32)
		f.hasMode = err == nil && len(c.SocketMode) == 4 && mode <= 0o777
		f.mode = os.FileMode(mode)
		e.Check(f.hasMode, "SocketMode", c.SocketMode, "must be four octal digits, from 0000 to 0777")
	}
	if c.SocketGroup != "" {
		f.groupName = c.SocketGroup
		f.group, f.hasGroup = groupID(c.SocketGroup)
		e.Check(f.hasGroup, "SocketGroup", c.SocketGroup, "must be a group of this system, or its number")
	}
	return f
}

// groupID returns the number of a group, which may be given as such.
func groupID(name string) (id int, ok bool) {
	if g, err := user.LookupGroup(name); err == nil {
		name = g.Gid
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return int(n), err == nil && n < 1<<32-1 // which chown(2) takes for none
}
