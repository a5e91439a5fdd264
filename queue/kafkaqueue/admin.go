package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"
)

// admin holds the one administrator of a queue, which is made when it is needed and again after it
// failed.
type admin struct {
	mu      sync.Mutex
	current *administrator
}

// administrator asks about topics and groups.
type administrator struct {
	sarama.ClusterAdmin
	client sarama.Client
	link   *link
}

func (a *administrator) close() {
	a.link.cut()
	a.ClusterAdmin.Close()
}

// get returns the administrator, after connecting it if need be.
func (ad *admin) get(q *Queue) (*administrator, error) {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	if err := q.life.Err(); err != nil {
		return nil, errClosed
	}
	if ad.current != nil {
		return ad.current, nil
	}
	l := newLink()
	defer context.AfterFunc(q.life, l.cut)()
	client, err := sarama.NewClient(q.brokers, q.adminConfig(l))
	if err != nil {
		l.cut()
		return nil, err
	}
	a, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		l.cut()
		client.Close()
		return nil, err
	}
	ad.current = &administrator{ClusterAdmin: a, client: client, link: l}
	return ad.current, nil
}

// drop lets the next one connect anew.
func (ad *admin) drop(a *administrator) {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	if ad.current == a {
		ad.current = nil
		a.close()
	}
}

// close is called at the end of the queue's life, after which get makes none.
func (ad *admin) close() {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	if ad.current != nil {
		ad.current.close()
		ad.current = nil
	}
}

// ask calls f beside the caller, because sarama knows no context, and returns what it returns or,
// if that is earlier, the reason of the end of ctx. A broker that refuses is no reason to connect
// anew, anything else is.
func ask[T any](ctx context.Context, q *Queue, f func(*administrator) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	if !q.begin() {
		return *new(T), errClosed
	}
	go func() {
		defer q.running.Done()
		a, err := q.admin.get(q)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		value, err := f(a)
		if err != nil && !refused(err) {
			q.admin.drop(a)
		}
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return *new(T), context.Cause(ctx)
	case <-q.life.Done():
		return *new(T), errClosed
	}
}

// refused tells whether err is the answer of a broker.
func refused(err error) bool {
	var code sarama.KError
	return errors.As(err, &code)
}

// lag counts the messages of t that the group has not finished.
func (a *administrator) lag(cfg Config, t topic) (int64, error) {
	committed, err := a.committed(cfg, t)
	if err != nil {
		return 0, err
	}
	var lag int64
	for p := range t.partitions {
		start, end, err := a.unfinished(cfg, t, p, committed[p])
		if err != nil {
			return 0, err
		}
		lag += max(end-start, 0)
	}
	return lag, nil
}

// unfinished returns the offset of the oldest message of a partition that the group has not
// finished, and that of the next one to be published.
func (a *administrator) unfinished(cfg Config, t topic, partition int32, committed progress) (start, end int64, err error) {
	if end, err = a.client.GetOffset(cfg.Topic, partition, sarama.OffsetNewest); err != nil {
		return 0, 0, err
	}
	if start, err = a.client.GetOffset(cfg.Topic, partition, sarama.OffsetOldest); err != nil {
		return 0, 0, err
	}
	if committed.of(t) && committed.offset >= start && committed.offset <= end {
		start = committed.offset
	}
	return start, end, nil
}

// progress is what a group has committed of a partition.
type progress struct {
	offset int64  // of the next message; negative if there is none
	note   string // the id of the topic, unless somebody else has set the offset
}

// of tells whether the progress is one in t, and not in a topic of the same name that is gone.
func (p progress) of(t topic) bool {
	return p.offset >= 0 && (p.note == "" || p.note == t.id)
}

// committed returns the group's progress in each partition.
func (a *administrator) committed(cfg Config, t topic) ([]progress, error) {
	partitions := make([]int32, t.partitions)
	for p := range partitions {
		partitions[p] = int32(p)
	}
	response, err := a.ListConsumerGroupOffsets(cfg.Group, map[string][]int32{cfg.Topic: partitions})
	committed := make([]progress, t.partitions)
	if errors.Is(err, sarama.ErrGroupIDNotFound) { // nobody has consumed yet
		for p := range committed {
			committed[p].offset = -1
		}
		return committed, nil
	}
	if err != nil {
		return nil, err
	}
	for p := range committed {
		block := response.GetBlock(cfg.Topic, int32(p))
		switch {
		case block == nil:
			return nil, fmt.Errorf("no answer about partition %d", p)
		case block.Err != sarama.ErrNoError:
			return nil, block.Err
		}
		committed[p] = progress{offset: block.Offset, note: block.Metadata}
	}
	return committed, nil
}
