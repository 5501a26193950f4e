package client

import (
	"errors"
	"fmt"
	"io"
	"net"

	"wireline/handler"
)

var (
	// ErrLost is the error of a request whose connection has ended after it was given to it: the
	// server may have served it or not. It is joined with the reason. Nothing of that kind is sent
	// again by itself.
	ErrLost = errors.New("client: the connection was lost")

	// ErrAway is returned while there is no connection, if Dialer.MaxQueued says that nothing
	// waits. It is joined with the last failure. Nothing was sent.
	ErrAway = errors.New("client: not connected")

	// ErrQueueFull is returned while there is no connection, and MaxQueued bytes wait for one.
	// Nothing was sent.
	ErrQueueFull = errors.New("client: the queue is full")

	// ErrNoID is returned by Request if Dialer.ID finds no id in the payload, or is not set. Nothing
	// was sent.
	ErrNoID = errors.New("client: the request has no id")

	// ErrIDInUse is returned by Request if a request with the id is under way, or was given up and
	// its answer may still come. Nothing was sent.
	ErrIDInUse = errors.New("client: a request with this id is under way")

	// ErrClosed is returned after Close or Shutdown, of the Conn or the Dialer.
	// errors.Is(ErrClosed, net.ErrClosed) is true.
	ErrClosed error = closedError{}

	// ErrSilent is why a connection was ended on which the server has sent nothing for
	// Dialer.KeepAlive.
	ErrSilent = errors.New("client: the server is silent")

	// ErrUnanswered is why a connection was ended whose server has left Dialer.MaxInFlight requests
	// without an answer that were given up meanwhile.
	ErrUnanswered = errors.New("client: the server leaves requests without an answer")
)

type closedError struct{}

func (closedError) Error() string        { return "client: closed" }
func (closedError) Is(target error) bool { return target == net.ErrClosed }

// errPanicked is why a connection was ended, or not made, in whose function of the user's there was a
// panic.
var errPanicked = errors.New("client: a function panicked")

// lost is the error of what was given to a connection that has ended because of err.
func lost(err error) error { return fmt.Errorf("%w: %w", ErrLost, err) }

// reasonOf returns why a connection has ended. In the records of package handler, the client is
// the peer, which is the server here.
func reasonOf(r handler.Record) error {
	switch {
	case r.Reason == handler.ReasonFIN:
		return fmt.Errorf("closed by the server: %w", io.EOF)
	case r.Reason == handler.ReasonReadTimeout:
		return ErrSilent
	case r.Reason == handler.ReasonPanic:
		return errPanicked
	case r.Err != nil:
		return r.Err
	}
	return fmt.Errorf("the connection has ended: %s", r.Reason)
}
