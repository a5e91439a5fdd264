package auth

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/khodnevis/khodnevis/internal/sweep"
)

// Run removes what expired, now and every hour, until ctx is done, and then returns nil. A failure
// is logged and tried again with the next hour. Any number of processes may do it.
func (s *Service) Run(ctx context.Context) error {
	sweep.Hourly(ctx, s.Sweep, func(n int, err error) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "auth.sweep_failed", slog.Int("sessions", n), slog.Any("error", err))
	})
	return nil
}

// Sweep removes the sessions and access tokens that expired, and returns how many sessions that
// were.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	n, err := sweep.All(func(limit int) (int, error) { return s.store.SweepSessions(ctx, s.now(), limit) })
	if err != nil {
		return n, fmt.Errorf("auth: sweep: %w", err)
	}
	return n, nil
}
