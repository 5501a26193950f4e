package e2e

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"wireline/handler"
	"wireline/tcp"
)

// worker is a server with a slow frame, run as a process of its own. It answers "work" with
// "begun" at once, and with "done" when its standard input has ended. It echoes every other
// line.
func worker() {
	release := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(release)
	}()
	h := &handler.Frames{
		OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) != "work" {
				return c.WriteFrame(line)
			}
			c.WriteFrame([]byte("begun"))
			c.Flush()
			<-release
			return c.WriteFrame([]byte("done"))
		},
		OnRecord: func(handler.Record) {},
	}
	cfg := tcp.Config{
		Address:      "127.0.0.1:0",
		DrainTimeout: time.Minute,
		Log:          slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if err := tcp.ListenAndServe(&cfg, h); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
}
