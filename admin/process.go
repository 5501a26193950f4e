package admin

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// healthz says that the process lives.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

// readyz says whether a balancer should send clients: every server accepts, and none has begun
// to stop.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if name := s.unready(); name != "" {
		write(w, http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte("not ready: "+name+"\n"))
		return
	}
	write(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ready\n"))
}

// unready names a service that is not ready, or says that there is none. It returns "" if all are
// ready. A service that was removed after the list was made does not count.
func (s *Server) unready() string {
	for {
		list := s.current()
		if len(list) == 0 {
			return "no service"
		}
		i := slices.IndexFunc(list, func(x service) bool { return !x.Ready() })
		if i < 0 {
			return ""
		}
		is := func(x service) bool { return x.Server == list[i].Server }
		if slices.ContainsFunc(s.current(), is) {
			return list[i].name
		}
	}
}

// showConfig answers with the configuration in force.
func (s *Server) showConfig(w http.ResponseWriter, _ *http.Request) {
	if s.Settings == nil {
		fail(w, http.StatusNotFound, "this program does not show its configuration")
		return
	}
	answer(w, s.Settings())
}

// ReloadResult is the answer to POST /api/reload.
type ReloadResult struct {
	// Changed are the keys whose new values are in force.
	Changed []string `json:"changed"`

	// Added and Removed are the names of services. Those that are removed drain.
	Added   []string `json:"added"`
	Removed []string `json:"removed"`

	// Kept are the keys that have new values, but cannot change before the program is restarted.
	Kept []string `json:"kept"`
}

// IsEmpty reports whether nothing has changed.
func (r *ReloadResult) IsEmpty() bool {
	return len(r.Changed) == 0 && len(r.Added) == 0 && len(r.Removed) == 0
}

// noNil returns r without nil, which would be null in JSON.
func (r ReloadResult) noNil() ReloadResult {
	for _, list := range []*[]string{&r.Changed, &r.Added, &r.Removed, &r.Kept} {
		if *list == nil {
			*list = []string{}
		}
	}
	return r
}

// reload loads the configuration again.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if s.Reload == nil {
		fail(w, http.StatusNotFound, "this program has no configuration file to read again")
		return
	}
	// The reload may wait for another one, and each for names, addresses and files.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reloadTimeout)) // fails only where there is none
	// A client that goes away must not leave a reload half done.
	result, err := s.Reload(context.WithoutCancel(r.Context()))
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	answer(w, result.noNil())
}

// level is the body of the requests about the log.
type level struct {
	Level slog.Level `json:"level"`
}

func (s *Server) showLevel(w http.ResponseWriter, _ *http.Request) {
	if s.Level == nil {
		fail(w, http.StatusNotFound, "the level of this program's log is fixed")
		return
	}
	answer(w, level{s.Level.Level()})
}

// setLevel changes the level of the log. It is logged, at the higher of the two levels, but at
// least as a warning: whoever reads the log is to know why lines are missing.
func (s *Server) setLevel(w http.ResponseWriter, r *http.Request) {
	if s.Level == nil {
		fail(w, http.StatusNotFound, "the level of this program's log is fixed")
		return
	}
	var body struct {
		Level *slog.Level `json:"level"`
	}
	if !readBody(w, r, &body) {
		return
	}
	if body.Level == nil {
		fail(w, http.StatusBadRequest, "body: no level")
		return
	}
	after := *body.Level
	if after < slog.LevelDebug || after > slog.LevelError {
		fail(w, http.StatusBadRequest, "body: the level is not from debug to error")
		return
	}
	before := s.Level.Level()
	s.Level.Set(after)
	s.log().Log(r.Context(), max(slog.LevelWarn, before, after), "log level changed", "from", before.String(), "to", after.String(), "client", r.RemoteAddr)
	answer(w, level{after})
}
