package kafkaqueue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

// Lag implements queue.Lagger. It runs behind by the quarter of a second between two commits of a
// consumer.
func (q *Queue) Lag(ctx context.Context) (int64, error) {
	t, err := q.topic(ctx)
	if err != nil {
		return 0, fmt.Errorf("kafkaqueue: lag: %w", err)
	}
	unfinished, err := ask(ctx, q, func(a *admin) ([]offsetRange, error) { return a.unfinished(t) })
	if err != nil {
		return 0, fmt.Errorf("kafkaqueue: lag: %w", err)
	}
	var lag int64
	for _, r := range unfinished {
		lag += max(r.end-r.start, 0)
	}
	return lag, nil
}

// Age implements queue.Ager. It runs behind like Lag, and takes the time of a message from its
// publisher's clock. The retention is the topic's retention.ms; Check reports a topic that deletes
// by size as well.
func (q *Queue) Age(ctx context.Context) (oldest, retention time.Duration, err error) {
	t, err := q.topic(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("kafkaqueue: age: %w", err)
	}
	if retention, err = ask(ctx, q, (*admin).retention); err != nil {
		return 0, 0, fmt.Errorf("kafkaqueue: age: %w", err)
	}
	published, err := ask(ctx, q, func(a *admin) (time.Time, error) { return a.oldest(t) })
	if err != nil {
		return 0, 0, fmt.Errorf("kafkaqueue: age: %w", err)
	}
	if !published.IsZero() {
		oldest = max(time.Since(published), 0)
	}
	return oldest, retention, nil
}

// retention returns after how long the topic deletes a message, 0 if it never does.
func (a *admin) retention() (time.Duration, error) {
	settings, err := a.settings()
	if err != nil {
		return 0, err
	}
	ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("retention.ms is %q", settings["retention.ms"])
	}
	const most = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(max(ms, 0), most)) * time.Millisecond, nil
}

// oldest returns when the oldest message that the group has not finished was published, a zero time
// if there is none.
func (a *admin) oldest(t topic) (time.Time, error) {
	unfinished, err := a.unfinished(t)
	if err != nil {
		return time.Time{}, err
	}
	var oldest time.Time
	for p, r := range unfinished {
		if r.start >= r.end {
			continue
		}
		at, err := a.publishedAt(int32(p), r.start)
		if err != nil {
			return time.Time{}, err
		}
		if !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest, nil
}

// publishedAt returns when the first message from offset on was published. The time is zero if the
// message was deleted meanwhile.
func (a *admin) publishedAt(partition int32, offset int64) (time.Time, error) {
	broker, epoch, err := a.client.LeaderAndEpoch(a.topic, partition)
	if err != nil {
		return time.Time{}, err
	}
	// Version 12 is the last one that knows topics by their names. A session of -1 means no session.
	// A broker returns at least one batch, however many bytes it has.
	request := &sarama.FetchRequest{Version: 12, MinBytes: 1, MaxBytes: maxRequest, MaxWaitTime: 100, SessionEpoch: -1}
	request.AddBlock(a.topic, partition, offset, 1, epoch)
	response, err := broker.Fetch(request)
	if err != nil {
		return time.Time{}, err
	}
	block := response.GetBlock(a.topic, partition)
	switch {
	case block == nil:
		return time.Time{}, fmt.Errorf("no answer about partition %d", partition)
	case block.Err == sarama.ErrOffsetOutOfRange:
		return time.Time{}, nil
	case block.Err != sarama.ErrNoError:
		return time.Time{}, block.Err
	}
	for _, records := range block.RecordsSet {
		batch := records.RecordBatch
		if batch == nil {
			continue
		}
		for _, r := range batch.Records {
			if batch.FirstOffset+r.OffsetDelta < offset {
				continue
			}
			if batch.LogAppendTime {
				return batch.MaxTimestamp, nil
			}
			return batch.FirstTimestamp.Add(r.TimestampDelta), nil
		}
	}
	return time.Time{}, nil
}
