package natsbus_test

import (
	"context"
	"fmt"

	"wireline/handler"
	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/tcp"
)

// serve is in docs/hub.md.
func serve(address, natsURL string) error {
	bus := &natsbus.Bus{URL: natsURL}
	h := &hub.Hub{Second: hub.KickFirst, Bus: bus}
	if err := h.Start(); err != nil {
		return err
	}
	defer h.Close()
	frames := &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
		if _, ok := h.Key(c); !ok {
			if err := h.Join(c, string(line)); err != nil { // the first line is the name
				return err
			}
			return h.Enter(c, "lobby")
		}
		_, err := h.Publish(c.Context(), "lobby", line) // to all processes
		if err != nil {
			return c.WriteFrame([]byte("only the clients of this machine have got it"))
		}
		return nil
	}}
	server := &tcp.Server{Config: tcp.Config{Address: address}, Handler: frames}
	return server.ListenAndServe(context.Background())
}

// A chat on any number of machines; each runs this.
func Example() {
	err := serve(":8000", "nats://10.0.0.1:4222")
	fmt.Println(err)
}

func ExampleEmbedded() {
	server := &natsbus.Embedded{Listen: "127.0.0.1:0"}
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	// One hub in this process, and one that could be in another.
	here := &hub.Hub{Bus: &natsbus.Bus{URL: server.URL()}}
	there := &hub.Hub{Bus: &natsbus.Bus{URL: server.URL()}}
	defer here.Close()
	defer there.Close()
	if err := there.Start(); err != nil {
		fmt.Println(err)
		return
	}

	err := here.Send(context.Background(), "device 7", []byte("reboot"))
	fmt.Println(err)
	// Output: hub: no client has the key
}
