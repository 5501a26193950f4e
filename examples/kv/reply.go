package main

import (
	"strconv"
	"strings"
)

// Replies are appended to a buffer of the client, and written from it in one call.

// appendStatus appends a simple string, which must not contain a line end.
func appendStatus(dst []byte, text string) []byte {
	dst = append(dst, '+')
	dst = append(dst, text...)
	return append(dst, '\r', '\n')
}

// appendError appends an error. Its text begins with a code such as ERR. As in Redis, line
// ends at its end are removed, and those in it become spaces.
func appendError(dst []byte, text string) []byte {
	dst = append(dst, '-')
	begin := len(dst)
	dst = append(dst, strings.TrimRight(text, "\r\n")...)
	for i := begin; i < len(dst); i++ {
		if dst[i] == '\r' || dst[i] == '\n' {
			dst[i] = ' '
		}
	}
	return append(dst, '\r', '\n')
}

func appendInt(dst []byte, v int64) []byte {
	dst = append(dst, ':')
	return appendNumber(dst, v)
}

// appendBulk appends a string of any bytes.
func appendBulk[S []byte | string](dst []byte, value S) []byte {
	dst = append(dst, '$')
	dst = appendNumber(dst, int64(len(value)))
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// appendNull appends the null that stands for a missing value.
func appendNull(dst []byte) []byte { return append(dst, "$-1\r\n"...) }

// appendArray appends the head of an array of n replies, which follow.
func appendArray(dst []byte, n int) []byte {
	dst = append(dst, '*')
	return appendNumber(dst, int64(n))
}

func appendNumber(dst []byte, v int64) []byte {
	dst = strconv.AppendInt(dst, v, 10)
	return append(dst, '\r', '\n')
}

// appendBool appends 1 for true and 0 for false.
func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, ":1\r\n"...)
	}
	return append(dst, ":0\r\n"...)
}
