package handshakes

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/testutil"
)

// newHandshake returns a handshake whose function of the tls.Config calls f.
func newHandshake(t *testing.T, cert *tls.Certificate, f func()) (one Handshake, client *tls.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		f()
		return cert, nil
	}}
	return Handshake{Conn: tls.Server(ours, config)}, tls.Client(theirs, &tls.Config{InsecureSkipVerify: true})
}

// A handshake that hangs beyond the end of its context is abandoned, and there are not too many
// of those. One that ends soon does not count.
func TestMakeHangs(t *testing.T) {
	cert := testutil.SelfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		var all Limiter
		all.hung.Store(maxHung - 1)
		wantHung := func(n int32) {
			t.Helper()
			if hung := all.hung.Load(); hung != n {
				t.Errorf("%d hang, want %d", hung, n)
			}
		}
		opened := make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hangs, client := newHandshake(t, &cert, func() { <-opened })
		abandoned, ended := make(chan time.Time, 1), make(chan bool)
		hangs.Abandoned = func() { abandoned <- time.Now() }
		began := time.Now()
		go client.Handshake()
		go func() {
			_, mine := all.Make(ctx, hangs)
			ended <- mine
		}()
		silent, _ := newHandshake(t, &cert, func() {})
		silent.Abandoned = func() {}
		if err, mine := all.Make(ctx, silent); err == nil && mine {
			t.Error("no error")
		}
		if took := (<-abandoned).Sub(began); took != time.Second {
			t.Errorf("abandoned after %v", took)
		}
		time.Sleep(hungAfter - 1)
		wantHung(maxHung - 1)
		time.Sleep(2 * time.Nanosecond)
		wantHung(maxHung)
		one, client := newHandshake(t, &cert, func() {})
		if err, mine := all.Make(t.Context(), one); err != ErrHung || !mine {
			t.Errorf("%v, %v; want that too many hang", err, mine)
		}
		close(opened)
		if mine := <-ended; mine {
			t.Error("a handshake that was abandoned is its caller's")
		}
		wantHung(maxHung - 1)
		go client.Handshake()
		if err, mine := all.Make(t.Context(), one); err != nil || !mine {
			t.Errorf("%v, %v", err, mine)
		}
	})
}

// A panic is reported whether the handshake was abandoned or not.
func TestMakePanics(t *testing.T) {
	cert := testutil.SelfSigned(t)
	for name, end := range map[string]func(){"panic": func() { panic("as asked") }, "Goexit": runtime.Goexit} {
		for _, late := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var all Limiter
					one, client := newHandshake(t, &cert, func() {
						if late {
							time.Sleep(time.Hour)
						}
						end()
					})
					var reported, abandoned int
					one.Abandoned = func() { abandoned++ }
					one.Panicked = func(v any, wasAbandoned bool) {
						reported++
						if (v != nil) != (name == "panic") || wasAbandoned != late {
							t.Errorf("%v, %v", v, wasAbandoned)
						}
					}
					ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("late"))
					defer cancel()
					go client.Handshake()
					go func() {
						if _, mine := all.Make(ctx, one); mine {
							t.Error("it is its caller's")
						}
					}()
					time.Sleep(2 * time.Hour)
					synctest.Wait()
					if want := map[bool]int{true: 1}[late]; reported != 1 || abandoned != want || all.hung.Load() != 0 {
						t.Errorf("reported %d, abandoned %d, %d hang", reported, abandoned, all.hung.Load())
					}
					client.NetConn().Close()
				})
			})
		}
	}
}
