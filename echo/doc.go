// Package echo is the line echo server: what a client sends comes back line by
// line (compare RFC 862). It is the smallest complete handler, and the one to
// start a new one from.
package echo
