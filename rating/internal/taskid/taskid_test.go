package taskid_test

import (
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/internal/taskid"
	"github.com/khodnevis/khodnevis/rating/task"
)

type key struct{ content, rater string }

func taskID(at queue.Position, k key) string {
	e := event.Event{Op: event.Rate, At: time.Date(2026, 11, 23, 10, 11, 12, 131415000, time.UTC)}
	return taskid.Of(e, at, k.content, k.rater).ID()
}

// FuzzTaskID: what is accepted is the one spelling of what it says.
func FuzzTaskID(f *testing.F) {
	for _, key := range taskKeys() {
		f.Add(taskID(queue.Position{Stream: "s1", Offset: 7}, key))
	}
	f.Add("")
	f.Add("AAAA")
	f.Add(strings.Repeat("A", 600))
	f.Fuzz(func(t *testing.T, s string) {
		if again, ok := taskid.Parse(s); ok && again.ID() != s {
			t.Fatalf("%q is accepted and spelled %q", s, again.ID())
		}
	})
}

func taskKeys() []key {
	long := strings.Repeat("x", 128)
	return []key{
		{"0198f7a2-7b1c-7def-8123-456789abcdef", "0197f7a2-7b1c-7def-8123-456789abcdef"},
		{"post-17", "a@b.c"}, {long, long},
		// not canonical: must come back as they are
		{"0198F7A2-7B1C-7DEF-8123-456789ABCDEF", "0198f7a27b1c7def8123456789abcdef"},
	}
}

func TestTaskIDCarriesTheRating(t *testing.T) {
	t.Parallel()
	for _, key := range taskKeys() {
		s := taskID(queue.Position{Stream: strings.Repeat("s", 64), Offset: 1 << 60}, key)
		if len(s) > task.MaxID {
			t.Errorf("%v: %d bytes, more than MaxID", key, len(s))
		}
		if got, ok := taskid.Parse(s); !ok || got.Content != key.content || got.Rater != key.rater {
			t.Errorf("%v came back as %v, %v", key, got, ok)
		}
		for i := range s { // a mistyped identifier is none
			for _, c := range []byte{'A', 'b', '_'} {
				typo := s[:i] + string(c) + s[i+1:]
				if _, ok := taskid.Parse(typo); ok && typo != s {
					t.Fatalf("%q with byte %d as %q is accepted", s, i, c)
				}
			}
		}
	}
}
