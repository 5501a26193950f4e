package tcp

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"wireline/internal/tlsfiles"
	"wireline/lib/field"
)

// credentials are the contents of TLSFiles. The goroutine that reads the files owns them;
// handshakes use what build makes of them.
type credentials struct {
	files *TLSFiles
	log   func() *slog.Logger
	cfg   *tls.Config // the last one that build has made; it is not changed any more

	pairs       []*tlsfiles.Part[*tls.Certificate]
	dir         map[string]*tlsfiles.Part[*tls.Certificate] // those of CertificateDir, by name
	authorities *tlsfiles.Part[*authorities]                // nil if clients need no certificate
	staple      *tlsfiles.Part[staple]                      // nil without one
	stapled     bool                                        // the staple is in cfg
	problems    tlsfiles.Problems
}

var errNoPair = errors.New("contains no pair NAME.crt and NAME.key")

// loadCredentials reads the files for the first time.
func loadCredentials(files *TLSFiles) (*credentials, error) {
	c := &credentials{files: files, dir: map[string]*tlsfiles.Part[*tls.Certificate]{}, problems: tlsfiles.Problems{}}
	r, e := tlsfiles.NewReader(), field.Errors{}
	c.loadPairs(r, &e)
	if files.CertificateDir != "" {
		c.loadDir(r, &e)
	}
	if files.ClientCA != "" {
		c.authorities = tlsfiles.NewPart(authorityFiles{files})
		e.Add(load(r, c.authorities))
	}
	if files.OCSPStaple != "" {
		c.loadStaple(r, &e)
	}
	return c, e.Err()
}

// load reads a part for the first time.
func load[T any](r *tlsfiles.Reader, p *tlsfiles.Part[T]) error {
	_, err := p.Load(r)
	return err
}

func (c *credentials) loadPairs(r *tlsfiles.Reader, e *field.Errors) {
	files := c.files
	if files.Cert != "" && files.Key != "" {
		c.pairs = append(c.pairs, tlsfiles.NewPart(files.mainPair()))
	}
	for _, item := range files.Certificates {
		pair, ok := files.listedPair(item)
		e.Check(ok, "TLS.Certificates", files.Certificates, item+" must be CERT=KEY, or one file with both")
		if ok {
			c.pairs = append(c.pairs, tlsfiles.NewPart(pair))
		}
	}
	for _, p := range c.pairs {
		e.Add(load(r, p))
	}
}

func (c *credentials) loadDir(r *tlsfiles.Reader, e *field.Errors) {
	names, err := c.files.namesInDir(r)
	if err == nil && len(names) == 0 {
		err = errNoPair
	}
	tlsfiles.Useless(e, "TLS.CertificateDir", c.files.CertificateDir, err)
	for _, name := range names {
		c.dir[name] = tlsfiles.NewPart(c.files.pairInDir(name))
		e.Add(load(r, c.dir[name]))
	}
}

// loadStaple reads the staple. It may have expired: then it is ignored.
func (c *credentials) loadStaple(r *tlsfiles.Reader, e *field.Errors) {
	c.staple = tlsfiles.NewPart(stapleFile{c.files})
	err := load(r, c.staple)
	e.Add(err)
	if all := c.all(); err == nil && len(all) > 0 {
		if err := c.staple.Value.check(all[0]); !errors.Is(err, errStapleExpired) {
			tlsfiles.Useless(e, "TLS.OCSPStaple", c.files.OCSPStaple, err)
		}
	}
}

// all returns the certificates, the default first.
func (c *credentials) all() (all []*tls.Certificate) {
	for _, p := range c.pairs {
		if p.Value != nil {
			all = append(all, p.Value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.dir)) {
		if p := c.dir[name]; p.Value != nil {
			all = append(all, p.Value)
		}
	}
	return all
}

// watched returns a configuration whose handshakes use the files as they are at that time.
func (c *credentials) watched(log func() *slog.Logger, keys *tickets) *tls.Config {
	current := tlsfiles.NewWatch(c.cfg, c.reload, log)
	base := &tls.Config{}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		keys.refresh(base)
		current.Refresh()
		return current.Get(), nil
	}
	return base
}

// reload reads all files again, and returns the configuration for handshakes. What cannot be
// used changes nothing.
func (c *credentials) reload(r *tlsfiles.Reader) *tls.Config {
	changed := false
	for _, p := range c.pairs {
		changed = reloadPart(c, r, p) || changed
	}
	if c.files.CertificateDir != "" {
		changed = c.reloadDir(r) || changed
	}
	if c.authorities != nil {
		changed = reloadPart(c, r, c.authorities) || changed
	}
	if c.staple != nil {
		changed = reloadPart(c, r, c.staple) || changed
		expired := c.staple.Value.check(c.all()[0]) != nil
		changed = expired == c.stapled || changed
	}
	if changed {
		c.build()
	}
	return c.cfg
}

// reloadDir reads the pairs of CertificateDir, and forgets those whose files are both gone,
// unless nothing would be left.
func (c *credentials) reloadDir(r *tlsfiles.Reader) (changed bool) {
	names, err := c.files.namesInDir(r)
	for _, name := range names {
		if c.dir[name] == nil {
			c.dir[name] = tlsfiles.NewPart(c.files.pairInDir(name))
		}
		changed = reloadPart(c, r, c.dir[name]) || changed
	}
	good := func(name string) bool { return c.dir[name].Value != nil }
	if err == nil && len(c.pairs) == 0 && !slices.ContainsFunc(names, good) {
		err = errNoPair
	}
	var e field.Errors
	tlsfiles.Useless(&e, "TLS.CertificateDir", c.files.CertificateDir, err)
	if c.note(c.files.CertificateDir, e.Err()); err != nil {
		return changed
	}
	for name, p := range c.dir {
		if !slices.Contains(names, name) {
			delete(c.dir, name)
			delete(c.problems, p.String())
			c.log().Info("certificate removed", "file", p.String())
			changed = true
		}
	}
	return changed
}

// reloadPart reads a part again, and reports whether it has changed.
func reloadPart[T any](c *credentials, r *tlsfiles.Reader, p *tlsfiles.Part[T]) (changed bool) {
	changed, err := p.Load(r)
	c.note(p.String(), err)
	if changed {
		c.log().Info("certificates reloaded", "file", p.String())
	}
	return changed
}

// note tells the log of an error with a file when it is new; nil is the end of it.
func (c *credentials) note(file string, err error) {
	c.problems.Note(c.log(), file, err, "certificates cannot be reloaded, keeping the previous ones")
}

// build makes the configuration for handshakes of what was read.
func (c *credentials) build() {
	cfg, all := c.files.parameters(), c.all()
	if c.staple != nil {
		err := c.staple.Value.check(all[0])
		c.problems.Note(c.log(), "staple", err, "OCSP response is not sent")
		if c.stapled = err == nil; c.stapled {
			first := *all[0]
			first.OCSPStaple = c.staple.Value
			all[0] = &first
		}
	}
	cfg.GetCertificate = newCertificates(all).choose
	if c.authorities != nil {
		a, log := c.authorities.Value, c.log
		cfg.ClientAuth, cfg.ClientCAs = c.files.clientAuth(), a.pool
		if a.revoked != nil {
			cfg.VerifyConnection = func(state tls.ConnectionState) error { return a.revoked.verify(&state, log()) }
		}
	}
	c.cfg = cfg
}
