package memlimit

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroup returns the limit of the process's cgroups; zero if there is none.
func cgroup() int64 {
	groups, _ := os.ReadFile("/proc/self/cgroup")
	return ofCgroups(string(groups), "/sys/fs/cgroup")
}

// machine returns the memory of the machine; zero if it is not known.
func machine() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit))
}

// ofCgroups returns the least limit of the cgroups in groups, the text of /proc/self/cgroup, and
// of those above them; zero if there is none. root is where they are mounted. See cgroups(7).
// A cgroup namespace may hide the path; then the limit is at the root.
func ofCgroups(groups, root string) (least int64) {
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		dir, name := root, "memory.max" // version 2, whose list of controllers is empty
		if fields[1] != "" {
			dir, name = root+"/memory", "memory.limit_in_bytes"
			if !hasController(fields[1], "memory") {
				continue
			}
		}
		for p := path.Clean("/" + fields[2]); ; p = path.Dir(p) {
			if n := readLimit(dir + p + "/" + name); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if p == "/" {
				break
			}
		}
	}
	return least
}

func hasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// readLimit returns the limit in a file, zero if there is none. In version 2 that is "max"; in
// version 1 it is a number larger than the memory of any machine.
func readLimit(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
