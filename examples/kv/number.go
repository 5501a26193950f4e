package main

import (
	"bytes"
	"math"
)

// parseInt parses a number in the only form that Redis accepts: no space, no plus sign, no
// leading zero, and within 64 bits.
func parseInt(b []byte) (v int64, ok bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	digits, negative := bytes.CutPrefix(b, []byte("-"))
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' {
		return 0, false
	}
	var n uint64 // 19 digits fit
	for _, d := range digits {
		d -= '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + uint64(d)
	}
	switch {
	case negative && n <= -math.MinInt64:
		return -int64(n), true
	case !negative && n <= math.MaxInt64:
		return int64(n), true
	}
	return 0, false
}

// addInt returns a+b. It reports false if that exceeds 64 bits.
func addInt(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, (sum > a) == (b > 0)
}

// cString returns b as a string of C: up to the first zero byte.
func cString(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}
