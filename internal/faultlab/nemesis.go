//go:build linux

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// plan is when which fault begins. It follows from the seed alone.
type plan struct {
	at time.Duration
	fault
}

const (
	quietStart = 6 * time.Second // before the first fault, so that the strict bounds are tried as well
	quietEnd   = 2 * time.Second // before the load ends
)

// newPlans draws the faults of two tracks, so that every now and then two of them meet.
func (s *stack) newPlans(seed uint64, length time.Duration) []plan {
	var plans []plan
	for track, gap := range []float64{2, 5} {
		r := rand.New(rand.NewPCG(seed, uint64(track)))
		for at := quietStart + seconds(r, 0, gap); at < length-quietEnd; at += seconds(r, 0.3, gap) {
			f := s.faults(r)
			plans = append(plans, plan{at, f})
			at += f.longest
		}
	}
	slices.SortStableFunc(plans, func(a, b plan) int { return int(a.at - b.at) })
	return plans
}

// period is when something was broken.
type period struct {
	name       string
	start, end time.Duration // end 0: it goes on
	forgets    bool
}

// nemesis carries out plans.
type nemesis struct {
	now     func() time.Duration
	log     func(format string, args ...any)
	mu      sync.Mutex
	periods []*period
	faults  int
	failed  []error
	locks   map[string]*sync.Mutex
}

func newNemesis(now func() time.Duration, log func(string, ...any)) *nemesis {
	return &nemesis{now: now, log: log, locks: map[string]*sync.Mutex{}}
}

// run carries out plans until the last of them has ended, those excepted that have not begun at
// end, when the load ends.
func (m *nemesis) run(ctx context.Context, plans []plan, end time.Duration) {
	var going sync.WaitGroup
	defer going.Wait()
	for _, p := range plans {
		select {
		case <-time.After(p.at - m.now()):
		case <-ctx.Done():
			return
		}
		going.Go(func() { m.carryOut(p.fault, end) })
	}
}

func (m *nemesis) carryOut(f fault, end time.Duration) {
	for _, lock := range m.lock(f.locks) {
		lock.Lock()
		defer lock.Unlock()
	}
	if m.now() > end {
		return
	}
	p := m.note(f.name, f.forgets)
	m.mu.Lock()
	m.faults++
	m.mu.Unlock()
	m.log("%8.3f s  %s", p.start.Seconds(), f.name)
	m.fail(f.begin())
	if f.end != nil {
		time.Sleep(f.longest)
		m.fail(f.end())
	}
	m.mu.Lock()
	p.end = m.now()
	m.mu.Unlock()
	m.log("%8.3f s  %s is over", p.end.Seconds(), f.name)
}

// lock returns the mutexes of names in one order, so that two faults never wait for each other.
func (m *nemesis) lock(names []string) []*sync.Mutex {
	m.mu.Lock()
	defer m.mu.Unlock()
	var locks []*sync.Mutex
	for _, name := range slices.Sorted(slices.Values(names)) {
		if m.locks[name] == nil {
			m.locks[name] = &sync.Mutex{}
		}
		locks = append(locks, m.locks[name])
	}
	return locks
}

// note records that something begins to be broken.
func (m *nemesis) note(name string, forgets bool) *period {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &period{name: name, start: m.now(), forgets: forgets}
	m.periods = append(m.periods, p)
	return p
}

func (m *nemesis) fail(err error) {
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.failed = append(m.failed, err)
	}
}

// violations returns which of the failures are promises that were broken, and err those of the lab
// itself.
func (m *nemesis) violations() (found []violation) {
	for _, err := range m.failed {
		if v := (violation{}); errors.As(err, &v) {
			found = append(found, v)
		}
	}
	return found
}

func (m *nemesis) err() error {
	var errs []error
	for _, err := range m.failed {
		if v := (violation{}); !errors.As(err, &v) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// all returns when something was broken.
func (m *nemesis) all() []*period {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.periods)
}

func (m *nemesis) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faults
}

// redisSlow is when a Redis that nothing stands in front of is so slow that servers may have given
// up on it: half of their timeout.
const redisSlow = 25 * time.Millisecond

// watchRedis notes when the machine alone, which may have much else to do, makes Redis too slow.
func (m *nemesis) watchRedis(ctx context.Context, addr string) {
	for addr != "" && ctx.Err() == nil {
		began := m.now()
		if err := redisDo(addr, "PING", time.Second); err != nil || m.now()-began > redisSlow {
			p := m.note("slow Redis", true)
			m.mu.Lock()
			p.start, p.end = began-100*time.Millisecond, m.now()+100*time.Millisecond
			m.mu.Unlock()
		}
		time.Sleep(20 * time.Millisecond)
	}
}
