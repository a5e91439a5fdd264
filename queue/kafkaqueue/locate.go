package kafkaqueue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/queue"
)

// span is what a partition held when the brokers were asked: offsets from start, and none at end or
// behind it.
type span struct {
	start, end int64
	asked      time.Time
}

// spans are those of the partitions of a topic.
type spans struct {
	topicID string
	of      map[int32]span
}

// Locate implements queue.Locator. The brokers delete what is older than the topic's retention,
// finished or not. A topic that was made again has other streams. The brokers are asked about a
// partition at most once a second for positions that it holds.
func (q *Queue) Locate(ctx context.Context, key string, at queue.Position) (queue.Standing, error) {
	standing, err := q.locate(ctx, key, at)
	if err != nil {
		return queue.Unknown, fmt.Errorf("kafkaqueue: locate: %w", err)
	}
	return standing, nil
}

func (q *Queue) locate(ctx context.Context, key string, at queue.Position) (queue.Standing, error) {
	id, partitions, ok := parseStream(at.Stream)
	if !ok {
		return queue.Unknown, nil
	}
	// Keys are spread over as many partitions as there were then.
	partition, err := sarama.NewHashPartitioner("").Partition(&sarama.ProducerMessage{Key: sarama.StringEncoder(key)}, partitions)
	if err != nil {
		return queue.Unknown, err
	}
	if standing := q.remembered(id, partition).standing(at.Offset); standing != queue.Unknown {
		return standing, nil
	}
	if err := q.name(ctx); err != nil {
		return queue.Unknown, err
	}
	t, missing, err := q.describe(ctx)
	if err != nil {
		return queue.Unknown, err
	}
	if missing || t.id != id || partitions > t.partitions {
		return queue.Unknown, nil
	}
	s, err := ask(ctx, q, func(a *administrator) (span, error) { return a.span(q.cfg.Topic, partition) })
	if err != nil {
		return queue.Unknown, err
	}
	q.remember(id, partition, s)
	switch {
	case at.Offset < s.start:
		return queue.Deleted, nil
	case at.Offset >= s.end:
		return queue.Unpublished, nil
	}
	return queue.Published, nil
}

// parseStream is the inverse of topic.stream.
func parseStream(stream string) (id string, partitions int32, ok bool) {
	id, count, ok := strings.Cut(stream, ":")
	n, err := strconv.ParseInt(count, 10, 32)
	return id, int32(n), ok && err == nil && n > 0
}

// span asks what a partition holds.
func (a *administrator) span(topic string, partition int32) (s span, err error) {
	s.asked = time.Now()
	if s.start, err = a.client.GetOffset(topic, partition, sarama.OffsetOldest); err != nil {
		return span{}, err
	}
	s.end, err = a.client.GetOffset(topic, partition, sarama.OffsetNewest)
	return s, err
}

// standing returns what the span says of an offset, though it is not of now: what was deleted
// remains so, and the rest may be deleted soon. Unknown: it says nothing.
func (s span) standing(offset int64) queue.Standing {
	switch {
	case offset < s.start:
		return queue.Deleted
	case offset < s.end && time.Since(s.asked) < fresh:
		return queue.Published
	}
	return queue.Unknown
}

func (q *Queue) remembered(id string, partition int32) span {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spans.topicID != id {
		return span{}
	}
	return q.spans.of[partition]
}

func (q *Queue) remember(id string, partition int32, s span) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spans.topicID != id {
		q.spans = spans{topicID: id, of: map[int32]span{}}
	}
	q.spans.of[partition] = s
}
