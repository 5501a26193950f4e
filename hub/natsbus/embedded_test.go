package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"wireline/hub"
	"wireline/hub/natsbus"
	"wireline/internal/testutil"
)

// Three processes have a server each, which are one cluster. One of them ends and comes back.
func TestEmbeddedCluster(t *testing.T) {
	testutil.Long(t)
	inBothModes(t, func(t *testing.T, m mode) {
		var servers []*natsbus.Embedded
		var routes []string
		for range 3 {
			routes = append(routes, freeAddress(t))
		}
		for i := range 3 {
			e := &natsbus.Embedded{
				Name: fmt.Sprint("n", i), Cluster: "c", ClusterListen: routes[i], Routes: routes,
			}
			if m.jetStream {
				e.StoreDir = t.TempDir()
			}
			servers = append(servers, startServer(t, e))
		}
		got, send := received()
		var buses []*natsbus.Bus
		for i, e := range servers {
			b := m.bus("")
			b.Options = []nats.Option{e.Option()}
			if i > 0 { // the first one is to find another server when its own has ended
				b.Options, b.URL = nil, e.URL()
			}
			if m.jetStream {
				b.JetStream.Replicas = 3
			}
			buses = append(buses, start(t, b, &local{send: send}))
		}
		meet(t, buses...)
		lost := make(chan bool, 1)
		testutil.Eventually(t, "the key cannot be claimed", func() bool {
			_, err := buses[1].Claim(context.Background(), "k", hub.KickFirst, func() { lost <- true })
			return err == nil
		})
		testutil.Eventually(t, "the key cannot be taken over", func() bool {
			_, err := buses[2].Claim(context.Background(), "k", hub.KickFirst, never(t))
			return err == nil
		})
		testutil.Await(t, "the key is not lost", lost)
		reached := func() bool {
			return buses[0].Send(context.Background(), "k", []byte("x")) == nil
		}
		testutil.Eventually(t, "the owner is not reached", reached)
		servers[1].Close()
		testutil.Eventually(t, "the owner is not reached with one server less", reached)
		if err := servers[1].Start(); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "the owner is not reached", reached)
		if g := testutil.Await(t, "no message", got); g != "k=x" {
			t.Errorf("got %q", g)
		}
	})
}

// A server that only this process can reach, which writes nothing to the standard output.
func TestEmbeddedInProcess(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	e := &natsbus.Embedded{StoreDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	b := modes[1].bus("")
	b.Options = []nats.Option{e.Option()}
	lines := make(chan string, 100)
	b.Log = slog.New(slog.NewTextHandler(lineWriter(lines), nil))
	start(t, b, &local{})
	if line := testutil.Await(t, "no line in the log", lines); !strings.Contains(line, `msg="connected to NATS" server="in this process"`) {
		t.Error(line)
	}
	claim(t, b, "k", hub.RefuseSecond, never(t))
	if url := e.URL(); url != "" {
		t.Errorf("URL: %s", url)
	}
	b.Close()
	e.Close()
	e.Close()
	w.Close()
	if text, _ := io.ReadAll(r); len(text) > 0 {
		t.Errorf("written to the standard output: %s", text)
	}
}

// A port that is taken is an error at once, which says the address and what the system has said.
func TestEmbeddedWithATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	for what, e := range map[string]*natsbus.Embedded{
		"Listen":        {Listen: address},
		"with a store":  {Listen: address, StoreDir: t.TempDir()},
		"ClusterListen": {Listen: "127.0.0.1:0", Cluster: "c", ClusterListen: address},
	} {
		e.Log = slog.New(slog.DiscardHandler)
		if err := e.Start(); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Fields that do not fit together, and addresses that are none, are errors that name the fields.
func TestEmbeddedFields(t *testing.T) {
	for want, e := range map[string]*natsbus.Embedded{
		"Listen: address 127.0.0.1: missing port": {Listen: "127.0.0.1"},
		"Listen: address 127.0.0.1:x: the port":   {Listen: "127.0.0.1:x"},
		"ClusterListen: missing port":             {Listen: "127.0.0.1:0", Cluster: "c"},
		"Routes: address nats://a:1: too many":    {Listen: "127.0.0.1:0", Cluster: "c", ClusterListen: "127.0.0.1:0", Routes: []string{"nats://a:1"}},
		"Routes needs Cluster":                    {Routes: []string{"127.0.0.1:1"}},
		"ClusterListen needs Cluster":             {ClusterListen: "127.0.0.1:0"},
		"Cluster needs Listen":                    {Cluster: "c", ClusterListen: "127.0.0.1:0"},
	} {
		e.Log = slog.New(slog.DiscardHandler)
		if err := e.Start(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		e.Close()
	}
}
