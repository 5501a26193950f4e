package tcp

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/atomic"

	"wireline/lib/field"
)

// reloadEvery is the minimum time between two reads of the files. They are read during a
// handshake, and compared as a whole: equal times and sizes do not prove that they have not
// changed.
const reloadEvery = time.Second

// credentials are the contents of TLSFiles, kept up to date.
type credentials struct {
	files *TLSFiles
	log   *slog.Logger
	cfg   atomic.Pointer[tls.Config] // what handshakes use; replaced, never changed

	mu          sync.Mutex // held while the files are read
	looked      time.Time  // the last read of the files
	pairs       []*part[*tls.Certificate]
	dir         map[string]*part[*tls.Certificate] // those of CertificateDir, by name
	authorities *part[*authorities]                // nil if clients need no certificate
	staple      *part[staple]                      // nil without one
	stapled     bool                               // the staple is in cfg
	problems    map[string]bool                    // those that the log has
}

var errNoPair = errors.New("contains no pair NAME.crt and NAME.key")

// loadCredentials reads the files for the first time.
func loadCredentials(files *TLSFiles) (*credentials, error) {
	c := &credentials{files: files, dir: map[string]*part[*tls.Certificate]{}, problems: map[string]bool{}}
	var e field.Errors
	c.loadPairs(&e)
	if files.CertificateDir != "" {
		c.loadDir(&e)
	}
	if files.ClientCA != "" {
		c.authorities = newPart(authorityFiles{files})
		e.Add(c.authorities.load())
	}
	if files.OCSPStaple != "" {
		c.loadStaple(&e)
	}
	c.looked = time.Now()
	return c, e.Err()
}

func (c *credentials) loadPairs(e *field.Errors) {
	files := c.files
	if files.Cert != "" && files.Key != "" {
		c.pairs = append(c.pairs, newPart(files.mainPair()))
	}
	for _, item := range files.Certificates {
		pair, ok := files.listedPair(item)
		e.Check(ok, "TLS.Certificates", files.Certificates, item+" must be CERT=KEY, or one file with both")
		if ok {
			c.pairs = append(c.pairs, newPart(pair))
		}
	}
	for _, p := range c.pairs {
		e.Add(p.load())
	}
}

func (c *credentials) loadDir(e *field.Errors) {
	names, err := c.files.namesInDir()
	if err == nil && len(names) == 0 {
		err = errNoPair
	}
	useless(e, "TLS.CertificateDir", c.files.CertificateDir, err)
	for _, name := range names {
		c.dir[name] = newPart(c.files.pairInDir(name))
		e.Add(c.dir[name].load())
	}
}

// loadStaple reads the staple. It may have expired: then it is ignored.
func (c *credentials) loadStaple(e *field.Errors) {
	c.staple = newPart(stapleFile{c.files})
	err := c.staple.load()
	e.Add(err)
	if all := c.all(); err == nil && len(all) > 0 {
		if err := c.staple.value.check(all[0]); !errors.Is(err, errStapleExpired) {
			useless(e, "TLS.OCSPStaple", c.files.OCSPStaple, err)
		}
	}
}

// all returns the certificates, the default first.
func (c *credentials) all() (all []*tls.Certificate) {
	for _, p := range c.pairs {
		if p.value != nil {
			all = append(all, p.value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.dir)) {
		if p := c.dir[name]; p.value != nil {
			all = append(all, p.value)
		}
	}
	return all
}

// current returns the configuration for a handshake, after a look at the files if it is
// time for one. One handshake at a time reads them, and others do not wait for it.
func (c *credentials) current() *tls.Config {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		if time.Since(c.looked) >= reloadEvery {
			c.looked = time.Now()
			c.reload()
		}
	}
	return c.cfg.Load()
}

// reload reads all files again. What cannot be used changes nothing.
func (c *credentials) reload() {
	changed := false
	for _, p := range c.pairs {
		changed = reloadPart(c, p) || changed
	}
	if c.files.CertificateDir != "" {
		changed = c.reloadDir() || changed
	}
	if c.authorities != nil {
		changed = reloadPart(c, c.authorities) || changed
	}
	if c.staple != nil {
		changed = reloadPart(c, c.staple) || changed
		expired := c.staple.value.check(c.all()[0]) != nil
		changed = expired == c.stapled || changed
	}
	if changed {
		c.build()
	}
}

// reloadDir reads the pairs of CertificateDir, and forgets those whose files are both gone,
// unless nothing would be left.
func (c *credentials) reloadDir() (changed bool) {
	names, err := c.files.namesInDir()
	for _, name := range names {
		if c.dir[name] == nil {
			c.dir[name] = newPart(c.files.pairInDir(name))
		}
		changed = reloadPart(c, c.dir[name]) || changed
	}
	good := func(name string) bool { return c.dir[name].value != nil }
	if err == nil && len(c.pairs) == 0 && !slices.ContainsFunc(names, good) {
		err = errNoPair
	}
	if c.note(c.files.CertificateDir, err); err != nil {
		return changed
	}
	for name, p := range c.dir {
		if !slices.Contains(names, name) {
			delete(c.dir, name)
			delete(c.problems, p.String())
			c.log.Info("certificate removed", "file", p.String())
			changed = true
		}
	}
	return changed
}

// reloadPart reads a part again, and reports whether it has changed.
func reloadPart[T any](c *credentials, p *part[T]) (changed bool) {
	changed, err := p.reload()
	c.note(p.String(), err)
	if changed {
		c.log.Info("certificates reloaded", "file", p.String())
	}
	return changed
}

// note tells the log of an error with a file when it is new; nil is the end of it.
func (c *credentials) note(file string, err error) {
	c.noteAs(file, err, "certificates cannot be reloaded, keeping the previous ones")
}

func (c *credentials) noteAs(problem string, err error, msg string) {
	if err != nil && !c.problems[problem] {
		c.log.Warn(msg, "err", err)
	}
	c.problems[problem] = err != nil
}

// build makes the configuration for handshakes of what was read.
func (c *credentials) build() {
	cfg, all := c.files.parameters(), c.all()
	if c.staple != nil {
		err := c.staple.value.check(all[0])
		c.noteAs("staple", err, "OCSP response is not sent")
		if c.stapled = err == nil; c.stapled {
			first := *all[0]
			first.OCSPStaple = c.staple.value
			all[0] = &first
		}
	}
	cfg.GetCertificate = newCertificates(all).choose
	if c.authorities != nil {
		a, log := c.authorities.value, c.log
		cfg.ClientAuth, cfg.ClientCAs = c.files.clientAuth(), a.pool
		if a.revoked != nil {
			cfg.VerifyConnection = func(state tls.ConnectionState) error { return a.revoked.verify(&state, log) }
		}
	}
	c.cfg.Store(cfg)
}
