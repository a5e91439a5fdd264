package kafkaqueue_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/khodnevis/khodnevis/queue"
)

func BenchmarkPublish(b *testing.B) {
	for _, publishers := range []int{1, 128} {
		b.Run(fmt.Sprint(publishers), func(b *testing.B) {
			addrs := brokers(b)
			q := open(b, addrs, config(b, addrs))
			msgs := make([]queue.Message, 1000)
			for i := range msgs {
				msgs[i] = queue.Message{
					Key:    fmt.Sprintf("0198c0de-0000-7000-8000-%012d:0198c0de-0000-7000-8000-000000000001", i),
					Body:   make([]byte, 200),
					Header: map[string]string{"request_id": "0198c0de"},
				}
			}
			if _, err := q.Publish(context.Background(), msgs[0]); err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			var done sync.WaitGroup
			b.ResetTimer()
			for range publishers {
				done.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if _, err := q.Publish(context.Background(), msgs[i%int64(len(msgs))]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			done.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

func BenchmarkConsume(b *testing.B) {
	addrs := brokers(b)
	q := open(b, addrs, config(b, addrs))
	msgs := make([]queue.Message, 1000)
	for i := range msgs {
		msgs[i] = queue.Message{Key: fmt.Sprint("k", i), Body: make([]byte, 200)}
	}
	for n := 0; n < b.N; n += len(msgs) {
		if _, err := q.Publish(context.Background(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n, batches := 0, 0
	b.ResetTimer()
	if err := q.Consume(ctx, 1000, func(_ context.Context, batch []queue.Delivery) error {
		batches++
		if n += len(batch); n >= b.N {
			cancel()
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(n)/float64(batches), "messages/batch")
}
