//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
)

// turn is what has its turn in every round: one server under one load.
type turn struct {
	name    string
	measure func(context.Context) (measurement, error)
}

// interleave gives every server its turn in every round.
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

// rotated begins with another element each round, so that no server always
// follows the same one.
func rotated[T any](all []T, round int) []T {
	if len(all) == 0 {
		return nil
	}
	first := round % len(all)
	return append(slices.Clone(all[first:]), all[:first]...)
}

// quietest measures again while other work on the machine is in the way, a few
// times, and keeps the quietest try: chosen by what others did, never by how
// the server looked.
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
