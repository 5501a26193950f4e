package config_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"wireline/config"
	"wireline/lib/field"
	"wireline/lib/logger"
	"wireline/tcp"
)

// Gateway is the configuration of a program with a section of its own.
type Gateway struct {
	TCP     tcp.Config    `config:"tcp"`
	Log     logger.Config `config:"log"`
	Devices Devices       `config:"devices"`
}

// Devices is the section devices.
type Devices struct {
	Register string        `config:"register" help:"file with the devices"`
	Silence  time.Duration `config:"silence" default:"5m" help:"a device is lost after this time"`
}

// Validate is called by config.Load.
func (d *Devices) Validate() error {
	if d.Silence < time.Second {
		return &field.Error{Field: "Silence", Value: d.Silence, Reason: "must be at least a second"}
	}
	return nil
}

// Check is called for --check.
func (d *Devices) Check(context.Context) error {
	if _, err := os.Stat(d.Register); d.Register != "" && errors.Is(err, os.ErrNotExist) {
		return &field.Error{Field: "Register", Value: d.Register, Reason: "does not exist"}
	}
	return nil
}

// A program reads its own configuration. Without Args and Environ, those of the process count.
func ExampleLoad() {
	var mine Gateway
	loaded, err := config.Load(&mine, config.Options{
		Name: "gateway", Prefix: "GATEWAY",
		Defaults: map[string]string{"tcp.address": ":7000"},
		Args:     []string{"--tcp.max_clients", "100"},
		Environ:  []string{"GATEWAY_TCP_MAX_CLIENTS=10", "GATEWAY_DEVICES_SILENCE=90s"},
	})
	if err != nil {
		fmt.Println(err) // one problem a line
		os.Exit(2)
	}
	answered, err := loaded.Answer(context.Background(), os.Stdout, nil)
	if answered || err != nil { // --help, --check and the like
		return
	}
	fmt.Println(mine.TCP.Address, mine.TCP.MaxClients, mine.Devices.Silence)
	// Output: :7000 100 1m30s
}

func ExampleLoad_error() {
	var mine Gateway
	_, err := config.Load(&mine, config.Options{
		Prefix:  "GATEWAY",
		Args:    []string{"--log.level", "loud", "--devices.silence=0s", "--device.silence=1m"},
		Environ: []string{"GATEWAY_TCP_MAX_CLIENTS=ten"},
	})
	fmt.Println(err)
	// Output:
	// tcp.max_clients: env GATEWAY_TCP_MAX_CLIENTS: "ten" is not a whole number
	// flag --device.silence: unknown flag (did you mean --devices.silence?)
	// log.level: flag --log.level: "loud" must be debug, info, warn or error
	// devices.silence: flag --devices.silence: "0s" must be at least a second
}

// The table of the keys for a page of documentation.
func ExampleTable() {
	config.Table(os.Stdout, &struct {
		Devices Devices `config:"devices"`
	}{}, config.Options{Prefix: "GATEWAY"})
	// Output:
	// | key | default | env | meaning |
	// |---|---|---|---|
	// | `devices.register` |  | `GATEWAY_DEVICES_REGISTER` | file with the devices |
	// | `devices.silence` | `5m` | `GATEWAY_DEVICES_SILENCE` | a device is lost after this time |
}
