package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"golang.org/x/time/rate"
)

// password is the password of operators. It is safe for concurrent use.
type password struct {
	set   bool
	sum   [sha256.Size]byte
	tries *rate.Limiter // of all connections together
}

func newPassword(text string) password {
	return password{
		set:   text != "",
		sum:   sha256.Sum256([]byte(text)),
		tries: rate.NewLimiter(rate.Every(time.Second), maxTries),
	}
}

// mayTry reports whether a text may be compared with the password now, and counts that as a try.
func (p *password) mayTry() bool { return p.tries.Allow() }

// is reports whether text is the password. It takes the same time for every text of its length, so
// that the time tells nothing.
func (p *password) is(text string) bool {
	sum := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(sum[:], p.sum[:]) == 1 && p.set
}
