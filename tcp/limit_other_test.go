//go:build !linux

package tcp_test

import (
	"errors"
)

func limitFiles(uint64) error { return errors.ErrUnsupported }
