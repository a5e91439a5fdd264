package deadline_test

import (
	"context"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/deadline"
)

func TestDeadlines(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour)
	bounded, cancel := context.WithDeadline(t.Context(), end)
	defer cancel()
	for _, tc := range []struct {
		name   string
		derive func(context.Context) (context.Context, context.CancelFunc)
		want   time.Time
		keeps  bool // outlives the cancellation of what it was derived from
	}{
		{"Reserve", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return deadline.Reserve(ctx, time.Minute)
		},
			end.Add(-time.Minute), false},
		{"Keep", deadline.Keep, end, true},
	} {
		for _, ctx := range []context.Context{bounded, t.Context()} {
			parent, leave := context.WithCancel(ctx)
			got, stop := tc.derive(parent)
			end, ok := got.Deadline()
			if _, has := ctx.Deadline(); ok != has || has && !end.Equal(tc.want) {
				t.Errorf("%s: the deadline is %v, %v, want %v, %v", tc.name, end, ok, tc.want, has)
			}
			if leave(); (got.Err() == nil) != tc.keeps {
				t.Errorf("%s: after the cancellation its error is %v", tc.name, got.Err())
			}
			if stop(); got.Err() == nil {
				t.Errorf("%s: it cannot be ended", tc.name)
			}
		}
	}
}
