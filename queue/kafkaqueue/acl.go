package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/IBM/sarama"
)

// ErrRights says that the ACLs of the brokers do not let this process do what the queue has to.
var ErrRights = errors.New("kafkaqueue: rights are missing")

// MayWork asks the brokers for the rights of this process, and returns ErrRights with those that
// are missing: to write to the topic and to describe the group, and, if consume is set, to read
// both. It creates the topic if it is missing. Brokers without an authorizer grant everything.
func (q *Queue) MayWork(ctx context.Context, consume bool) error {
	missing, err := q.missingRights(ctx, consume)
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

func (q *Queue) missingRights(ctx context.Context, consume bool) ([]string, error) {
	if _, err := q.topic(ctx); err != nil {
		return nil, err
	}
	topic := []sarama.AclOperation{sarama.AclOperationWrite, sarama.AclOperationDescribe}
	group := []sarama.AclOperation{sarama.AclOperationDescribe}
	if consume {
		topic, group = append(topic, sarama.AclOperationRead), append(group, sarama.AclOperationRead)
	}
	return ask(ctx, q, func(a *admin) ([]string, error) {
		topicRights, err := a.topicRights()
		if err != nil {
			return nil, err
		}
		groupRights, err := a.groupRights()
		if err != nil {
			return nil, err
		}
		return append(lacking(topicRights, topic, "topic "+a.topic), lacking(groupRights, group, "group "+a.group)...), nil
	})
}

// unknownRights is the answer of a broker that does not know the rights.
const unknownRights = -1 << 31

// lacking names the operations that are not among rights, a set of bits.
func lacking(rights int32, operations []sarama.AclOperation, on string) []string {
	var names []string
	for _, o := range operations {
		if rights != unknownRights && rights&(1<<o) == 0 {
			names = append(names, o.String()+" on the "+on)
		}
	}
	return names
}

func (a *admin) topicRights() (int32, error) {
	broker, err := a.Controller()
	if err != nil {
		return 0, err
	}
	request := sarama.NewMetadataRequest(a.client.Config().Version, []string{a.topic})
	request.IncludeTopicAuthorizedOperations = true
	request.Version = min(request.Version, 10)
	response, err := broker.GetMetadata(request)
	switch {
	case err != nil:
		return 0, err
	case len(response.Topics) != 1:
		return 0, fmt.Errorf("%d answers about topic %s", len(response.Topics), a.topic)
	case response.Topics[0].Err != sarama.ErrNoError:
		return 0, response.Topics[0].Err
	}
	return response.Topics[0].TopicAuthorizedOperations, nil
}

func (a *admin) groupRights() (int32, error) {
	broker, err := a.client.Coordinator(a.group)
	if err != nil {
		return 0, err
	}
	request := &sarama.DescribeGroupsRequest{Version: 3, Groups: []string{a.group}, IncludeAuthorizedOperations: true}
	response, err := broker.DescribeGroups(request)
	switch {
	case err != nil:
		return 0, err
	case len(response.Groups) != 1:
		return 0, fmt.Errorf("%d answers about group %s", len(response.Groups), a.group)
	case response.Groups[0].Err == sarama.ErrGroupIDNotFound:
		return unknownRights, nil // newer brokers return this before the first member has joined
	case response.Groups[0].Err != sarama.ErrNoError:
		return 0, response.Groups[0].Err
	}
	return response.Groups[0].AuthorizedOperations, nil
}
