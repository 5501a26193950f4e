//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	startBound = 10 * time.Second     // for a server to listen
	taskBound  = time.Minute          // for a task, beyond its own duration
	connBound  = 5 * time.Millisecond // the same for each client
	stopBound  = 3 * time.Second      // from SIGTERM to SIGKILL
)

// command prepares a child process that ends with ctx. It has a process group of its own, so
// that a Ctrl-C reaches only this process, which then stops its children in order. The kernel
// kills it when this process dies. A Go program gets GOMAXPROCS from here.
func command(ctx context.Context, cores int, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", cores))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopBound
	return cmd
}

// running is a server process.
type running struct {
	name    string
	cmd     *exec.Cmd
	cancel  context.CancelFunc
	address netip.AddrPort
	second  netip.AddrPort // for plain clients of a server over TLS, or its admin side, if it has one of these

	forks    bool
	upstream *os.File // of a proxy: the listener of its upstream, on which the load accepts
	output   *os.File // of a server that prints its address
}

// startServer starts a server on its cores and waits until it listens. The caller stops it.
// ctx ends the load only: a server that ended with it would look like one that failed.
func (b *bench) startServer(ctx context.Context, s server, w work, cores []int) (*running, error) {
	return b.startServing(ctx, cmdServe, s, w, cores)
}

func (b *bench) startServing(ctx context.Context, subcommand string, s server, w work, cores []int) (*running, error) {
	path, name := b.programOf(s)
	args := b.childArgs(subcommand, s, name, string(w))
	if s.isC() {
		path, args = b.programs[s.source], []string{s.mode}
	}
	r, err := b.startAnnounced(ctx, s.name, cores, path, args...)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	return r, nil
}

// programOf returns the bench program that has s, and the name of s in it.
func (b *bench) programOf(s server) (path, name string) {
	if s.binary != "" {
		return s.binary, s.nameThere
	}
	return b.self, s.name
}

// startAnnounced starts a program that prints the address on which it listens.
func (b *bench) startAnnounced(ctx context.Context, name string, cores []int, path string, args ...string) (*running, error) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{name: name, cmd: command(own, len(cores), path, args...), cancel: cancel}
	if err := r.start(ctx, cores); err != nil {
		cancel()
		return nil, err
	}
	return r, nil
}

// startAt starts a program that prints no address, on an address that was free just before,
// and waits until it accepts connections.
func (b *bench) startAt(ctx context.Context, name, path string, cores []int, args func(netip.AddrPort) ([]string, error)) (*running, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	all, err := args(address)
	if err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{name: name, cmd: command(own, len(cores), path, all...), cancel: cancel, address: address}
	var said bytes.Buffer
	r.cmd.Stderr = &said
	if err := startOn(cores, r.cmd); err != nil {
		cancel()
		return nil, err
	}
	if err := awaitListener(ctx, address); err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, r.stop()), &said)
	}
	return r, nil
}

func freeAddress() (netip.AddrPort, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	return ln.Addr().(*net.TCPAddr).AddrPort(), ln.Close()
}

func awaitListener(ctx context.Context, address netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp4", address.String())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *running) start(ctx context.Context, cores []int) error {
	output, printing, err := os.Pipe()
	if err != nil {
		return err
	}
	r.output, r.cmd.Stdout = output, printing
	err = startOn(cores, r.cmd)
	printing.Close()
	if err != nil {
		output.Close()
		return err
	}
	// Ending the process ends the read as well.
	ctx, done := context.WithTimeout(ctx, startBound)
	defer done()
	defer context.AfterFunc(ctx, r.cancel)()
	if r.address, r.second, err = readAnnouncement(output); err != nil {
		return errors.Join(context.Cause(ctx), err, r.stop())
	}
	return nil
}

// readAnnouncement returns the zero value for second if there is one address.
func readAnnouncement(out io.Reader) (address, second netip.AddrPort, err error) {
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return address, second, fmt.Errorf("the server printed no address: %w", err)
	}
	first, rest, two := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, announcement)), " ")
	if address, err = netip.ParseAddrPort(first); err == nil && two {
		second, err = netip.ParseAddrPort(rest)
	}
	return address, second, err
}

// stop ends the server and waits for it. A signal, or an exit code that reports one, as
// socat's, is not an error.
func (r *running) stop() error {
	r.cancel()
	for _, file := range []*os.File{r.upstream, r.output} {
		if file != nil {
			defer file.Close()
		}
	}
	err := r.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == 128+int(syscall.SIGTERM):
		return nil
	}
	return fmt.Errorf("stop %s: %w", r.name, err)
}

// runTask runs a task in a process of its own, on the load's cores. The process inherits the
// file if it is not nil.
func (b *bench) runTask(ctx context.Context, subcommand string, t task, cores []int, inherited *os.File, result any) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Warmup+t.Measure+t.Sleep+taskBound+time.Duration(t.Conns)*connBound)
	defer cancel()
	var out bytes.Buffer
	cmd := command(ctx, 1, b.self, subcommand, string(text))
	cmd.Stdout = &out
	if inherited != nil {
		cmd.ExtraFiles = []*os.File{inherited} // as upstreamFD or heapFD
	}
	if err := startOn(cores, cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%s: %w", subcommand, err)
	}
	return json.Unmarshal(out.Bytes(), result)
}
