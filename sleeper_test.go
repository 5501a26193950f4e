package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"wireline/handler"
	"wireline/tcp"
)

// sleepTime is how long the sleeper works on the line "slow".
const sleepTime = 2 * time.Second

// sleeper is a program of its own, a server with a frame that takes its time:
// the echo has none. To "slow" it answers "begun" at once and "done" at the
// end, any other line comes back.
func sleeper() {
	h := &handler.Frames{
		Serve: func(c *handler.Client, line []byte) error {
			if string(line) != "slow" {
				return c.WriteFrame(line)
			}
			c.WriteFrame([]byte("begun"))
			c.Flush()
			time.Sleep(sleepTime)
			return c.WriteFrame([]byte("done"))
		},
		OnRecord: func(handler.Record) {},
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := tcp.ListenAndServe(&tcp.Config{Address: "127.0.0.1:0", Log: log}, h); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
}
