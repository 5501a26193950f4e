package proxy

import (
	"crypto/tls"
	"sync"
)

// lastSession is the tls.ClientSessionCache of one upstream, which has no use for the key.
type lastSession struct {
	mu      sync.Mutex
	session *tls.ClientSessionState
}

// Get implements tls.ClientSessionCache.
func (l *lastSession) Get(string) (session *tls.ClientSessionState, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.session != nil
}

// Put implements tls.ClientSessionCache.
func (l *lastSession) Put(_ string, session *tls.ClientSessionState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = session
}

// maxPuts is how many calls of Put of a foreign cache may be under way. Sessions beyond that
// are lost.
const maxPuts = 16

// foreignSessions is the cache of Proxy.TLSConfig, for one upstream. A session of TLS 1.3 comes
// after the handshake, on an event loop: so Put is called in a goroutine.
type foreignSessions struct {
	tls.ClientSessionCache
	upstream *upstream
	puts     chan struct{} // one for each Put that is under way
}

// Put implements tls.ClientSessionCache.
func (f *foreignSessions) Put(key string, session *tls.ClientSessionState) {
	select {
	case f.puts <- struct{}{}:
		go f.put(key, session)
	default:
	}
}

func (f *foreignSessions) put(key string, session *tls.ClientSessionState) {
	returned := false
	defer func() {
		<-f.puts
		if !returned {
			f.upstream.logPanic("the session cache for an upstream panicked", recover())
		}
	}()
	f.ClientSessionCache.Put(key, session)
	returned = true
}
