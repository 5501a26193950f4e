package config_test

import (
	"fmt"

	"wireline/config"
)

func ExampleLoad() {
	args := []string{"--tcp.max_clients", "100"}
	environ := []string{"WIRELINE_TCP_MAX_CLIENTS=10", "WIRELINE_ECHO_MAX_LINE=1MiB"}
	loaded, err := config.Load(args, environ)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(loaded.Config.TCP.MaxClients, loaded.Config.Echo.MaxLine)
	// Output: 100 1048576
}

func ExampleLoad_error() {
	_, err := config.Load([]string{"--log.level", "loud"}, []string{"WIRELINE_TCP_MAX_CLIENTS=ten"})
	fmt.Println(err)
	// Output:
	// tcp.max_clients: env WIRELINE_TCP_MAX_CLIENTS: "ten" is not a whole number
	// log.level: flag --log.level: "loud" must be debug, info, warn or error
}
