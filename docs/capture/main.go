// Capture is the server and the client that close.sh captures: the client sends a request,
// the server replies and closes, and the client prints what it has received.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"syscall"
	"time"

	"wireline/handler"
	"wireline/tcp"
)

func main() {
	cfg := tcp.Config{}
	flag.StringVar(&cfg.Address, "address", "127.0.0.1:8000", "where to listen")
	flag.TextVar(&cfg.Linger, "linger", handler.CloseDefault, "tcp.linger")
	request := flag.String("request", "go\n", "what the client sends; the server reads three bytes of it")
	flag.Parse()
	if err := run(&cfg, *request); err != nil {
		log.Fatal(err)
	}
}

func run(cfg *tcp.Config, request string) error {
	ln, err := tcp.Listen(context.Background(), cfg)
	if err != nil {
		return err
	}
	asked := make(chan struct{})
	srv := &tcp.Server{Config: *cfg, Handler: handler.Func(func(_ context.Context, conn net.Conn) {
		<-asked // the whole request has been sent
		io.ReadFull(conn, make([]byte, 3))
		io.WriteString(conn, "bye\n")
		conn.Close()
	})}
	go srv.Serve(context.Background(), ln)
	defer srv.Close()

	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	close(asked)
	reply, err := io.ReadAll(conn)
	how := "EOF"
	if errors.Is(err, syscall.ECONNRESET) {
		how = "ECONNRESET"
	} else if err != nil {
		return err
	}
	fmt.Printf("the client read %q, then %s\n", reply, how)
	// Wait until the kernel has acknowledged the server's FIN; otherwise the client's FIN
	// would carry that. A delayed ACK takes 40 ms (TCP_DELACK_MIN in include/net/tcp.h).
	time.Sleep(100 * time.Millisecond)
	return nil
}
