package tcptest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"wireline/tcptest"
)

// shout is the handler under test. It answers each line with an exclamation mark.
func shout(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		fmt.Fprintf(conn, "%s!\n", lines.Text())
	}
}

func ExamplePipe() {
	client, server := tcptest.Pipe()
	go shout(server)

	fmt.Fprint(client, "hello\nbye\n")
	client.CloseWrite() // the handler reads io.EOF, but can still answer
	answer, err := io.ReadAll(client)
	fmt.Printf("%q %v\n", answer, err)
	// Output: "hello!\nbye!\n" <nil>
}

func ExampleListen() {
	l := tcptest.Listen()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go shout(conn)
		}
	}()

	client, err := l.Dial()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprintln(client, "hello")
	answer, _ := bufio.NewReader(client).ReadString('\n')
	fmt.Printf("%q\n", answer)
	client.Close()

	l.Close()
	_, err = l.Dial()
	fmt.Println("refused:", errors.Is(err, syscall.ECONNREFUSED))
	// Output:
	// "hello!\n"
	// refused: true
}

func ExampleListener_DialFrom() {
	l := tcptest.Listen()
	defer l.Close()
	if _, err := l.DialFrom(netip.MustParseAddrPort("203.0.113.7:4321")); err != nil {
		fmt.Println(err)
		return
	}
	conn, _ := l.Accept()
	fmt.Println(conn.RemoteAddr())
	// Output: 203.0.113.7:4321
}

func ExampleConn_Reset() {
	client, server := tcptest.Pipe()
	fmt.Fprint(client, "half a l")
	client.Reset()

	received, err := io.ReadAll(server)
	fmt.Printf("%q %v\n", received, errors.Is(err, syscall.ECONNRESET))
	// Output: "half a l" true
}
