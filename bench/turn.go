//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
)

// turn is one server under one load; it is measured once in every round.
type turn struct {
	name    string
	measure func(context.Context) (measurement, error)
}

// interleave measures every server once in every round.
func (b *bench) interleave(ctx context.Context, label string, turns []turn) (map[string][]measurement, error) {
	rounds := make(map[string][]measurement)
	for round := range b.rounds {
		fmt.Fprintf(b.progress, "%s: round %d of %d\n", label, round+1, b.rounds)
		for _, t := range rotated(turns, round) {
			m, err := b.quietest(ctx, t)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			rounds[t.name] = append(rounds[t.name], m)
		}
	}
	return rounds, nil
}

// rotated starts with another element each round, so that a server does not always follow the
// same one.
func rotated[T any](all []T, round int) []T {
	if len(all) == 0 {
		return nil
	}
	first := round % len(all)
	return append(slices.Clone(all[first:]), all[:first]...)
}

// quietest repeats a measurement, a few times, while other processes use the machine, and
// keeps the quietest try. The choice depends on the other processes, never on the server's
// figures.
func (b *bench) quietest(ctx context.Context, t turn) (quietest measurement, err error) {
	for try := range b.tries {
		m, err := t.measure(ctx)
		if err != nil {
			return m, err
		}
		if try == 0 || m.Foreign < quietest.Foreign {
			quietest = m
		}
		if quietest.Foreign <= quietEnough {
			break
		}
	}
	return quietest, nil
}

func names(turns []turn) []string {
	all := make([]string, len(turns))
	for i, t := range turns {
		all[i] = t.name
	}
	return all
}
