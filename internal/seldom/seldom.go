// Package seldom thins warnings that would otherwise come with every request.
package seldom

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Pause is the least time between two warnings of one place.
const Pause = time.Minute

// Log is a place that warns. Its zero value is ready. It may be used concurrently.
type Log struct {
	mu   sync.Mutex
	next time.Time
	left int64 // out since the last warning
}

// Warn logs the first warning of the place, and then at most one every Pause, with how many were left out before it.
func (l *Log) Warn(ctx context.Context, log *slog.Logger, now time.Time, msg string, attrs ...slog.Attr) {
	left, due := l.due(now)
	if !due {
		return
	}
	if left > 0 {
		attrs = append(attrs, slog.Int64("left_out", left))
	}
	log.LogAttrs(ctx, slog.LevelWarn, msg, attrs...)
}

func (l *Log) due(now time.Time) (left int64, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		l.left++
		return 0, false
	}
	left, l.left, l.next = l.left, 0, now.Add(Pause)
	return left, true
}
