package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"
)

// section is a part of the reply to INFO.
type section struct {
	name  string
	write func(*server, *report)
}

var sections = []section{
	{"Server", infoServer},
	{"Clients", infoClients},
	{"Memory", infoMemory},
	{"Stats", infoStats},
	{"Keyspace", infoKeyspace},
}

// report is the text of INFO: a line for each value.
type report struct{ strings.Builder }

func (r *report) line(key string, value any) { fmt.Fprintf(r, "%s:%v\r\n", key, value) }

// info is INFO [section ...]. An unknown section is empty.
func info(x *session, args [][]byte) error {
	var r report
	for _, s := range sections {
		if !asks(args[1:], s.name) {
			continue
		}
		if r.Len() > 0 {
			r.WriteString("\r\n")
		}
		fmt.Fprintf(&r, "# %s\r\n", s.name)
		s.write(x.server, &r)
	}
	x.bulks(r.String())
	return nil
}

// asks reports whether names ask for a section, by its name or by one that means all.
func asks(names [][]byte, section string) bool {
	if len(names) == 0 {
		return true
	}
	for _, name := range names {
		for _, word := range []string{strings.ToLower(section), "all", "default", "everything"} {
			if equalFold(name, word) {
				return true
			}
		}
	}
	return false
}

func infoServer(s *server, r *report) {
	up := time.Since(s.begin)
	r.line("redis_version", version)
	r.line("redis_mode", "standalone")
	r.line("server_name", "wireline kv")
	r.line("os", runtime.GOOS)
	r.line("arch_bits", 32<<(^uint(0)>>63))
	r.line("go_version", runtime.Version())
	r.line("process_id", os.Getpid())
	r.line("uptime_in_seconds", int64(up.Seconds()))
	r.line("uptime_in_days", int64(up.Hours()/24))
}

func infoClients(s *server, r *report) {
	clients, _, _ := s.totals()
	r.line("connected_clients", clients)
	r.line("blocked_clients", 0)
}

func infoMemory(_ *server, r *report) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	used := samples[0].Value.Uint64()
	held := samples[1].Value.Uint64() - samples[2].Value.Uint64()
	r.line("used_memory", used)
	r.line("used_memory_human", human(used))
	r.line("used_memory_rss", held)
	r.line("used_memory_rss_human", human(held))
	r.line("maxmemory", 0)
	r.line("maxmemory_human", "0B")
	r.line("maxmemory_policy", "noeviction")
}

func infoStats(s *server, r *report) {
	_, opened, executed := s.totals()
	hits, misses, expired := s.store.counts()
	r.line("total_connections_received", opened)
	r.line("total_commands_processed", executed)
	r.line("expired_keys", expired)
	r.line("evicted_keys", 0)
	r.line("keyspace_hits", hits)
	r.line("keyspace_misses", misses)
}

func infoKeyspace(s *server, r *report) {
	if keys, timed, ttl := s.store.size(); keys > 0 {
		fmt.Fprintf(r, "db0:keys=%d,expires=%d,avg_ttl=%d\r\n", keys, timed, ttl)
	}
}

// human formats a size in bytes with two decimals and a unit.
func human(n uint64) string {
	size, unit := float64(n), 0
	for size >= 1024 && unit < 4 {
		size /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.2f%c", size, "BKMGT"[unit])
}
