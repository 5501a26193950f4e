package testutil

import (
	"strconv"
	"strings"
	"testing"
)

// Metrics returns the samples in text, which is in the format of Prometheus, by name and labels:
// those whose names begin with prefix.
func Metrics(t testing.TB, text, prefix string) map[string]float64 {
	t.Helper()
	metrics := make(map[string]float64)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		metrics[line[:i]] = v
	}
	return metrics
}
