package echo_test

import (
	"fmt"
	"io"
	"net"

	"wireline/echo"
	"wireline/tcptest"
)

func ExampleNew() {
	server := tcptest.NewServer(echo.New(echo.Config{MaxLine: 10}))
	defer server.Close()

	conn := server.Dial()
	defer conn.Close()
	io.WriteString(conn, "short\na line that is too long\n")
	conn.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(conn)
	fmt.Print(string(all))
	// Output:
	// short
	// error: line too long (max 10 bytes)
}
