package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"go.uber.org/atomic"

	"wireline/examples/rpc/proto"
	"wireline/handler"
	"wireline/lib/frame"
)

// server answers requests.
type server struct {
	RPC
	frames  handler.Frames
	methods map[string]method

	calls, failures atomic.Uint64
}

// method is what clients can call.
type method struct {
	// run returns the result, which becomes JSON. Its error is an *Error, or one of CodeFailed.
	run func(ctx context.Context, s *server, params json.RawMessage) (any, error)

	// slow methods run in a goroutine, beside further ones of the same client. The others are
	// answered in order.
	slow bool
}

func newServer(cfg RPC, log *slog.Logger, logAll bool) *server {
	s := &server{RPC: cfg, methods: methods}
	s.frames = handler.Frames{
		Codec:       proto.Codec(cfg.MaxMessage),
		OnFrame:     s.serve,
		MaxInFlight: cfg.MaxInFlight,
		IdleTimeout: cfg.IdleTimeout,
		OnRecord:    handler.LogFailures(log),
	}
	if logAll {
		s.frames.OnRecord = handler.LogRecords(log)
	}
	return s
}

// serve serves a message of a client.
func (s *server) serve(c *handler.Client, frame []byte) error {
	var request proto.Message // it has a copy of the params
	if err := json.Unmarshal(frame, &request); err != nil {
		return s.answer(c, 0, nil, proto.Errorf(proto.CodeBadRequest, "%v", err))
	}
	if request.ID == 0 {
		return s.answer(c, 0, nil, proto.Errorf(proto.CodeBadRequest, "no id"))
	}
	m, ok := s.methods[request.Method]
	if !ok {
		return s.answer(c, request.ID, nil, proto.Errorf(proto.CodeUnknownMethod, "%.100q", request.Method))
	}
	if m.slow {
		c.Go(func(ctx context.Context) error { return s.call(ctx, c, m, request) })
		return nil
	}
	return s.call(context.Background(), c, m, request) // it does not wait for anything
}

// call runs a method, and answers.
func (s *server) call(ctx context.Context, c *handler.Client, m method, request proto.Message) error {
	timed, cancel := context.WithTimeout(ctx, s.CallTimeout)
	defer cancel()
	result, err := m.run(timed, s, request.Params)
	if errors.Is(err, context.DeadlineExceeded) {
		err = proto.Errorf(proto.CodeTimeout, "%s has taken longer than %v", request.Method, s.CallTimeout)
	}
	return s.answer(c, request.ID, result, err)
}

// answer sends an answer to a client.
func (s *server) answer(c *handler.Client, id uint64, result any, err error) error {
	s.calls.Inc()
	message := proto.Answer(id, result, err)
	if message.Error != nil {
		s.failures.Inc()
	}
	err = send(c, message)
	if !errors.Is(err, frame.ErrTooLong) {
		return err
	}
	if message.Error == nil {
		s.failures.Inc()
	}
	return send(c, proto.Answer(id, nil, proto.Errorf(proto.CodeTooLarge, "the answer is longer than %d bytes", s.MaxMessage)))
}

// send sends a message to a client.
func send(c *handler.Client, m proto.Message) error {
	b, err := proto.Encode(m)
	if err != nil {
		return err
	}
	return c.WriteFrame(b)
}

// notify sends a notice to all clients, and returns to how many. One that reads too slowly does not get
// it. A notice is shorter than its request, so it is never too long.
func (s *server) notify(params json.RawMessage) (sent int, err error) {
	payload, err := proto.Encode(proto.Message{Method: "notice", Params: params})
	if err != nil {
		return 0, err
	}
	notice := handler.Message{Payload: payload} // encoded once for all
	for c := range s.frames.Clients().All() {
		if c.Offer(&notice) == nil {
			sent++
		}
	}
	return sent, nil
}
