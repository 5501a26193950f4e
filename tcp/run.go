package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"wireline/handler"
)

var (
	errSecondSignal = errors.New("second signal")
	errDrainTimeout = errors.New("drain time-out")
)

// ListenAndServe listens as cfg says, serves with h, and stops in good order
// when the process is told to: by SIGINT, SIGTERM, SIGQUIT or SIGHUP (unless
// that was ignored from the start, as nohup does). A second signal cuts the
// drain short. A nil cfg is the zero Config.
//
// It returns nil after a clean stop, ErrCut when connections had to be reset,
// and otherwise what kept it from serving: also what a method Validate() error of
// h says, where it has one.
func ListenAndServe(cfg *Config, h handler.Handler) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopSignals()...)
	defer signal.Stop(signals)

	srv := &Server{Handler: h}
	if cfg != nil {
		srv.Config = *cfg
	}
	if v, ok := h.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("tcp: handler: %w", err)
		}
	}
	ln, err := Listen(context.Background(), &srv.Config)
	if err != nil {
		return err
	}
	return srv.run(ln, signals)
}

func stopSignals() []os.Signal {
	stop := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) {
		stop = append(stop, syscall.SIGHUP)
	}
	return stop
}

// run serves ln until a signal comes, then drains.
func (s *Server) run(ln net.Listener, signals <-chan os.Signal) error {
	s.log().Info("listening", "addr", ln.Addr().String())
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln) }()
	select {
	case err := <-served: // the listener failed, but its clients need not suffer
		return errors.Join(err, s.stopOn(signals, 0))
	case sig := <-signals:
		s.log().Info("draining", "signal", sig.String(), "clients", s.serving.Count(),
			"grace", s.GraceDelay, "timeout", s.drainTimeout())
		err := s.stopOn(signals, s.GraceDelay)
		<-served
		return err
	}
}

// stopOn goes on as before for the grace time, then shuts the server down within
// DrainTimeout, and tells the log how it went. The next signal cuts it short,
// wherever it is.
func (s *Server) stopOn(signals <-chan os.Signal, grace time.Duration) error {
	ctx, cut := context.WithCancelCause(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-signals:
			cut(errSecondSignal)
		case <-ctx.Done():
		}
	})
	defer watch.Wait()
	defer cut(nil)

	pause(ctx, grace)
	bounded, cancel := context.WithTimeoutCause(ctx, s.drainTimeout(), errDrainTimeout)
	defer cancel()
	err := s.Shutdown(bounded)
	s.logDrain(err)
	return err
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *Server) logDrain(err error) {
	level, d := slog.LevelInfo, s.Drained()
	if err != nil {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.Int("idle", d.Idle),
		slog.Int("finished", d.Finished),
		slog.Int("cut", d.Cut),
		slog.Duration("took", d.Took.Round(time.Millisecond)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	s.log().LogAttrs(context.Background(), level, "drained", attrs...)
}
