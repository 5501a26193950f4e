package tcp

import (
	"crypto/tls"
	"slices"
	"strings"

	"wireline/lib/field"
)

// The names of versions, cipher suites and curves in a configuration.

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// curves are those of crypto/tls, with the names of FIPS 186 and of the IANA's registry.
var curves = []struct {
	name string
	id   tls.CurveID
}{
	{"X25519", tls.X25519},
	{"P-256", tls.CurveP256},
	{"P-384", tls.CurveP384},
	{"P-521", tls.CurveP521},
	{"X25519MLKEM768", tls.X25519MLKEM768},
	{"SecP256r1MLKEM768", tls.SecP256r1MLKEM768},
	{"SecP384r1MLKEM1024", tls.SecP384r1MLKEM1024},
}

// checkNames adds an error to e for each name that is not known.
func (c *TLSFiles) checkNames(e *field.Errors) {
	known := func(name string) bool { return name == "" || versions[name] != 0 }
	e.Check(known(c.MinVersion), "TLS.MinVersion", c.MinVersion, "must be 1.2 or 1.3")
	e.Check(known(c.MaxVersion), "TLS.MaxVersion", c.MaxVersion, "must be 1.2 or 1.3")
	e.Check(c.MaxVersion != "1.2" || c.MinVersion != "1.3", "TLS.MaxVersion", c.MaxVersion, "must not be below min_version")
	for _, name := range c.CipherSuites {
		reason := suiteProblem(name)
		e.Check(reason == "", "TLS.CipherSuites", c.CipherSuites, name+" "+reason)
	}
	e.Check(len(c.CipherSuites) == 0 || c.MinVersion != "1.3", "TLS.CipherSuites", c.CipherSuites,
		"has no effect where min_version is 1.3: TLS 1.3 has its own suites, and leaves no choice")
	for _, name := range c.Curves {
		e.Check(curveOf(name) != 0, "TLS.Curves", c.Curves, name+" is not known, must be one of "+strings.Join(curveNames(), ", "))
	}
}

// suiteProblem returns why a cipher suite cannot be chosen; empty if it can.
func suiteProblem(name string) string {
	choice := ", must be one of " + strings.Join(suiteNames(), ", ")
	switch {
	case suiteOf(name) != 0:
		return ""
	case named(tls.CipherSuites(), name) != nil:
		return "is of TLS 1.3, whose suites are always in use" + choice
	case named(tls.InsecureCipherSuites(), name) != nil:
		return "is insecure" + choice
	}
	return "is not known" + choice
}

func named(suites []*tls.CipherSuite, name string) *tls.CipherSuite {
	i := slices.IndexFunc(suites, func(s *tls.CipherSuite) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return suites[i]
}

// suiteOf returns a cipher suite that can be chosen; zero if there is none of this name.
func suiteOf(name string) uint16 {
	if s := named(tls.CipherSuites(), name); s != nil && selectable(s) {
		return s.ID
	}
	return 0
}

// selectable reports whether crypto/tls leaves the choice of a suite to its user.
func selectable(s *tls.CipherSuite) bool {
	return slices.Contains(s.SupportedVersions, tls.VersionTLS12)
}

func suiteNames() (names []string) {
	for _, s := range tls.CipherSuites() {
		if selectable(s) {
			names = append(names, s.Name)
		}
	}
	return names
}

// curveOf returns the curve of a name, or zero.
func curveOf(name string) tls.CurveID {
	for _, c := range curves {
		if c.name == name {
			return c.id
		}
	}
	return 0
}

func curveNames() (names []string) {
	for _, c := range curves {
		names = append(names, c.name)
	}
	return names
}

// parameters returns a configuration with all that is not in files.
func (c *TLSFiles) parameters() *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: versions[c.MaxVersion], NextProtos: c.ALPN}
	if c.MinVersion != "" {
		cfg.MinVersion = versions[c.MinVersion]
	}
	for _, name := range c.CipherSuites {
		cfg.CipherSuites = append(cfg.CipherSuites, suiteOf(name))
	}
	for _, name := range c.Curves {
		cfg.CurvePreferences = append(cfg.CurvePreferences, curveOf(name))
	}
	return cfg
}
