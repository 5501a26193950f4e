package main

import (
	"net"
	"strings"
)

// The longest path, local part and domain in bytes (RFC 5321, 4.5.3.1).
const (
	maxPath   = 256
	maxLocal  = 64
	maxDomain = 255
)

// parsePath parses the argument of MAIL or RCPT, such as "FROM:<a@b> SIZE=100": a keyword,
// a path in angle brackets and parameters. There is no space after the colon (RFC 5321,
// 3.3). A source route is ignored (appendix C).
func parsePath(arg, keyword string) (mailbox, params string, ok bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", "", false
	}
	arg = arg[len(keyword):]
	end := pathEnd(arg)
	if end < 0 || end >= maxPath {
		return "", "", false
	}
	mailbox, params = arg[1:end], arg[end+1:]
	if params != "" && params[0] != ' ' {
		return "", "", false
	}
	if strings.HasPrefix(mailbox, "@") {
		_, mailbox, ok = strings.Cut(mailbox, ":")
		return mailbox, params[min(1, len(params)):], ok && mailbox != ""
	}
	return mailbox, params[min(1, len(params)):], true
}

// pathEnd returns the index of the ">" that ends the path at the beginning of s, or -1 if
// there is no path. A ">" between quotes does not end it.
func pathEnd(s string) int {
	if !strings.HasPrefix(s, "<") {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == '>' && !quoted:
			return i
		}
	}
	return -1
}

// cutMailbox cuts a mailbox at its last "@". A domain has none, a quoted local part may.
func cutMailbox(mailbox string) (local, domain string) {
	i := strings.LastIndexByte(mailbox, '@')
	if i < 0 {
		return mailbox, ""
	}
	return mailbox[:i], mailbox[i+1:]
}

// validMailbox reports whether s is a mailbox: a local part, "@" and a domain (RFC 5321,
// 4.1.2).
func validMailbox(s string) bool {
	local, domain := cutMailbox(s)
	return len(local) <= maxLocal && (validDotString(local) || validQuoted(local)) && validDomain(domain)
}

// validDotString reports whether s is words with dots between them.
func validDotString(s string) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || strings.Trim(word, atext) != "" {
			return false
		}
	}
	return true
}

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	atext   = letters + digits + "!#$%&'*+-/=?^_`{|}~" // RFC 5322, 3.2.3
)

// validQuoted reports whether s is a quoted string. Commands are printable ASCII, so only the
// quotes are checked.
func validQuoted(s string) bool {
	if len(s) < 2 || s[0] != '"' {
		return false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i == len(s)-1
		}
	}
	return false
}

// validDomain reports whether s is a domain name, or an address in brackets.
func validDomain(s string) bool {
	if addr, ok := strings.CutPrefix(s, "["); ok {
		addr, ok = strings.CutSuffix(addr, "]")
		addr = strings.TrimPrefix(addr, "IPv6:")
		return ok && net.ParseIP(addr) != nil
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, letters+digits+"-") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return len(s) <= maxDomain
}

// validHello reports whether s may be the argument of EHLO or HELO. Clients send much that
// is not a domain (RFC 5321, 4.1.4), so it is only one word that can do no harm in a header.
func validHello(s string) bool {
	return s != "" && len(s) <= maxDomain && !strings.ContainsAny(s, " ()<>\"\\;,")
}

// hostOf returns the address of a peer as it stands in a header (RFC 5321, 4.1.3).
func hostOf(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	switch {
	case !ok:
		return "unknown"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.To4().String() + "]"
	}
	return "[IPv6:" + tcp.IP.String() + "]"
}
