//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestReadReport(t *testing.T) {
	m := measurement{Requests: 1000}
	err := readReport([]byte(`"test","rps","p50_latency_ms","p99_latency_ms","max_latency_ms"
"GET","2000.00","0.100","0.200","0.300"
`), &m)
	if err != nil {
		t.Fatal(err)
	}
	if m.Wall != 500*time.Millisecond || m.P50 != 100*time.Microsecond || m.Max != 300*time.Microsecond {
		t.Errorf("got %+v", m)
	}
	for _, bad := range []string{"", "Connection refused\n", "\"test\",\"rps\"\n\"GET\",\"fast\"\n", "\"test\",\"rps\"\n\"GET\",\"0\"\n"} {
		if err := readReport([]byte(bad), &m); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestKV(t *testing.T) {
	b := newBench(t)
	reason, err := b.prepareKV(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if reason != "" {
		t.Skip(reason)
	}
	var out bytes.Buffer
	b.out, b.rounds = &out, 1
	var r results
	if err := b.runKV(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.KV) != len(questions) {
		t.Errorf("%d of %d questions were answered", len(r.KV), len(questions))
	}
	for _, q := range questions {
		if !strings.Contains(out.String(), q.test) {
			t.Errorf("%s is not in the table:\n%s", q.test, &out)
		}
	}
}
