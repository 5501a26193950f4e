package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const someResults = `{
	"loads": [
		{"name": "ping1", "connections": 1, "servers": [
			{"server": "c-epoll", "cpu_us_per_request": 5.5, "requests_per_second": 1000},
			{"server": "wireline", "cpu_us_per_request": 8.2, "requests_per_second": 2000}]},
		{"name": "ping50", "connections": 50, "servers": [
			{"server": "wireline", "cpu_us_per_request": 4.26, "requests_per_second": 3000},
			{"server": "newcomer", "cpu_us_per_request": 4.37, "requests_per_second": 3000}]},
		{"name": "proxy50", "connections": 50, "servers": [{"server": "nginx", "cpu_us_per_request": 11.25}]},
		{"name": "proxy-up", "connections": 4, "servers": [{"server": "io-copy", "cpu_s_per_gb": 0.21}]}],
	"pairs": [{"server": "haproxy", "connections": 30, "rss_bytes_per_connection": 2048}],
	"memory": [{"server": "wireline", "connections": 20, "rss_bytes_per_connection": 614.4}],
	"kv": [{"name": "get-p16", "servers": [{"server": "redis", "cpu_us_per_request": 0.5}]}]
}`

func TestRunDrawsWhatWasMeasured(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "results.json"), filepath.Join(dir, "charts")
	if err := os.WriteFile(from, []byte(someResults), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(from, to); err != nil {
		t.Fatal(err)
	}
	for file, texts := range map[string][]string{
		"requests.svg":      {"1 connection", "50 connections", "microseconds", "wireline", "newcomer", "5.50", "8.20", "4.26", "4.37"},
		"idle.svg":          {"20 connections", "KiB", "0.600"},
		"proxy.svg":         {"50 connections", "nginx", "11.2"},
		"proxy-streams.svg": {"to the upstream", "io-copy", "0.210"},
		"proxy-idle.svg":    {"30 pairs", "haproxy", "2.00"},
		"kv.svg":            {"get", "-P 16", "redis", "2.00"},
	} {
		svg, err := os.ReadFile(filepath.Join(to, file))
		if err != nil {
			t.Fatal(err)
		}
		checkSVG(t, file, svg, texts)
	}
	if _, err := os.Stat(filepath.Join(to, "frames.svg")); err == nil {
		t.Error("there is a chart of frames, which were not measured")
	}
}

func checkSVG(t *testing.T, file string, svg []byte, texts []string) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	for _, text := range append(texts, shown) {
		if !strings.Contains(string(svg), text) {
			t.Errorf("%s: no %q", file, text)
		}
	}
}

func TestBadInput(t *testing.T) {
	if err := run(filepath.Join(t.TempDir(), "missing.json"), t.TempDir()); err == nil {
		t.Error("no error without results")
	}
	for _, c := range []chart{{}, {groups: []string{"a"}, series: []series{{name: "b"}}}} {
		if err := c.writeSVG(io.Discard); err == nil {
			t.Errorf("%+v was drawn", c)
		}
	}
}
