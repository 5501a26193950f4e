package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"wireline/examples/gateway/protocol"
)

// simulator is a device to try the gateway with. It has values, which commands read and set, and sends
// the temperature.
type simulator struct {
	id      string
	address string
	every   time.Duration // between two readings
	retry   time.Duration // before the next connection; 0 means that there is none
	mute    bool          // answers no command
	out     io.Writer     // what happens

	mu     sync.Mutex
	values map[string]float64
}

// runSimulator runs "gateway device" until it is told to stop, and returns the exit code.
func runSimulator(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	d := &simulator{out: stdout, values: map[string]float64{"temperature": 61.5, "target": 60}}
	f := flag.NewFlagSet("gateway device", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&d.id, "id", "boiler", "the id to log in with")
	f.StringVar(&d.address, "address", "127.0.0.1:7000", "host:port of the gateway")
	f.DurationVar(&d.every, "every", 10*time.Second, "time between two readings")
	f.DurationVar(&d.retry, "retry", time.Second, "time before the next connection, 0 = end with the first one")
	f.BoolVar(&d.mute, "mute", false, "answer no command")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage // flag has printed the error
	case f.NArg() > 0 || !protocol.IsName(d.id) || d.every <= 0 || d.retry < 0:
		fmt.Fprintln(stderr, "gateway device: an argument, an id that is not valid, or a time that is out of range")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := d.run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "gateway device:", err)
		return exitFailed
	}
	return exitOK
}

// run connects again and again, unless the gateway has said that it makes no sense.
func (d *simulator) run(ctx context.Context) error {
	for {
		err := d.session(ctx)
		var why *protocol.Error
		if ctx.Err() != nil || d.retry == 0 || errors.As(err, &why) && !why.Code.Again() {
			return err
		}
		fmt.Fprintf(d.out, "%v; again in %v\n", err, d.retry)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(d.retry):
		}
	}
}

// session is one connection. It returns why that has ended.
func (d *simulator) session(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c := protocol.NewConn(conn)
	if err := c.WriteMessage(protocol.Message{Type: protocol.Login, Sequence: 1, Payload: []byte(d.id)}); err != nil {
		return err
	}
	m, err := c.ReadMessage()
	if err != nil {
		return err
	}
	if m.Type != protocol.Welcome {
		return unexpected(m)
	}
	silence, err := protocol.ParseSilence(m.Payload)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "%s is logged in\n", d.id)
	ended := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() { d.send(c, silence, ended) })
	err = d.receive(c)
	close(ended)
	conn.Close()
	sender.Wait()
	return err
}

// send sends readings, and heartbeats where these are too rare, until the session has ended. receive
// notices if the connection fails.
func (d *simulator) send(c *protocol.Conn, silence time.Duration, ended <-chan struct{}) {
	readings, heartbeats := time.NewTicker(d.every), time.NewTicker(silence/3)
	defer readings.Stop()
	defer heartbeats.Stop()
	c.WriteMessage(d.reading(2))
	for sequence := uint32(3); ; sequence++ {
		select {
		case <-readings.C:
			c.WriteMessage(d.reading(sequence))
		case <-heartbeats.C:
			c.WriteMessage(protocol.Message{Type: protocol.Heartbeat, Sequence: sequence})
		case <-ended:
			return
		}
	}
}

// reading returns a message with the temperature.
func (d *simulator) reading(sequence uint32) protocol.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := protocol.Measurement{Name: "temperature", Value: d.values["temperature"]}
	return protocol.Message{Type: protocol.Reading, Sequence: sequence, Payload: m.Append(nil)}
}

// receive serves the gateway's messages until the connection ends.
func (d *simulator) receive(c *protocol.Conn) error {
	for {
		m, err := c.ReadMessage()
		if err != nil {
			return err
		}
		switch m.Type {
		case protocol.Ack:
			fmt.Fprintf(d.out, "message %d is acknowledged\n", m.Sequence)
		case protocol.Heartbeat:
			err = c.WriteMessage(protocol.Message{Type: protocol.Ack, Sequence: m.Sequence})
		case protocol.Command:
			err = d.serve(c, m)
		default:
			return unexpected(m)
		}
		if err != nil {
			return err
		}
	}
}

// unexpected returns the error for a message that ends a session.
func unexpected(m protocol.Message) error {
	if m.Type != protocol.Failure {
		return fmt.Errorf("a message of type %#02x", byte(m.Type))
	}
	why, err := protocol.ParseError(m.Payload)
	if err != nil {
		return err
	}
	return why
}

var errReboot = errors.New("reboot")

// serve executes a command, and answers it unless the device is mute.
func (d *simulator) serve(c *protocol.Conn, m protocol.Message) error {
	command := string(m.Payload)
	fmt.Fprintf(d.out, "command: %s\n", command)
	if command == "reboot" {
		return errReboot
	}
	if d.mute {
		return nil
	}
	output, ok := d.execute(strings.Fields(command))
	result := protocol.Result{Refused: !ok, Output: []byte(output)}
	return c.WriteMessage(protocol.Message{Type: protocol.Answer, Sequence: m.Sequence, Payload: result.Append(nil)})
}

// execute executes a command.
func (d *simulator) execute(words []string) (output string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(words) == 2 && words[0] == "get":
		if value, ok := d.values[words[1]]; ok {
			return fmt.Sprintln(value), true
		}
	case len(words) == 3 && words[0] == "set" && words[1] == "target":
		if value, err := strconv.ParseFloat(words[2], 64); err == nil {
			d.values[words[1]] = value
			return "ok\n", true
		}
	}
	return "the commands are: get temperature, get target, set target NUMBER, reboot", false
}
