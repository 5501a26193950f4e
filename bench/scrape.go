//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// scrapeInterval is the time between two requests for metrics.
const scrapeInterval = time.Second

// scraped is what the scraper prints when it has its first answer.
const scraped = "scraped\n"

// startScraper starts a process that asks the admin side at that address for its metrics, and
// waits for the first answer. stop ends it; its error says that a request has failed.
func (b *bench) startScraper(ctx context.Context, side netip.AddrPort, cores []int) (stop func() error, err error) {
	output, printing, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{name: cmdScrape, cmd: command(own, 1, b.self, cmdScrape, side.String()), cancel: cancel, output: output}
	r.cmd.Stdout = printing
	err = startOn(cores, r.cmd)
	printing.Close()
	if err != nil {
		cancel()
		output.Close()
		return nil, err
	}
	// Ending the process ends the read as well.
	ctx, done := context.WithTimeout(ctx, startBound)
	defer done()
	defer context.AfterFunc(ctx, r.cancel)()
	got := make([]byte, len(scraped))
	if _, err := io.ReadFull(output, got); err != nil {
		return nil, errors.Join(context.Cause(ctx), fmt.Errorf("no metrics came: %w", err), r.stop())
	}
	return r.stop, nil
}

// scrapeChild is the process.
func scrapeChild(side string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ticker := time.NewTicker(scrapeInterval)
	defer ticker.Stop()
	for first := true; ; first = false {
		if err := scrape(ctx, side); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if first {
			fmt.Print(scraped)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// scrape asks for the metrics once, as Prometheus does: over a connection that it keeps.
func scrape(ctx context.Context, side string) error {
	ctx, cancel := context.WithTimeout(ctx, stallBound)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+side+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("\nwireline_connections{")) {
		return fmt.Errorf("GET /metrics: %s, %d bytes", resp.Status, len(body))
	}
	return nil
}
