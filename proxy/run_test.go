package proxy

import (
	"context"
	"testing"
)

// What is begun after the end sees it, and leaves no goroutine behind.
func TestRunAfterTheEnd(t *testing.T) {
	x := &Proxy{Config: Config{Upstreams: []string{"127.0.0.1:1"}}}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	ran := false
	x.run(func(ctx context.Context) { ran = ctx.Err() != nil })
	if !ran || x.background.Count() != 0 {
		t.Errorf("ran with an ended context %t, %d goroutines", ran, x.background.Count())
	}
}
