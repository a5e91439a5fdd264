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

const week = 7 * 24 * time.Hour

// Check names everything about the topic that may lose published messages: fewer than three
// replicas, fewer than two of them in sync to accept one, a retention of less than a week or by
// size, compaction, an election of leaders that lack messages, a maximum message size that is too
// low. It creates the topic if it is missing.
func (q *Queue) Check(ctx context.Context) error {
	if _, err := q.topic(ctx); err != nil {
		return fmt.Errorf("kafkaqueue: check: %w", err)
	}
	risks, err := ask(ctx, q, (*admin).risks)
	if err = errors.Join(append(risks, err)...); err != nil {
		return fmt.Errorf("kafkaqueue: check topic %s: %w", q.cfg.Topic, err)
	}
	return nil
}

// requireDurable inspects the topic before the first producer publishes to it. With Config.RequireDurable
// it returns what Check finds, otherwise it logs it.
func (q *Queue) requireDurable(ctx context.Context) error {
	if q.inspected.Load() {
		return nil
	}
	risks, err := ask(ctx, q, (*admin).risks)
	switch {
	case err != nil && q.cfg.RequireDurable:
		return fmt.Errorf("inspect topic %s: %w", q.cfg.Topic, err)
	case len(risks) > 0 && q.cfg.RequireDurable:
		return fmt.Errorf("topic %s is not durable: %w", q.cfg.Topic, errors.Join(risks...))
	case err != nil:
		q.warn(ctx, "topic cannot be inspected", err)
	}
	for _, risk := range risks {
		q.warn(ctx, "topic may lose messages", risk)
	}
	q.inspected.Store(true)
	return nil
}

func (q *Queue) warn(ctx context.Context, text string, err error) {
	q.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, text, slog.String("topic", q.cfg.Topic), slog.Any("error", err))
}

// risks returns an error for each setting of the topic that may lose messages.
func (a *admin) risks() ([]error, error) {
	m, err := a.metadata()
	if err != nil {
		return nil, err
	}
	settings, err := a.settings()
	if err != nil {
		return nil, err
	}
	replicas := len(m.Partitions[0].Replicas)
	for _, p := range m.Partitions {
		replicas = min(replicas, len(p.Replicas))
	}
	var risks []error
	if replicas < 3 {
		risks = append(risks, fmt.Errorf("the replication factor is %d, should be 3", replicas))
	}
	for _, s := range []struct {
		name   string
		safe   func(n int64) bool
		should string
	}{
		{"min.insync.replicas", func(n int64) bool { return n >= 2 }, "2"},
		{"retention.ms", func(ms int64) bool { return ms < 0 || ms >= week.Milliseconds() }, "604800000 or more"},
		{"retention.bytes", func(n int64) bool { return n < 0 }, "-1"},
		{"max.message.bytes", func(n int64) bool { return n >= maxRequest }, "1048576 or more"},
	} {
		if n, err := strconv.ParseInt(settings[s.name], 10, 64); err != nil || !s.safe(n) {
			risks = append(risks, fmt.Errorf("%s is %s, should be %s", s.name, settings[s.name], s.should))
		}
	}
	for _, s := range []struct{ name, should string }{
		{"cleanup.policy", "delete"},
		{"unclean.leader.election.enable", "false"},
	} {
		if settings[s.name] != s.should {
			risks = append(risks, fmt.Errorf("%s is %q, should be %s", s.name, settings[s.name], s.should))
		}
	}
	return risks, nil
}

// settings returns the configuration of the topic.
func (a *admin) settings() (map[string]string, error) {
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: a.topic}
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
