package tcp

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"wireline/internal/pemfile"
)

// revocations are the certificate revocation lists (RFC 5280, section 5) of some
// authorities.
type revocations struct {
	lists   map[issuer]*revocationList
	expired sync.Once // the log has it
}

// issuer identifies an authority by its name and key. Certificates of one authority may
// differ, and other authorities may have the same name.
type issuer struct{ name, key string }

func issuerOf(cert *x509.Certificate) issuer {
	return issuer{string(cert.RawSubject), string(cert.RawSubjectPublicKeyInfo)}
}

type revocationList struct {
	issuer        string
	made, expires time.Time
	serials       map[string]struct{} // of the revoked certificates
}

// revocationsIn parses the lists of a file, PEM or one in DER. Each must be signed by one
// of the authorities, and be in force. Of two lists of one authority, the newer one counts.
func revocationsIn(text []byte, signers []*x509.Certificate) (*revocations, error) {
	blocks := [][]byte{text}
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		var err error
		if blocks, err = pemfile.Blocks(text, "X509 CRL"); err != nil {
			return nil, err
		}
	}
	if len(blocks) == 0 {
		return nil, errors.New("contains no revocation list")
	}
	r := &revocations{lists: map[issuer]*revocationList{}}
	for i, der := range blocks {
		list, signer, err := parseRevocationList(der, signers)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", i+1, err)
		}
		if known := r.lists[signer]; known == nil || known.made.Before(list.made) {
			r.lists[signer] = list
		}
	}
	for _, list := range r.lists {
		if list.hasExpired() {
			return nil, list.errExpired()
		}
	}
	return r, nil
}

// parseRevocationList parses a list, and finds the authority that has signed it.
func parseRevocationList(der []byte, signers []*x509.Certificate) (*revocationList, issuer, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, issuer{}, err
	}
	if err := checkExtensions(parsed); err != nil {
		return nil, issuer{}, err
	}
	if parsed.NextUpdate.IsZero() {
		return nil, issuer{}, errors.New("does not say when the next one comes")
	}
	i := slices.IndexFunc(signers, func(s *x509.Certificate) bool {
		return bytes.Equal(s.RawSubject, parsed.RawIssuer) && parsed.CheckSignatureFrom(s) == nil
	})
	if i < 0 {
		return nil, issuer{}, fmt.Errorf("of %s is not signed by an authority of client_ca", parsed.Issuer)
	}
	list := &revocationList{parsed.Issuer.String(), parsed.ThisUpdate, parsed.NextUpdate, map[string]struct{}{}}
	for _, entry := range parsed.RevokedCertificateEntries {
		list.serials[string(entry.SerialNumber.Bytes())] = struct{}{}
	}
	return list, issuerOf(signers[i]), nil
}

// checkExtensions refuses a list that has a critical extension, as RFC 5280, section 5.2,
// demands of those who do not know it. Such a list is a delta, or names only a part of the
// certificates.
func checkExtensions(list *x509.RevocationList) error {
	for _, x := range list.Extensions {
		if x.Critical {
			return fmt.Errorf("has the critical extension %v, which is not supported: it must be a complete list", x.Id)
		}
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, x := range entry.Extensions {
			if x.Critical {
				return fmt.Errorf("has an entry with the critical extension %v, which is not supported", x.Id)
			}
		}
	}
	return nil
}

func (l *revocationList) hasExpired() bool { return time.Now().After(l.expires) }

func (l *revocationList) errExpired() error {
	return fmt.Errorf("the list of %s has expired at %s", l.issuer, l.expires.Format(time.RFC3339))
}

// has reports whether cert is on the list.
func (l *revocationList) has(cert *x509.Certificate) bool {
	_, revoked := l.serials[string(cert.SerialNumber.Bytes())]
	return revoked
}

// verify checks the certificate of a client; see [tls.Config.VerifyConnection].
func (r *revocations) verify(state *tls.ConnectionState, log *slog.Logger) error {
	if len(state.PeerCertificates) == 0 {
		return nil // ClientAuth says whether that may be
	}
	err := errors.New("tcp: certificate was not verified")
	for _, chain := range state.VerifiedChains {
		revoked, chainErr := r.checkChain(chain)
		if revoked {
			return chainErr
		}
		if err != nil { // one chain that is good is enough
			err = chainErr
		}
	}
	var expired *expiredError
	if errors.As(err, &expired) {
		r.expired.Do(func() {
			log.Warn("revocation list has expired, clients are refused", "issuer", expired.issuer, "expired", expired.expires)
		})
	}
	return err
}

// expiredError reports that a list is out of force.
type expiredError struct{ *revocationList }

func (e *expiredError) Error() string { return "tcp: " + e.errExpired().Error() }

// checkChain checks each certificate of a chain but the last, which is trusted. All have to
// be checked: an error that says "revoked" counts more than others.
func (r *revocations) checkChain(chain []*x509.Certificate) (revoked bool, err error) {
	for i := range len(chain) - 1 {
		cert, list := chain[i], r.lists[issuerOf(chain[i+1])]
		switch {
		case list == nil:
			err = fmt.Errorf("tcp: there is no revocation list of %s", cert.Issuer)
		case list.has(cert):
			return true, fmt.Errorf("tcp: certificate of %s, serial number %x, has been revoked", cert.Subject, cert.SerialNumber)
		case list.hasExpired():
			err = &expiredError{list}
		}
	}
	return false, err
}
