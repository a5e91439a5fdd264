package filequeue_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	filequeue "github.com/khodnevis/khodnevis/examples/adapter"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/queuetest"
)

func open(t *testing.T, path string) *filequeue.Queue {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	q, err := filequeue.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// The whole test of an adapter is the suite.
func TestQueue(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queue.Queue {
		return open(t, filepath.Join(t.TempDir(), "queue"))
	}, queuetest.Config{})
}

// What the suite cannot know: that the file is really where the messages are.
func TestReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue")
	q := open(t, path)
	for _, body := range []string{"1", "2"} {
		if _, err := q.Publish(t.Context(), queue.Message{Key: "k", Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	consume := func(q *filequeue.Queue, limit int) (bodies string) {
		ctx, cancel := context.WithCancel(t.Context())
		if err := q.Consume(ctx, limit, func(_ context.Context, batch []queue.Delivery) error {
			for _, d := range batch {
				bodies += string(d.Body)
			}
			cancel()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return bodies
	}
	if got := consume(q, 1); got != "1" {
		t.Fatalf("before: %q", got)
	}
	if got := consume(open(t, path), 10); got != "2" {
		t.Fatalf("after opening it again: %q, want the one that was not finished", got)
	}
}
