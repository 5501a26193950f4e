package tcp

import (
	"crypto/rand"
	"crypto/tls"
	"slices"
	"sync"
	"time"
)

const (
	// ticketRotation is how long a key encrypts new session tickets. The first handshake
	// after it makes a new key.
	ticketRotation = 12 * time.Hour

	// ticketKeyLifetime is how long a key decrypts tickets. Whoever learns a key can read
	// the sessions of TLS 1.2 that were recorded meanwhile (RFC 8446, appendix F.1 and
	// RFC 5077, section 5.5).
	ticketKeyLifetime = ticketRotation + 24*time.Hour
)

// tickets are the keys of a server's session tickets. They belong to the server, and not to
// a configuration of crypto/tls: so clients resume their sessions after a reload. The zero
// value is ready to use.
type tickets struct {
	mu   sync.Mutex
	cfg  *tls.Config // the one that has the keys
	keys []ticketKey // the newest first
}

type ticketKey struct {
	secret [32]byte
	made   time.Time
}

// refresh gives cfg the keys that are in force now. Only the first configuration of a
// handshake has to have them, not the one that its GetConfigForClient returns.
func (t *tickets) refresh(cfg *tls.Config) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.rotate() && t.cfg == cfg {
		return
	}
	t.cfg = cfg
	var secrets [][32]byte
	for _, key := range t.keys {
		secrets = append(secrets, key.secret)
	}
	cfg.SetSessionTicketKeys(secrets)
}

// rotate makes a new key and forgets old ones, where it is time to, and reports whether the
// keys have changed.
func (t *tickets) rotate() (changed bool) {
	now := time.Now()
	n := len(t.keys)
	t.keys = slices.DeleteFunc(t.keys, func(k ticketKey) bool { return now.Sub(k.made) >= ticketKeyLifetime })
	if len(t.keys) > 0 && now.Sub(t.keys[0].made) < ticketRotation {
		return len(t.keys) < n
	}
	key := ticketKey{made: now}
	rand.Read(key.secret[:]) // never fails
	t.keys = slices.Insert(t.keys, 0, key)
	return true
}
