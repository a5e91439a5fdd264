//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// planted are bugs that a build with -tags planted can have, and how long a run is that must catch
// one.
var planted = []struct {
	name string
	what string
}{
	{"ack-early", "a write is acknowledged before it is durable"},
	{"commit-early", "the offset is committed before the store has the ratings"},
	{"count-twice", "a rating that is delivered again counts again"},
	{"wall-clock", "the order of ratings is that of clocks"},
	{"forget-invalidation", "a process goes on believing the tokens of a session that it ended"},
}

func plantNames() (names []string) {
	for _, p := range planted {
		names = append(names, p.name)
	}
	return append(names, plantNothing)
}

// plantNothing is the build for planted bugs without one: its clocks are wrong, and nothing else
// is. It must pass.
const plantNothing = "none"

const (
	plantSeeds  = 3
	plantLength = 30 * time.Second
	// plantDrained stands for drained in the embedded stack, where nothing takes long and what a bug
	// has lost does not come.
	plantDrained = 20 * time.Second
)

// tryPlants runs each planted bug with up to three seeds, the first one being l.seed, until one
// catches it. The build without a bug must pass with the first.
func (l *lab) tryPlants(ctx context.Context) error {
	var missed []string
	for _, name := range plantNames() {
		caught := []string{}
		for i := range uint64(plantSeeds) {
			one := *l
			one.plant, one.seed, one.length, one.keep = name, l.seed+i, plantLength, false
			found, err := one.run(ctx)
			if err != nil {
				return fmt.Errorf("planted %s, seed %d: %w", name, one.seed, err)
			}
			if len(found) > 0 {
				caught = append(caught, fmt.Sprint(one.seed))
			}
			if len(found) > 0 || name == plantNothing {
				break
			}
		}
		fmt.Fprintf(l.out, "faultlab: planted %s: caught by seeds [%s]\n", name, strings.Join(caught, " "))
		if (len(caught) > 0) == (name == plantNothing) {
			missed = append(missed, name)
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("not as it should be: %s", strings.Join(slices.Sorted(slices.Values(missed)), ", "))
	}
	return nil
}
