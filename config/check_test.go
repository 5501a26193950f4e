package config_test

import (
	"testing"

	"wireline/config"
)

func TestIsItself(t *testing.T) {
	for _, test := range []struct {
		network, own, upstream string
		want                   bool
	}{
		{"tcp", ":8000", "127.0.0.1:8000", true},
		{"tcp", ":8000", "[::1]:8000", true},
		{"tcp", ":8000", "localhost:8000", true},
		{"tcp", "0.0.0.0:8000", "127.0.0.1:8000", true},
		{"tcp", "127.0.0.1:8000", "0.0.0.0:8000", true},
		{"tcp", "localhost:8000", "127.0.0.1:8000", true},
		{"tcp", "10.0.0.7:8000", "10.0.0.7:8000", true},
		{"tcp", "a.example:8000", "a.example:8000", true},
		{"unix", "/run/s", "unix:/run/./s", true},

		{"tcp", ":8000", "127.0.0.1:8001", false},
		{"tcp", ":8000", "10.0.0.7:8000", false}, // as far as anybody knows
		{"tcp", "10.0.0.7:8000", "127.0.0.1:8000", false},
		{"tcp", "10.0.0.7:8000", "localhost:8000", false},
		{"tcp", "10.0.0.7:8000", "10.0.0.8:8000", false},
		{"tcp", "127.0.0.2:8000", "127.0.0.1:8000", false},
		{"tcp", ":8000", "unix:/run/s", false},
		{"unix", "/run/s", "127.0.0.1:8000", false},
		{"tcp", ":0", "127.0.0.1:8000", false},
	} {
		if got := config.IsItself(test.network, test.own, test.upstream); got != test.want {
			t.Errorf("%s %s, upstream %s: %v, want %v", test.network, test.own, test.upstream, got, test.want)
		}
	}
}
