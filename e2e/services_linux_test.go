package e2e

import (
	"fmt"
	"os"
	"testing"
)

// Services share the event loops: three of them have as many as one has.
func TestServicesShareLoops(t *testing.T) {
	t.Parallel()
	one := start(t)
	echoes(t, one.dial(), "hello\n")
	three := startServices(t, unchanged)
	three.listening(3)
	for _, name := range []string{"lines", "secure", "front"} {
		echoes(t, three.dial(name), "hello\n")
	}
	if a, b := one.pollers(), three.pollers(); a != b || a == 0 {
		t.Errorf("one service has %d pollers of the kernel, three have %d", a, b)
	}
	one.stop()
	three.stop()
}

// pollers counts the epoll descriptors of the process: one is the runtime's.
func (p *process) pollers() (n int) {
	p.t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	files, err := os.ReadDir(folder)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		if name, _ := os.Readlink(folder + "/" + file.Name()); name == "anon_inode:[eventpoll]" {
			n++
		}
	}
	return n
}
