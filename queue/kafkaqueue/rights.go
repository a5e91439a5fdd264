package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/IBM/sarama"
)

// ErrRights says that the brokers do not let this process do what the queue has to.
var ErrRights = errors.New("kafkaqueue: rights are missing")

// MayWork asks the brokers for the rights of this process, and returns ErrRights with those that
// are missing: to write to the topic and to describe the group, and, if consume is set, to read
// both. It makes the topic if it is missing. Brokers without an authorizer grant everything.
func (q *Queue) MayWork(ctx context.Context, consume bool) error {
	missing, err := q.missing(ctx, consume)
	switch {
	case errors.Is(err, sarama.ErrTopicAuthorizationFailed), errors.Is(err, sarama.ErrGroupAuthorizationFailed),
		errors.Is(err, sarama.ErrClusterAuthorizationFailed):
		return fmt.Errorf("%w: %w", ErrRights, err)
	case err != nil:
		return fmt.Errorf("kafkaqueue: rights: %w", err)
	case len(missing) > 0:
		return fmt.Errorf("%w: %s", ErrRights, strings.Join(missing, ", "))
	}
	return nil
}

func (q *Queue) missing(ctx context.Context, consume bool) ([]string, error) {
	if _, err := q.topic(ctx); err != nil {
		return nil, err
	}
	topic := []sarama.AclOperation{sarama.AclOperationWrite, sarama.AclOperationDescribe}
	group := []sarama.AclOperation{sarama.AclOperationDescribe}
	if consume {
		topic, group = append(topic, sarama.AclOperationRead), append(group, sarama.AclOperationRead)
	}
	return ask(ctx, q, func(a *administrator) ([]string, error) {
		cfg := q.cfg
		ofTopic, err := a.rightsInTopic(cfg.Topic)
		if err != nil {
			return nil, err
		}
		ofGroup, err := a.rightsInGroup(cfg.Group)
		if err != nil {
			return nil, err
		}
		return append(without(ofTopic, topic, "topic "+cfg.Topic), without(ofGroup, group, "group "+cfg.Group)...), nil
	})
}

// unknownRights is what a broker answers that does not say.
const unknownRights = -1 << 31

// without names those of some operations that are not among the rights, which are bits.
func without(rights int32, operations []sarama.AclOperation, on string) []string {
	var names []string
	for _, o := range operations {
		if rights != unknownRights && rights&(1<<o) == 0 {
			names = append(names, o.String()+" on the "+on)
		}
	}
	return names
}

func (a *administrator) rightsInTopic(name string) (int32, error) {
	broker, err := a.Controller()
	if err != nil {
		return 0, err
	}
	request := sarama.NewMetadataRequest(a.client.Config().Version, []string{name})
	request.IncludeTopicAuthorizedOperations = true
	if request.Version > 10 {
		request.Version = 10
	}
	response, err := broker.GetMetadata(request)
	switch {
	case err != nil:
		return 0, err
	case len(response.Topics) != 1:
		return 0, fmt.Errorf("%d answers about topic %s", len(response.Topics), name)
	case response.Topics[0].Err != sarama.ErrNoError:
		return 0, response.Topics[0].Err
	}
	return response.Topics[0].TopicAuthorizedOperations, nil
}

func (a *administrator) rightsInGroup(name string) (int32, error) {
	broker, err := a.client.Coordinator(name)
	if err != nil {
		return 0, err
	}
	request := &sarama.DescribeGroupsRequest{Version: 3, Groups: []string{name}, IncludeAuthorizedOperations: true}
	response, err := broker.DescribeGroups(request)
	switch {
	case err != nil:
		return 0, err
	case len(response.Groups) != 1:
		return 0, fmt.Errorf("%d answers about group %s", len(response.Groups), name)
	case response.Groups[0].Err == sarama.ErrGroupIDNotFound:
		return unknownRights, nil // as newer brokers say of a group that nobody has joined yet
	case response.Groups[0].Err != sarama.ErrNoError:
		return 0, response.Groups[0].Err
	}
	return response.Groups[0].AuthorizedOperations, nil
}
