package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"wireline/handler"
)

// filter says which connections are meant. The zero value means all.
type filter struct {
	service  string
	peer     netip.Prefix
	upstream string
	state    handler.State
	older    time.Duration
	idle     time.Duration

	text string // words in lower case, each of which must occur in searchText
}

// filterKeys are the query parameters that parseFilter reads.
var filterKeys = []string{"service", "peer", "upstream", "state", "older", "idle"}

// states are the values of the parameter state.
var states = []handler.State{
	handler.StateIdle, handler.StateBusy, handler.StatePaused, handler.StateHandshake, handler.StateClosing,
	handler.StateConnecting, handler.StateRelaying, handler.StateHalfClosed,
}

// checkState reports a state that no connection can have.
func checkState(state handler.State) error {
	if state == "" || slices.Contains(states, state) {
		return nil
	}
	return fmt.Errorf("state: %q is none of %s", state, strings.Trim(fmt.Sprint(states), "[]"))
}

// parameters returns the parameters of a request. A part of the query that cannot be read is an
// error: url.URL.Query leaves it out, and a filter without it would mean too many connections.
func parameters(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return q, nil
}

// parseFilter reads a filter from the parameters of a request. others are parameters that are
// not of the filter; all further ones are errors, and so is an empty value, because such a filter
// would mean too many connections.
func parseFilter(q url.Values, others ...string) (f filter, err error) {
	for key, values := range q {
		if !slices.Contains(filterKeys, key) && !slices.Contains(others, key) {
			return f, fmt.Errorf("unknown parameter %q", key)
		}
		if len(values) > 1 {
			return f, fmt.Errorf("parameter %q is there twice", key)
		}
		if values[0] == "" && slices.Contains(filterKeys, key) {
			return f, fmt.Errorf("parameter %q is empty", key)
		}
	}
	f.service, f.upstream, f.state = q.Get("service"), q.Get("upstream"), handler.State(q.Get("state"))
	if err = checkState(f.state); err != nil {
		return f, err
	}
	if f.peer, err = parsePeer(q.Get("peer")); err != nil {
		return f, err
	}
	if f.older, err = parseDuration("older", q.Get("older")); err != nil {
		return f, err
	}
	f.idle, err = parseDuration("idle", q.Get("idle"))
	return f, err
}

// mappedBits are the bits before the IPv4 address in an IPv6 address that has one (::ffff:0:0/96).
const mappedBits = 96

// parsePeer reads an address or a network.
func parsePeer(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return p, fmt.Errorf("peer: %w", err)
		}
		if ip := p.Addr(); ip.Is4In6() && p.Bits() >= mappedBits {
			p = netip.PrefixFrom(ip.Unmap(), p.Bits()-mappedBits)
		}
		return p.Masked(), nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("peer: %w", err)
	}
	return netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), nil
}

func parseDuration(name, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s: must be a duration such as 90s", name)
	}
	return d, nil
}

// isZero reports whether f means all connections.
func (f filter) isZero() bool { return f == filter{} }

// matches reports whether f means the connection l of the service with this name. The hubs are those
// in which it may be known.
func (f filter) matches(service string, l handler.Live, hubs []namedHub) bool {
	switch {
	case f.service != "" && f.service != service:
	case f.upstream != "" && f.upstream != l.Upstream:
	case f.state != "" && f.state != l.State:
	case f.older > l.Duration:
	case f.idle > l.Idle:
	case f.peer.IsValid() && !f.peer.Contains(ipOf(l.Peer)):
	default:
		return f.text == "" || f.hasWords(searchText(service, l, joinedBy(l.Client, hubs)))
	}
	return false
}

// hasWords reports whether all words of f occur in text, which is what is shown of a connection.
func (f filter) hasWords(text string) bool {
	for word := range strings.FieldsSeq(f.text) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// searchText returns what the page shows of a connection, in lower case, without its counts and
// times.
func searchText(service string, l handler.Live, joined []Joined) string {
	var b strings.Builder
	put := func(parts ...string) {
		for _, part := range parts {
			b.WriteString(part)
		}
		b.WriteByte(' ')
	}
	put(service)
	put(strconv.FormatUint(l.ID, 10))
	put(l.PeerText())
	put(l.Upstream)
	put(string(l.State))
	if t := l.TLS; t != nil {
		put(t.Version, " ", t.ServerName, " ", t.Protocol, " ", t.Subject)
	}
	for _, j := range joined {
		put("key=", j.Key, " rooms=", strconv.Itoa(j.Rooms))
	}
	for _, a := range l.Attrs {
		put(a.Key, "=", a.Value.Resolve().String())
	}
	return strings.ToLower(b.String())
}

// ipOf returns the IP address of a peer; not valid if it has none.
func ipOf(a net.Addr) netip.Addr { return addrPortOf(a).Addr().WithZone("") }

// addrPortOf returns the IP address and the port of a peer; not valid if it has none.
func addrPortOf(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok || t == nil {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
