package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"wireline/examples/gateway/protocol"
	"wireline/hub"
	"wireline/lib/frame"
)

// maxCommandTimeout is the longest timeout of a command. Each holds a connection of its caller.
const maxCommandTimeout = time.Minute

// maxCommands is how many commands may be under way. The connections of those that wait must leave some
// for monitoring.
const maxCommands = 1000

const (
	answerTimeout = 10 * time.Second // for an answer to be written
	kickTimeout   = 5 * time.Second  // another process may have the device
)

// api sends commands to devices over HTTP. The admin side, of which it is a part, checks who may do
// so, and how large a request may be.
type api struct {
	gateway  *gateway
	waiting  chan struct{}           // has room for each command that is under way
	settings atomic.Pointer[Devices] // in force
}

func newAPI(g *gateway, settings *Devices) *api {
	a := &api{gateway: g, waiting: make(chan struct{}, maxCommands)}
	a.settings.Store(settings)
	return a
}

// routes has all that can be asked for.
func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /devices", a.list)
	mux.HandleFunc("POST /devices/{id}/command", a.command)
	mux.HandleFunc("DELETE /devices/{id}", a.kick)
	return mux
}

// devices is the answer to GET /devices, ordered by the ids.
type devices struct {
	Devices   []deviceInfo `json:"devices"`             // of this process
	Elsewhere []string     `json:"elsewhere,omitempty"` // ids of the devices of other processes
	Error     string       `json:"error,omitempty"`     // why Elsewhere may lack some
}

// list answers with the devices.
func (a *api) list(w http.ResponseWriter, r *http.Request) {
	here, elsewhere, err := a.gateway.devices(r.Context())
	slices.SortFunc(here, func(a, b deviceInfo) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(elsewhere)
	answer := devices{Devices: append([]deviceInfo{}, here...), Elsewhere: elsewhere}
	if err != nil {
		answer.Error = err.Error()
	}
	writeJSON(w, http.StatusOK, answer)
}

// command sends the body to a device, and answers with the output of the device.
func (a *api) command(w http.ResponseWriter, r *http.Request) {
	timeout, err := a.timeoutOf(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	command, err := io.ReadAll(r.Body)
	if err != nil {
		fail(w, bodyStatus(err), err)
		return
	}
	if max := a.settings.Load().MaxPayload; len(command) > max {
		fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the command is longer than %d bytes", max))
		return
	}
	select {
	case a.waiting <- struct{}{}:
		defer func() { <-a.waiting }()
	default:
		w.Header().Set("Connection", "close")
		fail(w, http.StatusTooManyRequests, fmt.Errorf("%d commands are under way", maxCommands))
		return
	}
	// The admin side's own deadline for the answer is for requests that do not wait.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + answerTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	result, err := a.gateway.command(ctx, r.PathValue("id"), command)
	if err == nil && result.Refused {
		err = refusedError(result.Output)
	}
	a.note("command", r, err)
	if err != nil {
		failCommand(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(result.Output)
}

// refusedError is what a device says that has refused a command.
type refusedError string

func (e refusedError) Error() string { return "the device has refused the command: " + string(e) }

// note logs what a request has done to a device.
func (a *api) note(what string, r *http.Request, err error) {
	log := a.gateway.log.With("device", r.PathValue("id"), "client", r.RemoteAddr)
	if err != nil {
		log = log.With("err", err)
	}
	log.Info(what)
}

// timeoutOf returns the timeout that a request asks for.
func (a *api) timeoutOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("timeout")
	if text == "" {
		return a.settings.Load().CommandTimeout, nil
	}
	timeout, err := time.ParseDuration(text)
	if err != nil || timeout <= 0 || timeout > maxCommandTimeout {
		return 0, fmt.Errorf("the timeout must be a duration up to %v, such as 2s", maxCommandTimeout)
	}
	return timeout, nil
}

// kick ends the connection of a device.
func (a *api) kick(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), kickTimeout)
	defer cancel()
	err := a.gateway.kick(ctx, r.PathValue("id"))
	a.note("kick", r, err)
	if err != nil {
		failCommand(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// bodyStatus returns the status for a body that could not be read.
func bodyStatus(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	}
	return http.StatusBadRequest
}

// failCommand answers a request whose command, or kick, has failed.
func failCommand(w http.ResponseWriter, err error) {
	status := commandStatus(err)
	switch status {
	case http.StatusNotFound:
		err = errors.New("no device with this id is connected")
	case http.StatusGatewayTimeout:
		err = errors.New("the device has not answered in time")
	}
	fail(w, status, err)
}

// commandStatus returns the status for a command without an answer. After StatusGatewayTimeout and
// StatusServiceUnavailable the device may have executed it.
func commandStatus(err error) int {
	var refused refusedError
	var invalid *protocol.Error
	switch {
	case errors.Is(err, hub.ErrUnknown), errors.Is(err, hub.ErrName):
		return http.StatusNotFound
	case errors.As(err, &refused), errors.Is(err, hub.ErrIDInUse):
		return http.StatusConflict
	case errors.Is(err, frame.ErrTooLong): // for a device that came before a reload
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &invalid):
		return http.StatusBadGateway
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	// The device reads too slowly, or has ended, or another process of the gateway does not answer, or
	// this one stops.
	return http.StatusServiceUnavailable
}

func fail(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error": "the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
