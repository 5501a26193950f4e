// Package echo is a line echo server: it sends each line back to the client (compare
// RFC 862). It is the smallest complete handler, and a good start for a new one.
package echo
