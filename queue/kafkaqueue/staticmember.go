package kafkaqueue

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/IBM/sarama"
)

// takeNumber returns the lowest number that no running Consume has, and the name of the static
// member with that number: a process that comes back has the same names. The name is empty without
// Config.Instance.
func (q *Queue) takeNumber() (n int, instance string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n = slices.Index(q.members, false); n < 0 {
		n = len(q.members)
		q.members = append(q.members, false)
	}
	q.members[n] = true
	if q.cfg.Instance != "" {
		instance = q.cfg.Instance + "." + strconv.Itoa(n)
	}
	return n, instance
}

func (q *Queue) releaseNumber(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.members[n] = false
}

// leaveStatic removes a static member from the group: closing the group leaves it a member, whose
// partitions would wait for it until its session times out. It asks through the member's own
// client, because the queue may be closing.
func (c *consumer) leaveStatic() error {
	if c.instance == "" {
		return nil
	}
	group := c.queue.cfg.Group
	coordinator, err := c.client.Coordinator(group)
	if err != nil {
		return err
	}
	answer, err := coordinator.LeaveGroup(&sarama.LeaveGroupRequest{
		Version: 3, GroupId: group, Members: []sarama.MemberIdentity{{GroupInstanceId: &c.instance}},
	})
	if err == nil {
		switch answer.Err {
		case sarama.ErrNoError, sarama.ErrUnknownMemberId, sarama.ErrGroupIDNotFound: // it is no member
		default:
			err = answer.Err
		}
	}
	if err != nil {
		_ = c.client.RefreshCoordinator(group)
	}
	return err
}

// replaceStatic removes the member that this process was before it died, if the brokers still wait
// for it. They would give the new member the partitions that they gave the old one last. If the old
// one died while it released partitions, nobody would ever get those.
func (c *consumer) replaceStatic() error {
	if c.replaced {
		return nil
	}
	if err := c.leaveStatic(); err != nil {
		return fmt.Errorf("replace the member of before: %w", err)
	}
	c.replaced = true
	return nil
}
