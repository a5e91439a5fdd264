package kafkaqueue_test

import (
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/faultproxy"
)

// proxies stand between a queue and its brokers, also those that the brokers tell it of.
type proxies map[string]*faultproxy.Proxy // by the broker's address

func newProxies(t testing.TB, brokers []string) proxies {
	t.Helper()
	client, err := sarama.NewClient(brokers, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	all := proxies{}
	for _, b := range brokers {
		all[b] = faultproxy.New(t, b)
	}
	for _, b := range client.Brokers() {
		if all[b.Addr()] == nil {
			all[b.Addr()] = faultproxy.New(t, b.Addr())
		}
	}
	return all
}

// configure lets a client reach every broker through its proxy.
func (ps proxies) configure(c *sarama.Config) {
	quick(c)
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, ps
}

// Dial implements the dialer that sarama asks for.
func (ps proxies) Dial(network, addr string) (net.Conn, error) {
	return net.DialTimeout(network, ps[addr].Addr(), time.Second)
}

func (ps proxies) silence() {
	for _, p := range ps {
		p.FallSilent()
	}
}

// drop ends all connections, and every new one until heal.
func (ps proxies) drop() {
	for _, p := range ps {
		p.Refuse()
	}
}

func (ps proxies) heal() {
	for _, p := range ps {
		p.Heal()
	}
}

// holds reports whether text arrived during silence.
func (ps proxies) holds(text string) bool {
	for _, p := range ps {
		if p.Holds(text) {
			return true
		}
	}
	return false
}
