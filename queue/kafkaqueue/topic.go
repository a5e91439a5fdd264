package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

// topic is one life of the log.
type topic struct {
	id         string
	partitions int32
}

func (t topic) stream() string { return t.id + ":" + strconv.Itoa(int(t.partitions)) }

// Together they bound how long a new topic may take to be known everywhere.
const (
	looks     = 40
	lookAgain = 50 * time.Millisecond
)

// topic finds out which topic bears the name now. It makes one if there is none.
func (q *Queue) topic(ctx context.Context) (topic, error) {
	if err := q.name(ctx); err != nil {
		return topic{}, err
	}
	t, missing, err := q.describe(ctx)
	for look := 0; err == nil && missing; look++ {
		switch {
		case look == 0:
			err = q.create(ctx)
		case look == looks:
			return topic{}, fmt.Errorf("topic %s was made but does not show", q.cfg.Topic)
		default:
			err = pause(ctx, lookAgain)
		}
		if err == nil {
			t, missing, err = q.describe(ctx)
		}
	}
	return t, err
}

// describe asks the brokers for the topic. Metadata are the one answer that has its id in sarama
// 1.61 beside that of its making.
func (q *Queue) describe(ctx context.Context) (t topic, missing bool, err error) {
	m, err := ask(ctx, q, func(a *administrator) (*sarama.TopicMetadata, error) { return a.metadata(q.cfg.Topic) })
	switch {
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		return topic{}, true, nil
	case err != nil:
		return topic{}, false, err
	case m.Uuid == sarama.Uuid{}:
		return topic{}, false, errors.New("the brokers tell no topic ids: Kafka 3.2 or later is needed")
	}
	return topic{id: m.Uuid.String(), partitions: int32(len(m.Partitions))}, false, nil
}

func (a *administrator) metadata(name string) (*sarama.TopicMetadata, error) {
	topics, err := a.DescribeTopics([]string{name})
	switch {
	case err != nil:
		return nil, err
	case len(topics) != 1:
		return nil, fmt.Errorf("%d answers about topic %s", len(topics), name)
	case topics[0].Err != sarama.ErrNoError:
		return nil, topics[0].Err
	}
	return topics[0], nil
}

const week = 7 * 24 * time.Hour

// create makes the topic as Check wants it, as far as the number of brokers allows.
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
	_, err := ask(ctx, q, func(a *administrator) (struct{}, error) {
		return struct{}{}, a.CreateTopic(q.cfg.Topic, detail, false)
	})
	if errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return nil
	}
	if err == nil {
		q.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "topic made", slog.String("topic", q.cfg.Topic), slog.Int("partitions", int(q.cfg.Partitions)))
	}
	return err
}

// Check tells everything about the topic that may lose published messages: fewer than three
// replicas, fewer than two of them in sync to accept one, a retention of less than a week or by
// size, compaction, an election of leaders that lack messages, a bound to messages that is too low.
// It makes the topic if it is missing.
func (q *Queue) Check(ctx context.Context) error {
	t, err := q.topic(ctx)
	if err != nil {
		return fmt.Errorf("kafkaqueue: check: %w", err)
	}
	lacks, err := q.inspect(ctx, t)
	if err == nil {
		err = errors.Join(lacks...)
	}
	if err != nil {
		return fmt.Errorf("kafkaqueue: check topic %s: %w", q.cfg.Topic, err)
	}
	return nil
}

// durable inspects a topic when it is new to the queue, or lacked something before, and tells what
// it lacks.
func (q *Queue) durable(ctx context.Context, t topic) error {
	q.mu.Lock()
	known, lacks := q.known == t, q.lacks
	q.mu.Unlock()
	if !known || q.cfg.RequireDurable && len(lacks) > 0 {
		var err error
		if lacks, err = q.inspect(ctx, t); err != nil {
			if q.cfg.RequireDurable {
				return fmt.Errorf("inspect topic %s: %w", q.cfg.Topic, err)
			}
			q.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "topic cannot be inspected", slog.String("topic", q.cfg.Topic), slog.Any("error", err))
			return nil
		}
		q.mu.Lock()
		q.known, q.lacks = t, lacks
		q.mu.Unlock()
	}
	if q.cfg.RequireDurable && len(lacks) > 0 {
		return fmt.Errorf("topic %s is not durable: %w", q.cfg.Topic, errors.Join(lacks...))
	}
	if !known {
		for _, lack := range lacks {
			q.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "topic may lose messages", slog.String("topic", q.cfg.Topic), slog.Any("reason", lack))
		}
	}
	return nil
}

func (q *Queue) inspect(ctx context.Context, t topic) ([]error, error) {
	return ask(ctx, q, func(a *administrator) ([]error, error) {
		m, err := a.metadata(q.cfg.Topic)
		if err != nil {
			return nil, err
		}
		replicas := len(m.Partitions[0].Replicas)
		for _, p := range m.Partitions {
			replicas = min(replicas, len(p.Replicas))
		}
		settings, err := a.settings(q.cfg.Topic)
		if err != nil {
			return nil, err
		}
		return shortcomings(replicas, settings), nil
	})
}

// settings returns what the topic is set to.
func (a *administrator) settings(name string) (map[string]string, error) {
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: name}
	results, err := a.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, err
	}
	settings := make(map[string]string)
	for _, r := range results {
		if r.ErrorCode != sarama.ErrNoError {
			return nil, r.ErrorCode
		}
		for _, e := range r.Configs {
			settings[e.Name] = e.Value
		}
	}
	return settings, nil
}

// shortcomings tells what may lose messages of a topic with settings.
func shortcomings(replicas int, settings map[string]string) []error {
	var lacks []error
	lack := func(format string, args ...any) { lacks = append(lacks, fmt.Errorf(format, args...)) }
	number := func(name string) int64 {
		n, err := strconv.ParseInt(settings[name], 10, 64)
		if err != nil {
			lack("%s is %q", name, settings[name])
		}
		return n
	}
	if replicas < 3 {
		lack("the replication factor is %d, should be 3", replicas)
	}
	if n := number("min.insync.replicas"); n < 2 {
		lack("min.insync.replicas is %d, should be 2", n)
	}
	if ms := number("retention.ms"); ms >= 0 && ms < week.Milliseconds() {
		lack("retention.ms is %d, should be %d or more", ms, week.Milliseconds())
	}
	if n := number("retention.bytes"); n >= 0 {
		lack("retention.bytes is %d, should be -1", n)
	}
	if s := settings["cleanup.policy"]; s != "delete" {
		lack("cleanup.policy is %q, should be delete", s)
	}
	if s := settings["unclean.leader.election.enable"]; s != "false" {
		lack("unclean.leader.election.enable is %q, should be false", s)
	}
	if n := number("max.message.bytes"); n < maxRequest {
		lack("max.message.bytes is %d, should be %d or more", n, maxRequest)
	}
	return lacks
}

// pause returns after d, or earlier with the reason of the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
