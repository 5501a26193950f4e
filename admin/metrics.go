package admin

import (
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wireline/hub"
	"wireline/lib/histogram"
	"wireline/proxy"
)

// maxScrapes is how many requests for metrics are answered at the same time.
const maxScrapes = 4

// metrics returns the handler of /metrics. It has a registry of its own.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{s},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Registry: registry})
}

// allDescs are the results of describe.
var allDescs []*prometheus.Desc

// describe makes the description of a metric.
func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("wireline_"+name, help, labels, nil)
	allDescs = append(allDescs, d)
	return d
}

var (
	descConnections = describe("connections", "Open connections that the handler serves.", "service")
	descAccepted    = describe("connections_accepted_total", "Connections that the handler was given.", "service")
	descEnded       = describe("connections_ended_total", "Connections that have ended, by the party that ended them and the reason.", "service", "by", "reason")
	descRefused     = describe("connections_refused_total", "Connections that the handler was not given, by why.", "service", "why")
	descDuration    = describe("connection_duration_seconds", "How long the connections that have ended had lasted, in seconds.", "service")
	descBytes       = describe("bytes_total", "Bytes read from clients (in) and written to them (out), of open connections too.", "service", "direction")
	descFrames      = describe("frames_total", "Frames served (in) and messages written (out), of open connections too.", "service", "direction")
	descProbes      = describe("probes_total", "Connections that were checks of balancers or monitors.", "service")
	descPanics      = describe("panics_total", "Panics of the handler.", "service")
	descAcceptErrs  = describe("accept_errors_total", "Accepts that have failed and were tried again.", "service")
	descReady       = describe("ready", "1 if the service accepts clients and has not begun to stop, else 0.", "service")

	descHandshake  = describe("tls_handshake_duration_seconds", "How long the TLS handshakes of clients have taken that have succeeded, with their time in the queue, in seconds.", "service")
	descHandshakes = describe("tls_handshakes", "TLS handshakes that are computed now, or queued.", "service", "state")

	descUpstreamUp          = describe("upstream_up", "1 if the upstream is up, 0 if it is down.", "service", "upstream")
	descUpstreamWeight      = describe("upstream_weight", "Weight of the upstream; 0 if an operator has drained it or taken it down.", "service", "upstream")
	descUpstreamConnections = describe("upstream_connections", "Clients that the upstream has now, also those still connecting.", "service", "upstream")
	descUpstreamConnects    = describe("upstream_connects_total", "Connects to the upstream for clients, the pool and checks, by result: ok or failed.", "service", "upstream", "result")
	descUpstreamDuration    = describe("upstream_connect_duration_seconds", "How long the connects to the upstream have taken that have succeeded, with the TLS handshake, in seconds.", "service", "upstream")
	descUpstreamPool        = describe("upstream_pool_connections", "Connections that wait in the upstream's pool.", "service", "upstream")

	descHubClients     = describe("hub_clients", "Clients that have joined the hub in this process.", "hub")
	descHubRooms       = describe("hub_rooms", "Rooms that somebody is in, in this process.", "hub")
	descHubMemberships = describe("hub_memberships", "Memberships of clients of this process in rooms.", "hub")
	descHubJoins       = describe("hub_joins_total", "Joins, by result: joined, taken (another client has the key), or failed because of the bus.", "hub", "result")
	descHubLeft        = describe("hub_left_total", "Clients that have left the hub, or have ended.", "hub")
	descHubReplaced    = describe("hub_replaced_total", "Clients that have left because their key went to a newer client, here or in another process.", "hub")
	descHubKicked      = describe("hub_kicked_total", "Clients of this process that were closed by Kick.", "hub")
	descHubSends       = describe("hub_sends_total", "Messages sent to keys by this process, by result: sent, slow, gone, unknown or failed.", "hub", "result")
	descHubPublished   = describe("hub_published_total", "Messages published to rooms by this process.", "hub")
	descHubPublishErrs = describe("hub_publish_failures_total", "Messages published to rooms that did not go to the bus, or not to all clients.", "hub")
	descHubDeliveries  = describe("hub_deliveries_total", "Deliveries of messages to clients of this process in rooms, by result: sent, slow or gone.", "hub", "result")
	descHubRequests    = describe("hub_requests_total", "Requests of this process to clients that are over, by result: answered or failed.", "hub", "result")
	descHubWaiting     = describe("hub_requests_waiting", "Requests of this process that wait for an answer.", "hub")

	descBusUp         = describe("hub_bus_up", "1 if the broker of the hub's bus is there, else 0.", "hub")
	descBusNodes      = describe("hub_bus_nodes", "Processes that are known at the bus, with this one.", "hub")
	descBusMessages   = describe("hub_bus_messages_total", "Messages to other processes (out) and from them (in).", "hub", "direction")
	descBusDropped    = describe("hub_bus_dropped_total", "Messages from other processes that were lost because this process was too slow to take them.", "hub")
	descBusReconnects = describe("hub_bus_reconnects_total", "How often the broker has come back.", "hub")
	descBusRoundTrip  = describe("hub_bus_round_trip_seconds", "How long the last answer of the broker has taken, in seconds.", "hub")
	descBusClaims     = describe("hub_bus_claims", "Keys that this process owns at the bus.", "hub")
	descBusLost       = describe("hub_bus_claims_lost_total", "Keys that other processes have taken over.", "hub")

	descLogDropped = describe("log_dropped_total", "Records that the log did not take because nobody read it.")
	descBuild      = describe("build_info", "1; the labels say what the program was built from.", "version", "goversion")
)

// collector makes the metrics of a Server when they are asked for. Nothing is counted for them
// in advance that is not counted anyway.
type collector struct{ server *Server }

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range allDescs {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	out := sink{metrics}
	services := c.server.counted()
	dropped := uint64(0)
	for _, x := range services {
		dropped = max(dropped, out.service(x)) // servers that share a log share the count
		out.upstreams(x)
	}
	for _, h := range c.server.hubs() {
		out.hub(h)
	}
	out.counter(descLogDropped, float64(dropped))
	out.gauge(descBuild, 1, c.server.Version, runtime.Version())
}

// sink sends metrics.
type sink struct{ metrics chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, readable(labels)...)
}

func (s sink) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, readable(labels)...)
}

// readable returns labels as UTF-8, since one that is not would cost the whole answer: the name of an
// upstream may be that of a file, which can have any bytes. Different labels stay different.
func readable(labels []string) []string {
	labels = slices.Clone(labels)
	for i, label := range labels {
		if !utf8.ValidString(label) || strings.Contains(label, `\`) {
			quoted := strconv.Quote(label)
			labels[i] = quoted[1 : len(quoted)-1]
		}
	}
	return labels
}

// counters sends a counter for each result.
func (s sink) counters(d *prometheus.Desc, results map[string]int64, name string) {
	for result, n := range results {
		s.counter(d, float64(n), name, result)
	}
}

func (s sink) histogram(d *prometheus.Desc, h histogram.Snapshot, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Buckets))
	for _, b := range h.Buckets {
		buckets[b.UpTo.Seconds()] = b.Count
	}
	s.metrics <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets, readable(labels)...)
}

// service sends the metrics of a service, and returns how many records its log has dropped.
func (s sink) service(x service) (dropped uint64) {
	stats := x.Stats()
	t := x.totals(stats)
	s.gauge(descConnections, float64(x.open(t, stats)), x.name)
	s.counter(descAccepted, float64(t.Opened), x.name)
	for cause, n := range t.Ended {
		s.counter(descEnded, float64(n), x.name, string(cause.By), string(cause.Reason))
	}
	for why, n := range refusals(stats) {
		s.counter(descRefused, float64(n), x.name, why)
	}
	if x.observed() != nil {
		s.histogram(descDuration, t.Durations, x.name)
		s.counter(descBytes, float64(t.BytesIn), x.name, "in")
		s.counter(descBytes, float64(t.BytesOut), x.name, "out")
		s.counter(descFrames, float64(t.FramesIn), x.name, "in")
		s.counter(descFrames, float64(t.FramesOut), x.name, "out")
	}
	s.counter(descProbes, float64(stats.Probes), x.name)
	s.counter(descPanics, float64(stats.Panics), x.name)
	s.counter(descAcceptErrs, float64(stats.AcceptErrors), x.name)
	s.gauge(descReady, number01(x.Ready()), x.name)
	s.histogram(descHandshake, x.HandshakeTimes(), x.name)
	s.gauge(descHandshakes, float64(stats.ComputingHandshakes), x.name, "computing")
	s.gauge(descHandshakes, float64(stats.QueuedHandshakes), x.name, "queued")
	return stats.DroppedLogs
}

// upstreams sends the metrics of the upstreams of a service.
func (s sink) upstreams(x service) {
	for _, u := range x.upstreams() {
		s.gauge(descUpstreamUp, number01(u.Up), x.name, u.Name)
		s.gauge(descUpstreamWeight, weight(u), x.name, u.Name)
		s.gauge(descUpstreamConnections, float64(u.Active), x.name, u.Name)
		s.counter(descUpstreamConnects, float64(u.Connects), x.name, u.Name, "ok")
		s.counter(descUpstreamConnects, float64(u.Failures), x.name, u.Name, "failed")
		s.histogram(descUpstreamDuration, u.ConnectTimes, x.name, u.Name)
		s.gauge(descUpstreamPool, float64(u.Pool.Idle), x.name, u.Name)
	}
}

// hub sends the metrics of a hub, and of its bus if it has one.
func (s sink) hub(h namedHub) {
	stats := h.Stats()
	s.gauge(descHubClients, float64(stats.Clients), h.name)
	s.gauge(descHubRooms, float64(stats.Rooms), h.name)
	s.gauge(descHubMemberships, float64(stats.Memberships), h.name)
	s.counters(descHubJoins, joinResults(stats), h.name)
	s.counter(descHubLeft, float64(stats.Left), h.name)
	s.counter(descHubReplaced, float64(stats.Replaced), h.name)
	s.counter(descHubKicked, float64(stats.Kicked), h.name)
	s.counters(descHubSends, sendResults(stats.Sends), h.name)
	s.counter(descHubPublished, float64(stats.Publishes.Messages), h.name)
	s.counter(descHubPublishErrs, float64(stats.Publishes.Failed), h.name)
	s.counters(descHubDeliveries, deliveryResults(stats.Publishes), h.name)
	s.counters(descHubRequests, requestResults(stats.Requests), h.name)
	s.gauge(descHubWaiting, float64(stats.Requests.Waiting), h.name)
	if stats.Bus != nil {
		s.bus(stats.Bus, h.name)
	}
}

// bus sends the metrics of the bus of a hub.
func (s sink) bus(b *hub.BusStats, name string) {
	s.gauge(descBusUp, number01(b.Connected), name)
	s.gauge(descBusNodes, float64(b.Nodes), name)
	s.counter(descBusMessages, float64(b.Out), name, "out")
	s.counter(descBusMessages, float64(b.In), name, "in")
	s.counter(descBusDropped, float64(b.Dropped), name)
	s.counter(descBusReconnects, float64(b.Reconnects), name)
	if b.RoundTrip > 0 {
		s.gauge(descBusRoundTrip, b.RoundTrip.Seconds(), name)
	}
	s.gauge(descBusClaims, float64(b.Claims), name)
	s.counter(descBusLost, float64(b.Lost), name)
}

// weight returns the weight of an upstream for new clients.
func weight(u proxy.UpstreamStats) float64 {
	if u.State != proxy.UpstreamUp {
		return 0
	}
	return float64(u.Weight)
}

func number01(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
