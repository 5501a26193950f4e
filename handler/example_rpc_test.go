package handler_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"

	"wireline/handler"
	"wireline/tcptest"
)

// Pipelined requests with ids: those of one client run at the same time, and the first result is
// sent first.
func ExampleClient_Go() {
	quick := make(chan struct{})
	call := func(ctx context.Context, method string) string {
		if method == "slow" {
			select {
			case <-quick:
			case <-ctx.Done():
				return "cancelled"
			}
		}
		return "done"
	}
	server := tcptest.NewServer(&handler.Frames{
		MaxInFlight: 16,
		OnFrame: func(c *handler.Client, request []byte) error {
			id, method, _ := bytes.Cut(bytes.Clone(request), []byte(" "))
			c.Go(func(ctx context.Context) error {
				_, err := fmt.Fprintf(c, "%s %s\n", id, call(ctx, string(method)))
				if string(method) == "quick" {
					close(quick)
				}
				return err
			})
			return nil
		},
	})
	defer server.Close()

	conn := server.Dial()
	defer conn.Close()
	io.WriteString(conn, "1 slow\n2 quick\n")
	conn.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(conn)
	fmt.Print(string(all))
	// Output:
	// 2 done
	// 1 done
}

// A goroutine of the application's own answers: a worker that all clients share.
func ExampleClient_Hold() {
	work := make(chan func())
	defer close(work)
	go func() {
		for f := range work {
			f()
		}
	}()
	server := tcptest.NewServer(&handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
		line, release := bytes.ToUpper(line), c.Hold()
		work <- func() {
			defer release()
			c.WriteFrame(line)
		}
		return nil
	}})
	defer server.Close()

	conn := server.Dial()
	defer conn.Close()
	io.WriteString(conn, "hello\n")
	conn.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(conn)
	fmt.Print(string(all))
	// Output: HELLO
}
