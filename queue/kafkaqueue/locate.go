package kafkaqueue

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/queue"
)

// locateFor is how long Locate answers from what a partition held.
const locateFor = time.Second

type topicPartition struct {
	topicID   string
	partition int32
}

// locatedRange is what a partition held when the brokers were asked.
type locatedRange struct {
	offsetRange
	asked time.Time
}

// Locate implements queue.Locator. The brokers delete what is older than the topic's retention,
// finished or not. A topic that was created again has other streams. The brokers are asked about a
// partition at most once a second for positions that it holds.
func (q *Queue) Locate(ctx context.Context, key string, at queue.Position) (queue.Standing, error) {
	standing, err := q.locate(ctx, key, at)
	if err != nil {
		return queue.Unknown, fmt.Errorf("kafkaqueue: locate: %w", err)
	}
	return standing, nil
}

func (q *Queue) locate(ctx context.Context, key string, at queue.Position) (queue.Standing, error) {
	then, ok := parseStream(at.Stream)
	if !ok {
		return queue.Unknown, nil
	}
	// Publish spread the keys over as many partitions as there were then.
	message := &sarama.ProducerMessage{Key: sarama.StringEncoder(key)}
	partition, err := sarama.NewHashPartitioner("").Partition(message, then.partitions)
	if err != nil {
		return queue.Unknown, err
	}
	place := topicPartition{then.id, partition}
	q.mu.Lock()
	known := q.located[place]
	q.mu.Unlock()
	switch { // what was deleted remains so; what was published may be deleted soon
	case at.Offset < known.start:
		return queue.Deleted, nil
	case at.Offset < known.end && time.Since(known.asked) < locateFor:
		return queue.Published, nil
	}
	if err := q.name(ctx); err != nil {
		return queue.Unknown, err
	}
	now, err := q.describe(ctx)
	if err != nil || now.id != then.id || now.partitions < then.partitions {
		return queue.Unknown, err
	}
	asked := time.Now()
	held, err := ask(ctx, q, func(a *admin) (offsetRange, error) { return a.offsets(partition) })
	if err != nil {
		return queue.Unknown, err
	}
	q.mu.Lock()
	q.located[place] = locatedRange{held, asked}
	q.mu.Unlock()
	switch {
	case at.Offset < held.start:
		return queue.Deleted, nil
	case at.Offset >= held.end:
		return queue.Unpublished, nil
	}
	return queue.Published, nil
}
