package natsbus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startTimeout is how long an Embedded may take to start.
const startTimeout = 10 * time.Second

// Embedded is a NATS server in this process, so that nothing else has to run: alone, or as one of a
// cluster, in which each process has one. Set its fields before Start. The zero value is a server
// that only this process can reach.
//
// The server ends with the process. Where processes come and go often, a server of its own is
// better: the connections of its clients outlive them.
type Embedded struct {
	// Listen is the host:port for other processes; port 0 lets the system choose. Empty means that
	// only this process can connect.
	Listen string

	// Name is the name of the server. In a cluster it must be its own, and, with JetStream, the
	// same after each start. Empty means a random one.
	Name string

	// Cluster is the name of the cluster. Empty means that the server is alone. A cluster needs
	// Listen, too: "127.0.0.1:0" if only this process connects.
	Cluster string

	// ClusterListen is the host:port for the other servers of the cluster.
	ClusterListen string

	// Routes are the ClusterListen addresses of other servers. One is enough to find them all, if
	// it is there.
	Routes []string

	// StoreDir is where JetStream keeps its files. Empty means no JetStream.
	StoreDir string

	// Configure, if set, may change the options of the server before it starts, such as TLS and
	// users.
	Configure func(*server.Options)

	// Log gets the server's warnings and errors. Nil means slog.Default().
	Log *slog.Logger

	server *server.Server
}

// Start starts the server, and waits until it serves clients. An error says why it cannot; with a
// port that is taken it wraps syscall.EADDRINUSE.
func (e *Embedded) Start() error {
	if e.server != nil {
		return errors.New("natsbus: the server has been started")
	}
	opts, err := e.options()
	if err != nil {
		return err
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("natsbus: the NATS server: %w", err)
	}
	log := &serverLog{log: e.Log}
	if log.log == nil {
		log.log = slog.Default()
	}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if err := awaitStart(s, log); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return fmt.Errorf("natsbus: the NATS server does not start: %w", err)
	}
	e.server = s
	return nil
}

// awaitStart waits until the server serves clients, or has said why it does not.
func awaitStart(s *server.Server, log *serverLog) error {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); {
		if s.ReadyForConnections(50 * time.Millisecond) {
			return nil
		}
		if err := log.fatal.Load(); err != nil {
			return err
		}
	}
	return errors.New("it is not ready in time")
}

func (e *Embedded) options() (*server.Options, error) {
	opts := &server.Options{
		ServerName:   e.Name,
		DontListen:   e.Listen == "",
		NoSigs:       true,
		PingInterval: 5 * time.Second, // a machine that has vanished is found out in 15 s
		MaxPingsOut:  2,
		JetStream:    e.StoreDir != "",
		StoreDir:     e.StoreDir,
	}
	var err error
	if e.Listen != "" {
		opts.Host, opts.Port, err = hostPort("Listen", e.Listen)
	}
	if err == nil && e.Cluster != "" {
		opts.Cluster.Name = e.Cluster
		opts.Cluster.Host, opts.Cluster.Port, err = hostPort("ClusterListen", e.ClusterListen)
	}
	if err != nil {
		return nil, err
	}
	for _, route := range e.Routes {
		if _, _, err := hostPort("Routes", route); err != nil {
			return nil, err
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: route})
	}
	if e.Configure != nil {
		e.Configure(opts)
	}
	return opts, e.checkCluster(opts)
}

// checkCluster reports fields that the server would pass over, or wait for without end: it takes
// part in a cluster only when it listens for clients.
func (e *Embedded) checkCluster(opts *server.Options) error {
	switch clustered := opts.Cluster.Port != 0; {
	case !clustered && len(opts.Routes) > 0:
		return errors.New("natsbus: Embedded.Routes needs Cluster")
	case !clustered && e.ClusterListen != "":
		return errors.New("natsbus: Embedded.ClusterListen needs Cluster")
	case clustered && opts.DontListen:
		return errors.New("natsbus: Embedded.Cluster needs Listen")
	}
	return nil
}

// hostPort splits the address in a field. The server takes -1 for a port that the system chooses.
func hostPort(field, address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("natsbus: Embedded.%s: %w", field, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("natsbus: Embedded.%s: address %s: the port is no number", field, address)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// Option is for Bus.Options of this process: it connects to this server without a socket. The
// server must have been started.
func (e *Embedded) Option() nats.Option { return nats.InProcessServer(e.server) }

// URL is the address for other processes. It is empty without Listen.
func (e *Embedded) URL() string {
	if e.server == nil || e.Listen == "" {
		return ""
	}
	return e.server.ClientURL()
}

// Close stops the server, and waits until it has ended. Close the Bus first.
func (e *Embedded) Close() {
	if e.server == nil {
		return
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
	e.server = nil
}
