package kafkaqueue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

// Age implements queue.Ager. It runs behind like Lag, and goes by the times that publishers give
// their messages. The retention is the topic's retention.ms; that a topic deletes by size as well
// is for Check to tell.
func (q *Queue) Age(ctx context.Context) (oldest, retention time.Duration, err error) {
	t, err := q.topic(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("kafkaqueue: age: %w", err)
	}
	retention, err = ask(ctx, q, func(a *administrator) (time.Duration, error) { return a.retention(q.cfg.Topic) })
	if err != nil {
		return 0, 0, fmt.Errorf("kafkaqueue: age: %w", err)
	}
	published, err := ask(ctx, q, func(a *administrator) (time.Time, error) { return a.oldest(q.cfg, t) })
	if err != nil {
		return 0, 0, fmt.Errorf("kafkaqueue: age: %w", err)
	}
	if !published.IsZero() {
		oldest = max(time.Since(published), 0)
	}
	return oldest, retention, nil
}

// retention returns after how long the topic deletes a message, 0 if it does not.
func (a *administrator) retention(name string) (time.Duration, error) {
	settings, err := a.settings(name)
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
func (a *administrator) oldest(cfg Config, t topic) (time.Time, error) {
	committed, err := a.committed(cfg, t)
	if err != nil {
		return time.Time{}, err
	}
	var oldest time.Time
	for p := range t.partitions {
		start, end, err := a.unfinished(cfg, t, p, committed[p])
		if err != nil {
			return time.Time{}, err
		}
		if start >= end {
			continue
		}
		at, err := a.published(cfg.Topic, p, start)
		if err != nil {
			return time.Time{}, err
		}
		if !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest, nil
}

// published returns when the first message from offset on was published. The time is zero if the
// message was deleted meanwhile.
func (a *administrator) published(name string, partition int32, offset int64) (time.Time, error) {
	broker, epoch, err := a.client.LeaderAndEpoch(name, partition)
	if err != nil {
		return time.Time{}, err
	}
	// Version 12 is the last one that knows topics by their names. A session of -1 is none. A
	// broker gives at least one batch, however many bytes it has.
	request := &sarama.FetchRequest{Version: 12, MinBytes: 1, MaxBytes: maxRequest, MaxWaitTime: 100, SessionEpoch: -1}
	request.AddBlock(name, partition, offset, 1, epoch)
	response, err := broker.Fetch(request)
	if err != nil {
		return time.Time{}, err
	}
	block := response.GetBlock(name, partition)
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
