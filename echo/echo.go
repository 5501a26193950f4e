package echo

import (
	"cmp"
	"errors"
	"fmt"

	"wireline/handler"
	"wireline/lib/frame"
)

// New returns a handler that sends each line back unchanged, including its "\n" or
// "\r\n". The limits are those of cfg. A last line without a line end is sent back
// without one.
func New(cfg Config) *handler.Frames {
	maxLine := cmp.Or(cfg.MaxLine, frame.DefaultMax)
	return &handler.Frames{
		Codec: frame.Line{Max: maxLine, KeepEnd: true},
		OnFrame: func(c *handler.Client, line []byte) error {
			_, err := c.Write(line)
			return err
		},
		OnError: func(c *handler.Client, err error) {
			if errors.Is(err, frame.ErrTooLong) {
				fmt.Fprintf(c, "error: line too long (max %d bytes)\n", maxLine)
			}
		},
		IdleTimeout:       cfg.IdleTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		FirstFrameTimeout: cfg.FirstFrameTimeout,
		FrameTimeout:      cfg.FrameTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		MaxLifetime:       cfg.MaxLifetime,
		Limit:             cfg.Limit,
	}
}
