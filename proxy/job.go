package proxy

import (
	"context"
	"time"
)

// job is what a goroutine does for an upstream in the background. Proxy.changes guards it.
type job struct {
	stop    context.CancelFunc // nil if it is not being done
	purpose purpose
}

// purpose is what a job is begun anew for, if that changes.
type purpose struct {
	generation int
	interval   time.Duration
}

// set begins the job, or ends it if it is not wanted. For another purpose it begins anew.
func (j *job) set(x *Proxy, wanted bool, p purpose, do func(context.Context)) {
	if !wanted || j.purpose != p {
		j.end()
	}
	if !wanted || j.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(x.ctx)
	j.stop, j.purpose = stop, p
	x.run(func(context.Context) { do(ctx) })
}

// end ends the job, without waiting for its goroutine.
func (j *job) end() {
	if j.stop != nil {
		j.stop()
		j.stop = nil
	}
}

// work begins and ends the jobs for an upstream as the settings say. Nothing is done before Start.
// The caller holds changes.
func (x *Proxy) work(u *upstream) {
	if !x.working {
		return
	}
	s := x.settings.Load()
	p := purpose{generation: s.generation}
	u.filling.set(x, s.cfg.Pool.Size > 0, p, u.pool.fill)
	p.interval = s.cfg.Health.Interval
	u.checking.set(x, p.interval > 0, p, func(ctx context.Context) { u.health.check(ctx, p.interval) })
}
