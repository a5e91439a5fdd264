package kafkaqueue

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// committedOffset is the progress of the group in a partition.
type committedOffset struct {
	next     int64  // the offset of the next message; negative: nothing is committed
	metadata string // the id of the topic; empty: another program has set the offset
}

// of reports whether the offset is of t, and not of a deleted topic of the same name.
func (c committedOffset) of(t topic) bool {
	return c.next >= 0 && (c.metadata == "" || c.metadata == t.id)
}

// committed returns the group's offset in each partition of t.
func (a *admin) committed(t topic) ([]committedOffset, error) {
	partitions := make([]int32, t.partitions)
	for p := range partitions {
		partitions[p] = int32(p)
	}
	response, err := a.ListConsumerGroupOffsets(a.group, map[string][]int32{a.topic: partitions})
	offsets := make([]committedOffset, t.partitions)
	if errors.Is(err, sarama.ErrGroupIDNotFound) { // nobody has consumed yet
		for p := range offsets {
			offsets[p].next = -1
		}
		return offsets, nil
	}
	if err != nil {
		return nil, err
	}
	for p := range offsets {
		block := response.GetBlock(a.topic, int32(p))
		switch {
		case block == nil:
			return nil, fmt.Errorf("no answer about partition %d", p)
		case block.Err != sarama.ErrNoError:
			return nil, block.Err
		}
		offsets[p] = committedOffset{next: block.Offset, metadata: block.Metadata}
	}
	return offsets, nil
}

// offsetRange is what a partition holds: offsets from start to before end.
type offsetRange struct{ start, end int64 }

func (a *admin) offsets(partition int32) (r offsetRange, err error) {
	if r.end, err = a.client.GetOffset(a.topic, partition, sarama.OffsetNewest); err != nil {
		return r, err
	}
	r.start, err = a.client.GetOffset(a.topic, partition, sarama.OffsetOldest)
	return r, err
}

// unfinished returns, for each partition of t, the messages that the group has not finished.
func (a *admin) unfinished(t topic) ([]offsetRange, error) {
	committed, err := a.committed(t)
	if err != nil {
		return nil, err
	}
	ranges := make([]offsetRange, t.partitions)
	for p, c := range committed {
		r, err := a.offsets(int32(p))
		if err != nil {
			return nil, err
		}
		if c.of(t) && c.next >= r.start && c.next <= r.end {
			r.start = c.next
		}
		ranges[p] = r
	}
	return ranges, nil
}
