package tcp

import (
	"context"

	"wireline/handler"
)

// ListenAndServe runs a server of cfg and h as the only one of a Group: it listens as cfg
// says, serves with h, and stops in good order when the process is told to, by SIGINT,
// SIGTERM, SIGQUIT or SIGHUP (unless SIGHUP was ignored from the start, as nohup does). A
// second signal cuts the drain short. A nil cfg is the zero Config.
//
// It returns nil after a clean stop, a *StartError when it did not begin to serve, ErrCut when
// connections had to be reset, and otherwise what ended the listener; see Group.Run.
func ListenAndServe(cfg *Config, h handler.Handler) error {
	s := &Server{Handler: h}
	if cfg != nil {
		s.Config = *cfg
	}
	g := Group{Servers: []*Server{s}}
	return g.Run(context.Background())
}
