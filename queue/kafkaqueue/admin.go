package kafkaqueue

import (
	"context"
	"errors"

	"github.com/IBM/sarama"
)

// admin asks the brokers about the topic and the group.
type admin struct {
	sarama.ClusterAdmin
	client       sarama.Client
	connections  *connections
	topic, group string
}

// ask calls f with an admin, and returns what f returns or, if that is earlier, the cause of the
// end of ctx: sarama heeds no context. After an error other than a broker's refusal the next call
// connects anew.
func ask[T any](ctx context.Context, q *Queue, f func(*admin) (T, error)) (T, error) {
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
		var value T
		a, err := q.connectAdmin()
		if err == nil {
			value, err = f(a)
			var refusal sarama.KError
			if err != nil && !errors.As(err, &refusal) {
				q.discardAdmin(a)
			}
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

// connectAdmin returns the admin, after connecting it if need be.
func (q *Queue) connectAdmin() (*admin, error) {
	q.adminMu.Lock()
	defer q.adminMu.Unlock()
	if q.life.Err() != nil {
		return nil, errClosed
	}
	if q.admin != nil {
		return q.admin, nil
	}
	a := &admin{connections: newConnections(), topic: q.cfg.Topic, group: q.cfg.Group}
	defer context.AfterFunc(q.life, a.connections.cut)()
	var err error
	if a.client, err = sarama.NewClient(q.brokers, q.adminConfig(a.connections)); err != nil {
		a.connections.cut()
		return nil, err
	}
	if a.ClusterAdmin, err = sarama.NewClusterAdminFromClient(a.client); err != nil {
		a.connections.cut()
		a.client.Close()
		return nil, err
	}
	q.admin = a
	return a, nil
}

// discardAdmin lets the next call connect anew.
func (q *Queue) discardAdmin(a *admin) {
	q.adminMu.Lock()
	defer q.adminMu.Unlock()
	if q.admin == a {
		q.admin = nil
		a.close()
	}
}

// closeAdmin is called at the end of the queue's life, after which connectAdmin makes no other.
func (q *Queue) closeAdmin() {
	q.adminMu.Lock()
	defer q.adminMu.Unlock()
	if q.admin != nil {
		q.admin.close()
		q.admin = nil
	}
}

func (a *admin) close() {
	a.connections.cut()
	a.Close()
}
