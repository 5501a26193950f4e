// Command smtpd receives mail by SMTP (RFC 5321) and stores it in a Maildir.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"wireline/handler"
	"wireline/lib/frame"
	"wireline/tcp"
)

// The exit codes.
const (
	exitOK     = 0 // a clean stop
	exitFailed = 1 // could not serve, or connections had to be cut
	exitUsage  = 2 // bad usage
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// options are the program's flags.
type options struct {
	tcp         tcp.Config
	smtp        Config
	domains     string
	maildir     string
	users       string
	cert, key   string
	implicitTLS bool

	idleTimeout, frameTimeout, writeTimeout time.Duration

	connections bool
}

// run is the program: it serves until it is told to stop, and returns the exit code.
func run(args []string, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage // flag has printed the error
	}
	o.tcp.Log = slog.New(slog.NewTextHandler(stderr, nil))
	o.smtp.Log = o.tcp.Log
	if err := listenAndServe(o); err != nil {
		if !errors.Is(err, tcp.ErrCut) { // the log's last line reports that
			fmt.Fprintln(stderr, "smtpd:", err)
		}
		return exitFailed
	}
	return exitOK
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := o.flags(stderr)
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if err := o.validate(f.Args()); err != nil {
		fmt.Fprintln(stderr, "smtpd:", err)
		return o, err
	}
	return o, nil
}

// flags returns the flags that set o.
func (o *options) flags(stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("smtpd", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.tcp.Address, "addr", "127.0.0.1:2525", "host:port to listen on; port 0 picks one")
	f.StringVar(&o.maildir, "maildir", "", "folder for the messages, created if necessary; empty discards them")
	f.StringVar(&o.smtp.Hostname, "hostname", "localhost", "name of this server")
	f.StringVar(&o.domains, "domains", "", "domains of recipients, separated by commas; empty accepts all")
	f.StringVar(&o.cert, "tls-cert", "", "file with the certificate chain in PEM, for STARTTLS")
	f.StringVar(&o.key, "tls-key", "", "file with the certificate's private key in PEM")
	f.BoolVar(&o.implicitTLS, "tls-implicit", false, "TLS from the first byte instead of STARTTLS, as on port 465")
	f.BoolVar(&o.smtp.RequireTLS, "require-tls", false, "refuse clients without TLS")
	f.StringVar(&o.users, "users", "", "file with lines user:password, for AUTH")
	f.BoolVar(&o.smtp.RequireAuth, "require-auth", false, "refuse messages of clients that have not authenticated")
	f.IntVar(&o.smtp.MaxSize, "max-size", defaultMaxSize, "longest message in bytes, up to 512 MiB")
	f.IntVar(&o.smtp.MaxRecipients, "max-recipients", defaultMaxRecipients, "recipients of a message")
	f.IntVar(&o.smtp.MaxErrors, "max-errors", defaultMaxErrors, "failed commands before the connection is closed")
	f.IntVar(&o.tcp.MaxClients, "max-clients", 0, "clients at one time, 0 = no limit")
	f.IntVar(&o.tcp.MaxClientsPerIP, "max-clients-per-ip", 0, "clients of one address, 0 = no limit")
	f.DurationVar(&o.idleTimeout, "idle-timeout", 5*time.Minute, "close a client after this time without a byte in either direction, 0 = never")
	f.DurationVar(&o.smtp.DataTimeout, "data-timeout", defaultDataTimeout, "the same within a message, 0 = never")
	f.DurationVar(&o.frameTimeout, "message-timeout", 2*time.Hour, "close a client whose message or command is not complete after this time, 0 = never")
	f.DurationVar(&o.writeTimeout, "write-timeout", time.Minute, "reset a client that takes no byte of a reply for this time, 0 = never")
	f.DurationVar(&o.tcp.HandshakeTimeout, "handshake-timeout", 10*time.Second, "close a client whose TLS handshake is not complete after this time")
	f.BoolVar(&o.connections, "log-connections", false, "log a line for each connection when it ends")
	return f
}

// validate reports a flag that is out of range, or an unexpected argument.
func (o *options) validate(rest []string) error {
	tlsFiles := o.cert != "" && o.key != ""
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.smtp.MaxSize <= 0 || o.smtp.MaxSize > frame.MaxMax:
		return errors.New("-max-size must be between 1 and 512 MiB")
	case o.smtp.MaxRecipients <= 0 || o.smtp.MaxErrors <= 0:
		return errors.New("-max-recipients and -max-errors must be positive")
	case o.idleTimeout < 0 || o.smtp.DataTimeout < 0 || o.frameTimeout < 0 || o.writeTimeout < 0:
		return errors.New("a timeout must not be negative")
	case !validDomain(o.smtp.Hostname):
		return errors.New("-hostname must be a domain name")
	case !tlsFiles && (o.cert != "" || o.key != ""):
		return errors.New("-tls-cert and -tls-key must be set together")
	case !tlsFiles && (o.implicitTLS || o.smtp.RequireTLS || o.users != ""):
		return errors.New("-tls-implicit, -require-tls and -users need -tls-cert and -tls-key")
	case o.users == "" && o.smtp.RequireAuth:
		return errors.New("-require-auth needs -users")
	}
	return o.tcp.Validate()
}

// load opens what the flags name.
func (o *options) load() error {
	if o.domains != "" {
		o.smtp.Domains = strings.Split(o.domains, ",")
	}
	if o.cert != "" {
		if err := o.loadTLS(); err != nil {
			return err
		}
	}
	if o.users != "" {
		f, err := os.Open(o.users)
		if err != nil {
			return err
		}
		defer f.Close()
		if o.smtp.Users, err = readUsers(f); err != nil {
			return fmt.Errorf("%s: %w", o.users, err)
		}
	}
	if o.maildir != "" {
		d, err := openMaildir(o.maildir)
		if err != nil {
			return err
		}
		o.smtp.Deliver = d.deliver
	}
	return nil
}

// loadTLS loads the certificate for STARTTLS, or leaves it to the server. Either way the files are
// read again when they change.
func (o *options) loadTLS() (err error) {
	files := tcp.TLSFiles{Cert: o.cert, Key: o.key}
	if o.implicitTLS {
		o.tcp.TLS = files
		return o.tcp.Validate()
	}
	o.smtp.TLS, err = files.ServerConfig(o.tcp.Log)
	return err
}

// listenAndServe serves until the process is told to stop.
func listenAndServe(o options) error {
	if err := o.load(); err != nil {
		return err
	}
	o.smtp.DataTimeout = cmp.Or(o.smtp.DataTimeout, -1) // in Config, zero is the default
	s := newServer(o.smtp)
	s.frames.IdleTimeout = o.idleTimeout
	s.frames.FrameTimeout = o.frameTimeout
	s.frames.WriteTimeout = cmp.Or(o.writeTimeout, -1) // in Frames, zero is the default
	s.frames.HandshakeTimeout = o.tcp.HandshakeTimeout
	s.frames.OnRecord = handler.LogFailures(o.tcp.Log)
	if o.connections {
		s.frames.OnRecord = handler.LogRecords(o.tcp.Log)
	}
	server := &tcp.Server{Config: o.tcp, Handler: &s.frames}
	group := tcp.Group{Servers: []*tcp.Server{server}}
	return group.Run(context.Background())
}
