package app

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"wireline/config"
	"wireline/internal/tlsfiles"
)

const (
	// watchInterval is the time between two polls of the configuration file.
	watchInterval = time.Second

	// maxConfig is how much of the file is read: one byte more than package config accepts.
	maxConfig = 1<<20 + 1
)

// digest stands for the contents of a file.
type digest [sha256.Size]byte

// configFile is the configuration file. It remembers the contents that were read last. The file is
// opened by its name each time: the name may be that of a symbolic link, or the file may be in a folder
// that is one, as Kubernetes mounts it.
type configFile struct {
	mu   sync.Mutex
	last digest
}

// readFirst reads the file at the start, as package config does.
func (f *configFile) readFirst(name string) ([]byte, error) {
	return f.remember(config.ReadFile(name))
}

// readAgain reads the file while the program runs: within 10 seconds, and only a regular file.
func (f *configFile) readAgain(name string) ([]byte, error) { return f.remember(readRegular(name)) }

// readRegular reads a file as readAgain does, but does not remember its contents.
func readRegular(name string) ([]byte, error) {
	return tlsfiles.NewReader().FileUpTo(name, maxConfig)
}

// remember stores what was read, unless it could not be read.
func (f *configFile) remember(data []byte, err error) ([]byte, error) {
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.last = sha256.Sum256(data)
	}
	return data, err
}

// lastRead returns the contents that were read last.
func (f *configFile) lastRead() digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// watcher reads the configuration file once a second, and reloads the configuration when the contents
// are not those that were read last. A file that is being written differs from poll to poll: the
// watcher waits until two polls agree.
type watcher struct {
	read     func() ([]byte, error)
	lastRead func() digest
	reload   func()
	log      *slog.Logger

	mu     sync.Mutex
	stop   context.CancelFunc // nil while it does not poll
	closed bool
}

// polls are the reads of a watcher, one after the other.
type polls struct {
	*watcher
	before *digest // of the poll before; nil if there was none, or if it failed
	failed bool    // the poll before failed, and the log says so
}

// close stops the polls for good.
func (w *watcher) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.set(false)
}

// set starts or stops the polls. It does not wait for a read that is under way. After close it starts
// none.
func (w *watcher) set(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	on = on && !w.closed
	switch {
	case on && w.stop == nil:
		var ctx context.Context
		ctx, w.stop = context.WithCancel(context.Background())
		go w.run(ctx)
	case !on && w.stop != nil:
		w.stop()
		w.stop = nil
	}
}

// run polls until ctx ends.
func (w *watcher) run(ctx context.Context) {
	p := polls{watcher: w}
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		if ctx.Err() != nil {
			return
		}
		data, err := w.read()
		if ctx.Err() != nil {
			return
		}
		p.handle(data, err)
	}
}

// handle compares the result of a poll with the one before, and reloads if the file has changed.
func (p *polls) handle(data []byte, err error) {
	if err != nil {
		if !p.failed {
			p.log.Warn("configuration file cannot be read", "err", err)
		}
		p.failed, p.before = true, nil
		return
	}
	if p.failed {
		p.failed = false
		p.log.Info("configuration file can be read again")
	}
	now := digest(sha256.Sum256(data))
	agree := p.before != nil && *p.before == now
	p.before = &now
	if agree && now != p.lastRead() {
		p.reload()
	}
}
