package logthrottle_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/logthrottle"
)

// L8: a warning that every request repeats is one line a minute, and none is lost from the count.
func TestOneLineAMinute(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var place, other logthrottle.Log
	now := time.Now()
	warn := func(l *logthrottle.Log) { l.Warn(t.Context(), log, now, "broken", slog.String("why", "down")) }
	for range 100 {
		warn(&place)
	}
	warn(&other)
	now = now.Add(logthrottle.Pause)
	warn(&place)
	now = now.Add(logthrottle.Pause)
	warn(&place)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	for i, want := range []string{"msg=broken why=down", "msg=broken why=down", "msg=broken why=down left_out=99",
		"msg=broken why=down"} {
		if !strings.HasSuffix(lines[i], want) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
}
