package tcp_test

import (
	"slices"
	"testing"

	"wireline/tcp"
)

func TestFixed(t *testing.T) {
	type config = tcp.Config
	socket := func(s tcp.Socket) config { return config{Socket: s} }
	for name, test := range map[string]struct {
		from, to config
		want     []string
	}{
		"nothing":                {config{}, config{}, nil},
		"limits":                 {config{MaxClients: 1}, config{MaxClients: 2, Deny: []string{"::1"}}, nil},
		"the default, in words":  {config{}, config{Network: "tcp", Address: ":8000"}, nil},
		"network":                {config{}, config{Network: "tcp4"}, []string{"Network"}},
		"the same network":       {config{Address: "0.0.0.0:80"}, config{Network: "tcp4", Address: "0.0.0.0:80"}, nil},
		"localhost":              {config{Address: "localhost:80"}, config{Address: "127.0.0.1:80", Network: "tcp4"}, []string{"Network"}},
		"address":                {config{Address: ":1", Socket: tcp.Socket{ReusePort: true}}, config{Address: ":2", Network: "tcp4"}, nil},
		"all addresses":          {config{Address: ":80"}, config{Address: "[::]:80", Socket: tcp.Socket{ReusePort: true}}, []string{"Socket.ReusePort"}},
		"socket file":            {config{Network: "unix", Address: "/s", SocketMode: "0660"}, config{Network: "unix", Address: "/./s", SocketGroup: "1"}, []string{"SocketMode", "SocketGroup"}},
		"another socket file":    {config{Network: "unix", Address: "/s", SocketMode: "0660"}, config{Network: "unix", Address: "/t"}, nil},
		"to unix":                {config{Address: "127.0.0.1:1"}, config{Network: "unix", Address: "/s"}, nil},
		"reuse_port":             {config{}, socket(tcp.Socket{ReusePort: true}), []string{"Socket.ReusePort"}},
		"buffers":                {socket(tcp.Socket{ReceiveBuffer: 9000, SendBuffer: 9000}), config{}, []string{"Socket.ReceiveBuffer", "Socket.SendBuffer"}},
		"other buffers":          {socket(tcp.Socket{ReceiveBuffer: 9000}), socket(tcp.Socket{ReceiveBuffer: 8000, SendBuffer: 7000}), nil},
		"options of connections": {socket(tcp.Socket{Backlog: 5}), socket(tcp.Socket{NoDelay: tcp.SwitchOff, FastOpen: 3}), nil},
	} {
		if got := test.from.Fixed(&test.to); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
