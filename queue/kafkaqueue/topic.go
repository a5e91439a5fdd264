package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/backoff"
)

// topic is one life of the log. The zero value: there is none.
type topic struct {
	id         string
	partitions int32
}

func (t topic) stream() string { return t.id + ":" + strconv.Itoa(int(t.partitions)) }

// parseStream is the inverse of topic.stream.
func parseStream(stream string) (t topic, ok bool) {
	id, count, ok := strings.Cut(stream, ":")
	n, err := strconv.ParseInt(count, 10, 32)
	return topic{id, int32(n)}, ok && err == nil && n > 0
}

// Together they bound how long a new topic may take to be known to all brokers.
const (
	describeRetries = 40
	describePause   = 50 * time.Millisecond
)

// topic returns the topic that has the name now, and creates it if there is none.
func (q *Queue) topic(ctx context.Context) (topic, error) {
	if err := q.name(ctx); err != nil {
		return topic{}, err
	}
	t, err := q.describe(ctx)
	if err != nil || t != (topic{}) {
		return t, err
	}
	if err := q.create(ctx); err != nil {
		return topic{}, err
	}
	for range describeRetries {
		if t, err = q.describe(ctx); err != nil || t != (topic{}) {
			return t, err
		}
		if err := backoff.Sleep(ctx, describePause); err != nil {
			return topic{}, err
		}
	}
	return topic{}, fmt.Errorf("topic %s was created but does not show", q.cfg.Topic)
}

// describe asks the brokers for the topic. In sarama 1.61 its id is in the metadata alone.
func (q *Queue) describe(ctx context.Context) (topic, error) {
	m, err := ask(ctx, q, (*admin).metadata)
	switch {
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		return topic{}, nil
	case err != nil:
		return topic{}, err
	case m.Uuid == sarama.Uuid{}:
		return topic{}, errors.New("the brokers return no topic ids: Kafka 3.2 or later is needed")
	}
	return topic{id: m.Uuid.String(), partitions: int32(len(m.Partitions))}, nil
}

func (a *admin) metadata() (*sarama.TopicMetadata, error) {
	topics, err := a.DescribeTopics([]string{a.topic})
	switch {
	case err != nil:
		return nil, err
	case len(topics) != 1:
		return nil, fmt.Errorf("%d answers about topic %s", len(topics), a.topic)
	case topics[0].Err != sarama.ErrNoError:
		return nil, topics[0].Err
	}
	return topics[0], nil
}

// create creates the topic as Check wants it, as far as the number of brokers allows.
func (q *Queue) create(ctx context.Context) error {
	entry := func(value string) *string { return &value }
	detail := &sarama.TopicDetail{
		NumPartitions:     q.cfg.Partitions,
		ReplicationFactor: q.cfg.ReplicationFactor,
		ConfigEntries: map[string]*string{
			"cleanup.policy":                 entry("delete"),
			"retention.ms":                   entry(strconv.FormatInt(week.Milliseconds(), 10)),
			"retention.bytes":                entry("-1"),
			"unclean.leader.election.enable": entry("false"),
		},
	}
	switch {
	case detail.ReplicationFactor == 0:
		detail.ReplicationFactor = -1 // the broker's default
	case detail.ReplicationFactor >= 3:
		detail.ConfigEntries["min.insync.replicas"] = entry("2")
	}
	_, err := ask(ctx, q, func(a *admin) (struct{}, error) {
		return struct{}{}, a.CreateTopic(a.topic, detail, false)
	})
	if errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return nil
	}
	if err == nil {
		q.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "topic created",
			slog.String("topic", q.cfg.Topic), slog.Int("partitions", int(q.cfg.Partitions)))
	}
	return err
}
