package khodnevis

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// Stats says how a process fares. All of it is of this process alone, but for Backlog.
type Stats struct {
	// Backlog is what the queue has accepted and no process has stored yet. A part of it is -1 if
	// the queue does not know it, or does not answer within a second.
	Backlog rating.Backlog
	// DeadLetters is how many accepted messages the workers could not store and recorded as dead
	// letters, since New, by reason: malformed, invalid_score, does_not_exist, unstorable. A message
	// that the queue delivered twice may count twice.
	DeadLetters map[string]int64
	// InFlight is how many requests are in flight; httpapi.Limits.InFlight bounds it.
	InFlight int
	// Waiting is how many requests, and calls of rating.Service.Wait, wait for a rating to be
	// stored. They are not in flight.
	Waiting int
	// Responses is how many responses were sent since New, by the first digit of their status, 2 to
	// 5.
	Responses map[int]int64
	// OpenBreakers says, by the name of a dependency (store, cache), whether its circuit breaker is
	// open: the dependency does not answer, and calls of it fail at once. A dependency without a
	// circuit breaker is not there.
	OpenBreakers map[string]bool
	// FailingSince says, by the name of a port (store, queue), when the first write failed after the
	// last one that succeeded, because of a full disk, a lock or a dependency that does not answer;
	// the zero time while writes succeed. A port whose adapter has no method FailingSince
	// (queue.Failer) is not there.
	FailingSince map[string]time.Time
}

// statsTimeout is how long Stats waits for the queue.
const statsTimeout = time.Second

// Stats returns how this process fares. It asks the queue for its backlog, for up to a second; the
// rest costs nothing.
func (a *App) Stats() Stats { return a.stats(context.Background()) }

func (a *App) stats(ctx context.Context) Stats {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	api := a.api.Stats()
	s := Stats{DeadLetters: map[string]int64{}, InFlight: api.InFlight, Waiting: a.Ratings.Waiting(),
		Responses: api.Responses, OpenBreakers: map[string]bool{}, FailingSince: map[string]time.Time{}}
	var err error
	if s.Backlog, err = a.Ratings.Backlog(ctx); err != nil {
		a.log.WarnContext(ctx, "khodnevis: the queue does not return its backlog", "error", err)
	}
	for _, w := range a.workers {
		for reason, n := range w.DeadLetterCounts() {
			s.DeadLetters[reason] += n
		}
	}
	for name, open := range a.breakers {
		s.OpenBreakers[name] = open()
	}
	for name, since := range a.failing {
		s.FailingSince[name] = since()
	}
	return s
}

// failing returns since when the ports fail whose adapters know it.
func failing(cfg Config) map[string]func() time.Time {
	since := map[string]func() time.Time{}
	for name, port := range map[string]any{"store": cfg.Store, "queue": cfg.Queue} {
		if f, ok := port.(queue.Failer); ok {
			since[name] = f.FailingSince
		}
	}
	return since
}

// breakers returns the circuit breakers of the dependencies that have one: whether each is open.
func breakers(cfg Config) map[string]func() bool {
	open := map[string]func() bool{}
	if s, ok := cfg.Store.(store.Breaker); ok {
		open["store"] = s.Down
	}
	if c, ok := cfg.Cache.(cache.Breaker); ok {
		open["cache"] = c.Down
	}
	return open
}
