package auth

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	sweepEvery = time.Hour
	sweepPiece = 1000 // sessions that are removed in one call of the store
)

// Run removes what expired, now and every hour, until ctx is done, and then returns nil. A failure is logged and tried again
// with the next hour. Any number of processes may do it.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if n, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "auth.sweep_failed", slog.Int("sessions", n), slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Sweep removes the sessions and access tokens that expired, and returns how many sessions that were.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	total := 0
	for {
		n, err := s.store.SweepSessions(ctx, s.now(), sweepPiece)
		total += n
		if err != nil {
			return total, fmt.Errorf("auth: sweep: %w", err)
		}
		if n < sweepPiece {
			return total, nil
		}
	}
}
