//go:build linux

package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func testStack() *stack {
	s := &stack{disk: &disk{small: true}, servers: []*server{{name: "postgres"}, {name: "kafka"}, {name: "redis"}}}
	for _, name := range []string{"api1", "api2", "worker1", "worker2"} {
		n := newNode("", "", name, "", name[:len(name)-1], "")
		n.links = map[string]*link{"postgres": {}, "kafka": {}, "redis": {}}
		s.nodes = append(s.nodes, n)
	}
	return s
}

func names(plans []plan) (all []string) {
	for _, p := range plans {
		all = append(all, p.at.String()+" "+p.name+" "+p.longest.String())
	}
	return all
}

// A seed is all that it takes to repeat the faults of a run.
func TestSeedDecidesFaults(t *testing.T) {
	t.Parallel()
	s := testStack()
	one, again, other := names(
		s.newPlans(7, time.Minute),
	), names(
		s.newPlans(7, time.Minute),
	), names(
		s.newPlans(8, time.Minute),
	)
	if !slices.Equal(one, again) {
		t.Error("the same seed has other faults")
	}
	if slices.Equal(one, other) {
		t.Error("another seed has the same faults")
	}
	if len(one) < 10 {
		t.Errorf("there are %d faults in a minute", len(one))
	}
}

func TestNemesisNotesWhatIsBroken(t *testing.T) {
	t.Parallel()
	began := time.Now()
	m := newNemesis(func() time.Duration { return time.Since(began) }, func(string, ...any) {})
	broken := errors.New("no such process")
	m.run(context.Background(), []plan{
		{
			0,
			fault{
				name:    "first",
				locks:   []string{"a"},
				forgets: true,
				longest: time.Millisecond,
				begin:   func() error { return violated("F19", "it hangs") },
				end:     func() error { return nil },
			},
		},
		{0, fault{name: "second", locks: []string{"a"}, begin: func() error { return broken }}},
	}, time.Hour)
	periods := m.all()
	if len(periods) != 2 || m.count() != 2 {
		t.Fatalf("%d faults are noted", len(periods))
	}
	first, second := periods[0], periods[1]
	if first.name == "second" {
		first, second = second, first
	}
	if first.start < second.end && second.start < first.end {
		t.Errorf("two faults of one process met: %v to %v, %v to %v", first.start, first.end, second.start, second.end)
	}
	if !first.forgets || second.forgets {
		t.Error("which fault makes caches forget is not noted")
	}
	if found := m.violations(); len(found) != 1 || found[0].Rule != "F19" {
		t.Errorf("violations are %v", found)
	}
	if err := m.err(); !errors.Is(err, broken) {
		t.Errorf("the lab's own failure is %v", err)
	}
}
