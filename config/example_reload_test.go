package config_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wireline/config"
	"wireline/handler"
	"wireline/lib/frame"
	"wireline/lib/logger"
	"wireline/tcp"
)

// newHandler returns the handler of the section devices.
func newHandler(d Devices) *handler.Frames {
	return &handler.Frames{
		Codec:       frame.Line{Max: 100},
		OnFrame:     func(c *handler.Client, line []byte) error { return nil },
		IdleTimeout: d.Silence,
	}
}

// A program reads its file again for SIGHUP.
func ExampleLoad_again() {
	dir, _ := os.MkdirTemp("", "gateway")
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "gateway.yaml")
	write := func(text string) { os.WriteFile(file, []byte(text), 0o600) }
	write("tcp: {max_clients: 5}")

	ctx := context.Background()
	options := config.Options{Prefix: "GATEWAY", Args: []string{"--config", file}, Environ: []string{}}
	var cfg Gateway
	loaded, err := config.Load(&cfg, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	log, _ := logger.New(io.Discard, cfg.Log)
	h := newHandler(cfg.Devices)
	cfg.TCP.Log = log.Logger
	server := &tcp.Server{Config: cfg.TCP, Handler: h}

	reload := func() error {
		var next Gateway
		if _, err := config.Load(&next, options); err != nil {
			return err
		}
		frames := newHandler(next.Devices)
		if err := frames.Validate(); err != nil { // before anything changes
			return err
		}
		next.TCP.Log = log.Logger                                 // no key sets it
		if err := server.Reconfigure(ctx, next.TCP); err != nil { // an address may be taken
			return err
		}
		return h.Reconfigure(frames)
	}
	group := tcp.Group{Servers: []*tcp.Server{server}}
	if loaded.File() != "" { // otherwise SIGHUP stops the program
		group.OnReload = func() {
			if err := reload(); err != nil {
				log.Error("reload failed", "err", err)
			}
		}
	}

	write("tcp: {max_clients: 6}")
	group.OnReload()
	fmt.Println(server.Settings().MaxClients, server.Settings().Log == log.Logger)
	write("tcp: {max_clients: 7}\ndevices: {silence: 0s}")
	fmt.Println(strings.Contains(reload().Error(), "devices.silence"), server.Settings().MaxClients)
	// Output:
	// 6 true
	// true 6
}

// The code in the documentation is that of the example.
func TestReloadInDocs(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, docs, _ := strings.Cut(read("../docs/configuration.md"), "```go\n")
	docs, _, _ = strings.Cut(docs, "```")
	example := strings.Join(strings.Fields(read("example_reload_test.go")), " ")
	docs = strings.Join(strings.Fields(strings.TrimSuffix(docs, "err := group.Run(ctx)\n")), " ")
	if docs == "" || !strings.Contains(example, docs) {
		t.Errorf("the example lacks\n%s", docs)
	}
}
