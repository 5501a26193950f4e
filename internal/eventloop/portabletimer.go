package eventloop

import "time"

// SetTimer implements Conn.
func (p *Portable) SetTimer(due int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone() {
		return
	}
	p.due = due
	switch after := time.Duration(due - p.Now()); {
	case due == 0:
		p.stopTimer()
	case p.timer == nil:
		p.timer = time.AfterFunc(after, p.expire)
	default:
		p.timer.Reset(after)
	}
}

func (p *Portable) stopTimer() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// expire is called by the timer. It does nothing if SetTimer has been called meanwhile.
func (p *Portable) expire() {
	p.mu.Lock()
	due := !p.gone() && p.due != 0 && p.due <= p.Now()
	if due {
		p.due = 0
		p.uses++
	}
	p.mu.Unlock()
	if due {
		defer p.release()
		p.handler.Expired()
	}
}
