package kafkaqueue

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"

	"github.com/IBM/sarama"
	"github.com/lib/pq/scram" // RFC 5802 over the standard library alone; there is no database in it
)

// SASL is how a Queue logs in to the brokers. The zero value: it does not log in.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. PLAIN sends the password, and should not
	// go without TLS.
	Mechanism string
	// User and Password are what to log in with.
	User, Password string
}

func (s SASL) validate() error {
	if s == (SASL{}) {
		return nil
	}
	var errs []error
	switch s.Mechanism {
	case sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512:
	default:
		errs = append(errs, fmt.Errorf("the SASL mechanism %q: must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism))
	}
	if s.User == "" || s.Password == "" {
		errs = append(errs, errors.New("SASL needs a user and a password"))
	}
	return errors.Join(errs...)
}

// configure sets how a client logs in.
func (s SASL) configure(c *sarama.Config) {
	if s == (SASL{}) {
		return
	}
	c.Net.SASL.Enable = true
	c.Net.SASL.Mechanism = sarama.SASLMechanism(s.Mechanism)
	c.Net.SASL.User, c.Net.SASL.Password = s.User, s.Password
	c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient {
		if s.Mechanism == sarama.SASLTypeSCRAMSHA512 {
			return &scramClient{hash: sha512.New}
		}
		return &scramClient{hash: sha256.New}
	}
}

// scramClient is one login.
type scramClient struct {
	hash   func() hash.Hash
	client *scram.Client
	done   bool
}

// Begin implements sarama.SCRAMClient.
func (c *scramClient) Begin(user, password, _ string) error {
	c.client = scram.NewClient(c.hash, user, password)
	return nil
}

// Step implements sarama.SCRAMClient.
func (c *scramClient) Step(challenge string) (string, error) {
	c.done = c.client.Step([]byte(challenge))
	return string(c.client.Out()), c.client.Err()
}

// Done implements sarama.SCRAMClient.
func (c *scramClient) Done() bool { return c.done }
