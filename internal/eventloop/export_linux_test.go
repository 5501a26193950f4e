package eventloop

import (
	"math"

	"golang.org/x/sys/unix"
)

// Blocking reports whether functions are run on goroutines of their own.
func (g *Group) Blocking() bool { return g.learnt.blocking.Load() }

// Workers counts the goroutines that keep a socket.
func (g *Group) Workers() int { return g.engine.workers.len() }

// Loads counts the sockets of each loop.
func (g *Group) Loads() (loads []int64) {
	for _, l := range g.engine.loops {
		loads = append(loads, l.sockets.Load())
	}
	return loads
}

// SharesWith reports whether two groups have the same loops.
func (g *Group) SharesWith(other *Group) bool { return g.engine == other.engine }

// Watchdog tells what the watchdog's timer in the kernel is set to: "ticks", "once"
// or "stopped".
func (g *Group) Watchdog() string {
	state := "closed"
	g.engine.watchdog.raw.Control(func(fd uintptr) {
		var spec unix.ItimerSpec
		switch err := unix.TimerfdGettime(int(fd), &spec); {
		case err != nil:
			state = err.Error()
		case spec.Interval != unix.Timespec{}:
			state = "ticks"
		case spec.Value != unix.Timespec{}:
			state = "once"
		default:
			state = "stopped"
		}
	})
	return state
}

// TooHigh is the first file descriptor that there is no room for.
const TooHigh = maxChunks << chunkBits

const never = math.MaxInt64
