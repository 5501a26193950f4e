package main

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"wireline/examples/rpc/proto"
)

// methods are those of the server, by name.
var methods = map[string]method{
	"ping":   {run: ping},
	"echo":   {run: echo},
	"add":    {run: add},
	"stats":  {run: stats},
	"sleep":  {run: sleep, slow: true},
	"notify": {run: notify, slow: true},
}

// ping returns nothing.
func ping(context.Context, *server, json.RawMessage) (any, error) { return nil, nil }

// echo returns its params.
func echo(_ context.Context, _ *server, params json.RawMessage) (any, error) { return params, nil }

// add returns the sum of numbers.
func add(_ context.Context, _ *server, params json.RawMessage) (any, error) {
	var numbers []float64
	if err := json.Unmarshal(params, &numbers); err != nil {
		return nil, proto.Errorf(proto.CodeBadParams, "add wants numbers: %v", err)
	}
	sum := 0.0
	for _, n := range numbers {
		sum += n
	}
	if math.IsInf(sum, 0) {
		return nil, proto.Errorf(proto.CodeBadParams, "the sum is too large")
	}
	return sum, nil
}

// sleep waits for as many milliseconds as it is told, and returns their number.
func sleep(ctx context.Context, _ *server, params json.RawMessage) (any, error) {
	var ms uint32
	if err := json.Unmarshal(params, &ms); err != nil {
		return nil, proto.Errorf(proto.CodeBadParams, "sleep wants milliseconds: %v", err)
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return ms, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// notify sends its params to all clients as a notice, and returns to how many.
func notify(_ context.Context, s *server, params json.RawMessage) (any, error) {
	return s.notify(params)
}

// statistics are the result of stats.
type statistics struct {
	Clients  int    `json:"clients"`
	Calls    uint64 `json:"calls"`
	Failures uint64 `json:"failures"`
}

// stats returns what the server has done.
func stats(_ context.Context, s *server, _ json.RawMessage) (any, error) {
	clients := 0
	for range s.frames.Clients().All() {
		clients++
	}
	return statistics{clients, s.calls.Load(), s.failures.Load()}, nil
}
