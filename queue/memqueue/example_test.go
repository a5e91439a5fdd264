package memqueue_test

import (
	"context"
	"fmt"
	"log"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
)

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	q := memqueue.New(memqueue.Config{Capacity: 1000})

	_, err := q.Publish(ctx,
		queue.Message{Key: "user 1", Body: []byte("four stars")},
		queue.Message{Key: "user 1", Body: []byte("five stars, on second thought")},
	)
	if err != nil {
		log.Fatal(err)
	}

	err = q.Consume(ctx, 100, func(_ context.Context, batch []queue.Delivery) error {
		for _, d := range batch {
			fmt.Printf("%d %s: %s\n", d.Offset, d.Key, d.Body)
		}
		stop() // a worker stops when its process does
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0 user 1: four stars
	// 1 user 1: five stars, on second thought
}
