package kafkaqueue_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
)

// What the brokers delete, read or not, is known as deleted, key by key; and a topic of the same
// name that is made again is another one.
func TestDeletedMessagesAreKnown(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	cfg := config(t, b)
	q := open(t, b, cfg)
	const keys, each = 20, 3
	positions := map[string][]queue.Position{}
	for range each {
		for k := range keys {
			key := "k" + strconv.Itoa(k)
			ps, err := q.Publish(t.Context(), message(key, "0"))
			if err != nil {
				t.Fatal(err)
			}
			positions[key] = append(positions[key], ps[0])
		}
	}
	standing := func(key string, at queue.Position, want queue.Standing) {
		t.Helper()
		if got, err := q.Locate(t.Context(), key, at); got != want || err != nil {
			t.Errorf("%v of %s is %d, %v, want %d", at, key, got, err, want)
		}
	}
	all := func(want queue.Standing) {
		t.Helper()
		for key, ps := range positions {
			for _, p := range ps {
				standing(key, p, want)
			}
		}
	}
	all(queue.Published)
	a := administrator(t, b)
	defer a.Close()
	client, err := sarama.NewClient(b, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends := map[int32]int64{}
	for p := range int32(6) {
		if ends[p], err = client.GetOffset(cfg.Topic, p, sarama.OffsetNewest); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.DeleteRecords(cfg.Topic, ends); err != nil {
		t.Fatal(err)
	}
	testutil.Succeeds(t, 10*time.Second, "what the brokers said before is asked again", func() error {
		for key, ps := range positions {
			if got, err := q.Locate(t.Context(), key, ps[0]); got != queue.Deleted || err != nil {
				return fmt.Errorf("it is %d, %w", got, err)
			}
		}
		return nil
	})
	all(queue.Deleted)
	next, err := q.Publish(t.Context(), message("k0", "1"))
	if err != nil {
		t.Fatal(err)
	}
	standing("k0", next[0], queue.Published)
	next[0].Offset++
	standing("k0", next[0], queue.Unpublished)
	standing("k0", queue.Position{Stream: next[0].Stream + "0", Offset: 0}, queue.Unknown) // 60 partitions
	if err := a.DeleteTopic(cfg.Topic); err != nil {
		t.Fatal(err)
	}
	testutil.Succeeds(t, 30*time.Second, "the stream of a topic that is gone is unknown", func() error {
		if got, err := q.Locate(t.Context(), "k0", next[0]); got != queue.Unknown || err != nil {
			return fmt.Errorf("it is %d, %w", got, err)
		}
		return nil
	})
}
