package memqueue_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/queue/queuetest"
)

func TestContract(t *testing.T) {
	queuetest.Run(t, func(*testing.T) queue.Queue { return memqueue.New(memqueue.Config{}) }, queuetest.Config{})
}

func TestFullQueueRefusesAtOnceAndTakesAgainLater(t *testing.T) {
	t.Parallel()
	q := memqueue.New(memqueue.Config{Capacity: 2})
	publish := func(n int) error {
		msgs := make([]queue.Message, n)
		for i := range msgs {
			msgs[i] = queue.Message{Key: "k"}
		}
		_, err := q.Publish(t.Context(), msgs...)
		return err
	}
	if err := publish(3); !errors.Is(err, queue.ErrNotAccepted) {
		t.Fatalf("3 messages into a capacity of 2: %v", err)
	}
	if err := publish(2); err != nil {
		t.Fatalf("2 messages into a capacity of 2: %v", err)
	}
	err := publish(1)
	if !errors.Is(err, queue.ErrNotAccepted) || errors.Is(err, queue.ErrInvalid) {
		t.Fatalf("into a full queue: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := q.Consume(ctx, 1, func(context.Context, []queue.Delivery) error {
		if err := publish(1); !errors.Is(err, queue.ErrNotAccepted) {
			t.Errorf("a message in flight takes no room: %v", err)
		}
		cancel()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := publish(1); err != nil {
		t.Errorf("after one was finished: %v", err)
	}
}

func TestOneConsumerReceivesInTheOrderOfPublishing(t *testing.T) {
	t.Parallel()
	q := memqueue.New(memqueue.Config{})
	const n = 500
	for i := range n {
		if _, err := q.Publish(t.Context(), queue.Message{Key: fmt.Sprint(i * i % 17)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	next, fails := int64(0), 0
	if err := q.Consume(ctx, 7, func(_ context.Context, batch []queue.Delivery) error {
		if fails++; fails%10 == 1 {
			return errors.New("again")
		}
		for _, d := range batch {
			if d.Offset != next {
				t.Errorf("offset %d came where %d was due", d.Offset, next)
			}
			next++
		}
		if next == n {
			cancel()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestPauseGrowsToASecondAndEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := memqueue.New(memqueue.Config{})
		if _, err := q.Publish(t.Context(), queue.Message{Key: "k"}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var calls []time.Duration
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		if err := q.Consume(ctx, 1, func(context.Context, []queue.Delivery) error {
			calls = append(calls, time.Since(start))
			return errors.New("again")
		}); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, 10, 30, 70, 150, 310, 630, 1270, 2270, 3270}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if fmt.Sprint(calls) != fmt.Sprint(want) {
			t.Errorf("calls of the handler at %v, want %v", calls, want)
		}
		if end := time.Since(start); end != 3500*time.Millisecond {
			t.Errorf("Consume returned after %v, want the moment its context was done", end)
		}
	})
}

func TestPanickingHandlerLeavesItsBatchToTheNextConsumer(t *testing.T) {
	t.Parallel()
	q := memqueue.New(memqueue.Config{})
	for range 2 {
		if _, err := q.Publish(t.Context(), queue.Message{Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = q.Consume(t.Context(), 1, func(context.Context, []queue.Delivery) error { panic("handler") })
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []int64
	if err := q.Consume(ctx, 10, func(_ context.Context, batch []queue.Delivery) error {
		for _, d := range batch {
			got = append(got, d.Offset)
		}
		cancel()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[0 1]" {
		t.Errorf("the next consumer got the offsets %v, want both", got)
	}
}

func BenchmarkPublishAndConsume(b *testing.B) {
	q := memqueue.New(memqueue.Config{})
	body := make([]byte, 200)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() {
		ended <- q.Consume(ctx, 1000, func(context.Context, []queue.Delivery) error { return nil })
	}()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for {
			_, err := q.Publish(ctx, queue.Message{Key: keys[i%len(keys)], Body: body})
			if err == nil {
				break
			}
			runtime.Gosched() // full: the consumer is behind
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
