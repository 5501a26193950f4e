package main

import (
	"fmt"
	"testing"
)

func TestHistory(t *testing.T) {
	for _, test := range []struct {
		size, added int
		want        string
	}{
		{0, 3, "[]"},
		{3, 0, "[]"},
		{3, 2, "[0 1]"},
		{3, 3, "[0 1 2]"},
		{3, 4, "[1 2 3]"},
		{3, 8, "[5 6 7]"},
		{1, 5, "[4]"},
	} {
		h := history{size: test.size}
		for i := range test.added {
			h.add(message{line: fmt.Sprint(i)})
		}
		lines := []string{}
		for m := range h.all() {
			lines = append(lines, m.line)
		}
		if got := fmt.Sprint(lines); got != test.want {
			t.Errorf("%d of %d messages: %s, want %s", test.size, test.added, got, test.want)
		}
	}
}
