package kafkaqueue_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
)

// What the brokers do not let a process do is named before anybody needs it, until it is granted.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.SeedTopics(1, "ratings"), kfake.Superuser("PLAIN", "root", "secret"), kfake.User("PLAIN", "ana", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	settings := sarama.NewConfig()
	settings.Version = sarama.V3_2_0_0
	settings.Net.SASL.Enable, settings.Net.SASL.User, settings.Net.SASL.Password = true, "root", "secret"
	root, err := sarama.NewClusterAdmin(cluster.ListenAddrs(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	grant := func(kind sarama.AclResourceType, name string, operation sarama.AclOperation) {
		t.Helper()
		resource := sarama.Resource{ResourceType: kind, ResourceName: name, ResourcePatternType: sarama.AclPatternLiteral}
		acl := sarama.Acl{Principal: "User:ana", Host: "*", Operation: operation, PermissionType: sarama.AclPermissionAllow}
		if err := root.CreateACLs([]*sarama.ResourceAcls{{Resource: resource, Acls: []*sarama.Acl{&acl}}}); err != nil {
			t.Fatal(err)
		}
	}
	q := open(t, cluster.ListenAddrs(), kafkaqueue.Config{Topic: "ratings", Group: "workers", Configure: quick,
		SASL: kafkaqueue.SASL{Mechanism: "PLAIN", User: "ana", Password: "secret"}})
	check := func(consume bool, missing ...string) {
		t.Helper()
		err := q.MayWork(t.Context(), consume)
		if errors.Is(err, kafkaqueue.ErrRights) != (len(missing) > 0) || err != nil && len(missing) == 0 {
			t.Fatalf("missing are %q, it says %v", missing, err)
		}
		for _, text := range missing {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("it does not name %s: %v", text, err)
			}
		}
	}
	check(false, "topic")
	grant(sarama.AclResourceTopic, "ratings", sarama.AclOperationDescribe)
	check(false, "roup")
	grant(sarama.AclResourceGroup, "workers", sarama.AclOperationDescribe)
	check(false, "Write on the topic ratings")
	check(true, "Write on the topic ratings", "Read on the topic ratings", "Read on the group workers")
	grant(sarama.AclResourceTopic, "ratings", sarama.AclOperationWrite)
	check(false)
	check(true, "Read on the topic ratings", "Read on the group workers")
	grant(sarama.AclResourceTopic, "ratings", sarama.AclOperationRead)
	grant(sarama.AclResourceGroup, "workers", sarama.AclOperationRead)
	check(true)
}

// Brokers that ask for no rights grant all of them.
func TestRightsWithoutAnAuthorizer(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	if err := open(t, b, config(t, b)).MayWork(t.Context(), true); err != nil {
		t.Error(err)
	}
}
