package kafkaqueue_test

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
)

// Every mechanism lets in who has the password, for all that a queue does, and nobody else; no
// error has the password.
func TestLoginToTheBrokers(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			const password = "w,o=r'd 9"
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SleepOutOfOrder(), kfake.EnableSASL(),
				kfake.Superuser(mechanism, "a,b=c", password), noRebalanceDelay())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			cfg := kafkaqueue.Config{Configure: quick,
				SASL: kafkaqueue.SASL{Mechanism: mechanism, User: "a,b=c", Password: password}}
			q := open(t, cluster.ListenAddrs(), cfg)
			if _, err := q.Publish(t.Context(), message("k", "0")); err != nil {
				t.Fatal(err)
			}
			l := newLedger()
			consumeAll(t, q, func(d queue.Delivery) { _ = l.finish(t.Context(), []queue.Delivery{d}) })
			if err := l.finished(1, 1); err != nil {
				t.Error(err)
			}
			cfg.SASL.Password = password + "x"
			ctx, cancel := context.WithTimeout(t.Context(), publishTimeout)
			defer cancel()
			_, err = open(t, cluster.ListenAddrs(), cfg).Publish(ctx, message("k", "0"))
			if err == nil || strings.Contains(err.Error(), password) {
				t.Errorf("with another password: %v", err)
			}
		})
	}
	for _, bad := range []kafkaqueue.SASL{
		{Mechanism: "PLAIN"}, {Mechanism: "PLAIN", User: "u"},
		{User: "u", Password: "word9"}, {Mechanism: "GSSAPI", User: "u", Password: "word9"},
	} {
		_, err := kafkaqueue.Open([]string{"h:1"}, kafkaqueue.Config{SASL: bad})
		if err == nil || strings.Contains(err.Error(), "word9") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
