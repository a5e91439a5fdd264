// Package logthrottle limits the rate of warnings that would otherwise come with every request (log
// sampling).
package logthrottle

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Pause is the least time between two warnings of one Log.
const Pause = time.Minute

// Log limits the rate of one kind of warning. Its zero value is ready. It may be used concurrently.
type Log struct {
	mu   sync.Mutex
	next time.Time
	left int64 // out since the last warning
}

// Warn logs the first warning, and then at most one every Pause, with the number of those left out
// before it.
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
