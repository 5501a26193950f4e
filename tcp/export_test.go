package tcp

import (
	"net"

	"wireline/internal/tlsfiles"
	"wireline/lib/field"
)

// BeforeReads has s call wait before it reads the files of s.Config.TLS again, for each part of
// them with the name of its first file. Files in a folder that come later do not count.
func BeforeReads(s *Server, wait func(file string)) error {
	files, err := loadCredentials(&s.Config.TLS)
	if err != nil {
		return err
	}
	files.log = s.log
	files.build()
	for _, p := range files.pairs {
		delay(p, wait)
	}
	for _, p := range files.dir {
		delay(p, wait)
	}
	delay(files.authorities, wait)
	delay(files.staple, wait)
	s.TLSConfig = files.watched(s.log, &s.tickets)
	return nil
}

func delay[T any](p *tlsfiles.Part[T], wait func(string)) {
	if p != nil {
		p.Source = delayed[T]{p.Source, wait}
	}
}

// delayed is a source that calls wait before it is read.
type delayed[T any] struct {
	tlsfiles.Source[T]
	wait func(file string)
}

func (d delayed[T]) Read(r *tlsfiles.Reader, e *field.Errors) [][]byte {
	d.wait(d.String())
	return d.Source.Read(r, e)
}

// OwnListener returns the listener that s has opened itself.
func OwnListener(s *Server) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own.ln
}
