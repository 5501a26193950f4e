package admin

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"time"
)

// Seconds of a CPU profile or a trace: unless the request says otherwise, and at most.
const (
	defaultSeconds = 10
	maxSeconds     = 60
)

// listProfiles answers with the names of the profiles. net/http/pprof is not used: its import
// would put the profiles on http.DefaultServeMux, which may be open to everybody.
func listProfiles(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	for _, p := range pprof.Profiles() {
		fmt.Fprintf(&b, "%-14s %d\n", p.Name(), p.Count())
	}
	b.WriteString("profile        ?seconds=10\ntrace          ?seconds=1\n")
	write(w, http.StatusOK, "text/plain; charset=utf-8", []byte(b.String()))
}

// serveProfile answers with one profile.
func serveProfile(w http.ResponseWriter, r *http.Request) {
	switch name := r.PathValue("name"); name {
	case "profile":
		record(w, r, "profile", func(b *bytes.Buffer) error { return pprof.StartCPUProfile(b) }, pprof.StopCPUProfile)
	case "trace":
		record(w, r, "trace", func(b *bytes.Buffer) error { return trace.Start(b) }, trace.Stop)
	default:
		p := pprof.Lookup(name)
		if p == nil {
			fail(w, http.StatusNotFound, "no such profile")
			return
		}
		debug, err := numberOf(r, "debug", 0, 2, 0)
		if err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		var b bytes.Buffer
		if err := p.WriteTo(&b, debug); err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		contentType := "application/octet-stream"
		if debug > 0 {
			contentType = "text/plain; charset=utf-8"
		}
		write(w, http.StatusOK, contentType, b.Bytes())
	}
}

// record answers with what start records in the seconds that the request asks for. One recording
// of a kind runs at a time.
func record(w http.ResponseWriter, r *http.Request, name string, start func(*bytes.Buffer) error, stop func()) {
	seconds, err := numberOf(r, "seconds", 1, maxSeconds, defaultSeconds)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	took := time.Duration(seconds) * time.Second
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(took + writeTimeout)) // fails only where there is none
	var b bytes.Buffer
	if err := start(&b); err != nil {
		fail(w, http.StatusConflict, err.Error())
		return
	}
	timer := time.NewTimer(took)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
	stop()
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	write(w, http.StatusOK, "application/octet-stream", b.Bytes())
}

// numberOf returns the parameter of a request that has that name.
func numberOf(r *http.Request, name string, least, most, without int) (int, error) {
	q, err := parameters(r)
	if err != nil {
		return 0, err
	}
	return number(q, name, least, most, without)
}

// number returns the parameter of that name.
func number(q url.Values, name string, least, most, without int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return without, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s must be a number from %d to %d", name, least, most)
	}
	return n, nil
}
