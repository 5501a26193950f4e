package tcp

import (
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
)

// signals are those that a group listens to.
type signals struct {
	stops   chan os.Signal
	reloads chan os.Signal
	pipe    chan os.Signal // nobody reads it: with it, a write to a broken pipe only fails
}

// notify makes the process deliver the group's signals.
func (g *Group) notify() signals {
	s := signals{stops: make(chan os.Signal, 2), reloads: make(chan os.Signal, 1), pipe: make(chan os.Signal, 1)}
	stops := g.Signals
	if stops == nil {
		stops = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}
		if !signal.Ignored(syscall.SIGHUP) {
			stops = append(stops, syscall.SIGHUP)
		}
	}
	if g.OnReload != nil {
		stops = slices.DeleteFunc(slices.Clone(stops), func(sig os.Signal) bool { return sig == syscall.SIGHUP })
		signal.Notify(s.reloads, syscall.SIGHUP)
	}
	if len(stops) > 0 { // else Notify would deliver all there are
		signal.Notify(s.stops, stops...)
	}
	if !signal.Ignored(syscall.SIGPIPE) {
		signal.Notify(s.pipe, syscall.SIGPIPE)
	}
	return s
}

// stop gives the signals back to the process.
func (s signals) stop() {
	signal.Stop(s.stops)
	signal.Stop(s.reloads)
	signal.Stop(s.pipe)
}

// onReload calls f for each SIGHUP, until stop is called. From then on SIGHUP does nothing.
func (s signals) onReload(f func()) (stop func()) {
	if f == nil {
		return func() {}
	}
	stopped := make(chan struct{})
	go func() {
		for {
			select {
			case <-s.reloads:
			case <-stopped:
				return
			}
			select {
			case <-stopped:
				return
			default:
				f()
			}
		}
	}()
	return sync.OnceFunc(func() { close(stopped) })
}
