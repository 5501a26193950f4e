package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"wireline/examples/rpc/rpcclient"
)

const callUsage = `Usage: rpc call [flags] METHOD [PARAMS]

Calls a method of a server, with PARAMS as JSON, and prints the result.
`

// call is the command "rpc call". It returns the exit code.
func call(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("rpc call", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(f.Output(), callUsage)
		f.PrintDefaults()
	}
	address := f.String("address", defaultAddress, "host:port of the server")
	timeout := f.Duration("timeout", 10*time.Second, "for the connection and the call")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage // flag has printed the error
	}
	var params json.RawMessage
	switch f.NArg() {
	case 1:
	case 2:
		params = json.RawMessage(f.Arg(1))
	default:
		f.Usage()
		return exitUsage
	}
	if params != nil && !json.Valid(params) {
		fmt.Fprintln(stderr, "rpc: the params are not JSON")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	result, err := callOnce(ctx, *address, f.Arg(0), params)
	if err != nil {
		fmt.Fprintln(stderr, "rpc:", err)
		return exitFailed
	}
	fmt.Fprintln(stdout, result)
	return exitOK
}

// callOnce connects, and calls a method. It returns the result as it is written.
func callOnce(ctx context.Context, address, method string, params json.RawMessage) (string, error) {
	c, err := rpcclient.Dial(ctx, "tcp", address, rpcclient.Options{})
	if err != nil {
		return "", err
	}
	defer c.Close()
	var in any
	if params != nil {
		in = params
	}
	var result json.RawMessage
	if err := c.Call(ctx, method, in, &result); err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(result)), nil
}
