package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// results is the part of bench's file that the charts show.
type results struct {
	Loads  []table  `json:"loads"`
	Memory []memory `json:"memory"`
	Pairs  []memory `json:"pairs"`
	KV     []table  `json:"kv"`
}

type table struct {
	Name    string    `json:"name"`
	Conns   int       `json:"connections"`
	Servers []summary `json:"servers"`
}

type summary struct {
	Server    string  `json:"server"`
	PerSecond float64 `json:"requests_per_second"`
	CPUMicros float64 `json:"cpu_us_per_request"`
	CPUPerGB  float64 `json:"cpu_s_per_gb"`
}

type memory struct {
	Server  string  `json:"server"`
	Conns   int     `json:"connections"`
	PerConn float64 `json:"rss_bytes_per_connection"`
}

func readResults(path string) (*results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(results)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// table finds the table of a load.
func (r *results) table(load string) (table, bool) {
	i := slices.IndexFunc(r.Loads, func(t table) bool { return t.Name == load })
	if i < 0 {
		return table{}, false
	}
	return r.Loads[i], true
}
