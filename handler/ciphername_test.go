package handler

import (
	"crypto/tls"
	"testing"
)

func TestCipherName(t *testing.T) {
	ids := []uint16{0, 0xffff}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, suite.ID)
	}
	for _, id := range ids {
		for range 2 {
			if got, want := cipherName(id), tls.CipherSuiteName(id); got != want {
				t.Errorf("%#x is %q, want %q", id, got, want)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { cipherName(tls.TLS_AES_128_GCM_SHA256) }); n > 1 {
		t.Errorf("%v allocations for a name that is known", n)
	}
}
