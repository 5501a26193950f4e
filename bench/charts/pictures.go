package main

import (
	"fmt"
	"image/color"
	"slices"
	"strings"
)

// picture is a chart of some loads.
type picture struct {
	file, title, unit string
	loads             []group
	figure            func(summary) float64
}

// group is a load and its name in the chart.
type group struct{ load, label string }

var pictures = []picture{
	{"requests.svg", "CPU of the server for a line, on one core (less is better)", "microseconds", []group{
		{"ping1", "1 connection"}, {"ping50", "50 connections"}, {"ping1000", "1000 connections"},
	}, cpuMicros},
	{"pipelined.svg", "Lines for a second of the server's CPU (more is better)", "millions", []group{
		{"pipe50x64", "50 connections, 64 lines under way on each"},
	}, millionsPerCPU},
	{"connect.svg", "CPU of the server for connect, one line, close (less is better)", "microseconds", []group{
		{"connect", "the client closes with a FIN"}, {"connect-reset", "the client closes with a RST"},
	}, cpuMicros},
	{"shared.svg", "Round trips a second, server and load on both cores (more is better)", "thousands", []group{
		{"shared1", "1 connection"}, {"shared50", "50 connections"}, {"shared1000", "1000 connections"},
	}, thousands},
	{"sleeping.svg", "Round trips a second, 1000 connections, on one core (more is better)", "thousands", []group{
		{"naps", "5 ms of sleep for every line"}, {"few-naps", "5 ms for one line in 100"},
	}, thousands},
	{"frames.svg", "CPU of the server for a gigabyte of frames (less is better)", "seconds", []group{
		{"frames16k", "16 KiB, 4 connections"}, {"frames1m", "1 MiB, 1 connection"},
	}, cpuPerGB},
	{"proxy.svg", "CPU of the proxy for a round trip (less is better)", "microseconds", []group{
		{"proxy1", "1 connection"}, {"proxy50", "50 connections"}, {"proxy1000", "1000 connections"},
	}, cpuMicros},
	{"proxy-streams.svg", "CPU of the proxy for a gigabyte, 4 connections (less is better)", "seconds", []group{
		{"proxy-up", "to the upstream"}, {"proxy-down", "to the client"},
	}, cpuPerGB},
}

func cpuMicros(s summary) float64      { return s.CPUMicros }
func millionsPerCPU(s summary) float64 { return 1 / s.CPUMicros }
func cpuPerGB(s summary) float64       { return s.CPUPerGB }
func thousands(s summary) float64      { return s.PerSecond / 1e3 }

// colors distinguish the servers, also for most people with colour blindness.
var colors = map[string]color.Color{
	"c-epoll":            color.RGBA{0x99, 0x99, 0x99, 0xff},
	"c-copy":             color.RGBA{0x99, 0x99, 0x99, 0xff},
	"c-whole":            color.RGBA{0x55, 0x55, 0x55, 0xff},
	"bufio":              color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	"netpoll":            color.RGBA{0x00, 0x9e, 0x73, 0xff},
	"wireline":           color.RGBA{0x00, 0x72, 0xb2, 0xff},
	"wireline-goroutine": color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	"wireline-admin":     color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	"redis":              color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	"wireline-kv":        color.RGBA{0x00, 0x72, 0xb2, 0xff},
	"io-copy":            color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	"nginx":              color.RGBA{0x00, 0x9e, 0x73, 0xff},
	"haproxy":            color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	"socat":              color.RGBA{0x99, 0x99, 0x99, 0xff},
	"wireline-proxy":     color.RGBA{0x00, 0x72, 0xb2, 0xff},
}

// colorOf returns black for servers without a colour.
func colorOf(server string) color.Color {
	if c, ok := colors[server]; ok {
		return c
	}
	return color.Black
}

// charts returns the charts of what was measured, by file.
func (r *results) charts() map[string]chart {
	all := make(map[string]chart)
	for _, p := range pictures {
		all[p.file] = p.of(r)
	}
	all["idle.svg"] = memoryChart("Memory of the server for an idle connection", "%d connections, after one line each", r.Memory)
	all["proxy-idle.svg"] = memoryChart("Memory of the proxy for an idle pair", "%d pairs, after one line each", r.Pairs)
	all["kv.svg"] = r.kvChart()
	for file, c := range all {
		if len(c.groups) == 0 {
			delete(all, file)
		}
	}
	return all
}

func (p picture) of(r *results) chart {
	c := chart{title: p.title, unit: p.unit}
	var tables []table
	for _, g := range p.loads {
		if t, ok := r.table(g.load); ok {
			c.groups, tables = append(c.groups, g.label), append(tables, t)
		}
	}
	c.series = seriesOf(tables, p.figure)
	return c
}

// seriesOf turns tables into bars: a colour for each server, in the order of the tables.
func seriesOf(tables []table, figure func(summary) float64) []series {
	var all []series
	for i, t := range tables {
		for _, s := range t.Servers {
			j := slices.IndexFunc(all, func(other series) bool { return other.name == s.Server })
			if j < 0 {
				j = len(all)
				all = append(all, series{s.Server, colorOf(s.Server), make([]float64, len(tables))})
			}
			all[j].values[i] = figure(s)
		}
	}
	return all
}

// memoryChart has a group named label, with the number of connections.
func memoryChart(title, label string, of []memory) chart {
	c := chart{title: title + " (less is better)", unit: "KiB"}
	for _, m := range of {
		c.groups = []string{fmt.Sprintf(label, m.Conns)}
		c.series = append(c.series, series{m.Server, colorOf(m.Server), []float64{m.PerConn / 1024}})
	}
	return c
}

func (r *results) kvChart() chart {
	c := chart{title: "redis-benchmark: requests for a second of the server's CPU (more is better)", unit: "millions"}
	for _, t := range r.KV {
		c.groups = append(c.groups, strings.Replace(t.Name, "-p", "\n-P ", 1))
	}
	c.series = seriesOf(r.KV, millionsPerCPU)
	return c
}
