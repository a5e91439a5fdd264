package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// shared returns the settings of a Kafka and a Redis that several servers share, real ones if there
// are any.
func shared(t *testing.T) (brokers []string, args []string) {
	t.Helper()
	brokers, redis := testserver.Kafka(t), testserver.Redis(t)
	if brokers == nil {
		t.Log("no Kafka: an in-process stand-in (kfake) is used; set KHODNEVIS_TEST_KAFKA or run make test")
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SleepOutOfOrder(),
			kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		brokers = cluster.ListenAddrs()
	}
	if redis == "" {
		t.Log("no Redis: miniredis stands in for it")
		redis = miniredis.RunT(t).Addr()
	}
	return brokers, []string{"-kafka", strings.Join(brokers, ","), "-redis", redis}
}

// forget removes topics and groups after the test.
func forget(t *testing.T, brokers []string, topics, groups []string) {
	t.Cleanup(func() {
		cfg := sarama.NewConfig()
		cfg.Version = sarama.V3_2_0_0
		a, err := sarama.NewClusterAdmin(brokers, cfg)
		if err != nil {
			t.Error(err)
			return
		}
		defer a.Close()
		for _, topic := range topics {
			_ = a.DeleteTopic(topic)
		}
		for _, group := range groups {
			_ = a.DeleteConsumerGroup(group)
		}
	})
}

// tenant is one of several servers that share a Kafka and a Redis. Each has a database of its own.
type tenant struct {
	*child
	data  string
	token string
	tasks []string
}

// identity returns the installation of the tenant, which names its topic and its group too.
func (x *tenant) identity() string {
	x.t.Helper()
	db := x.open()
	defer db.Close()
	id, err := db.Installation(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	return id
}

func (x *tenant) open() *sqlitestore.Store {
	x.t.Helper()
	db, err := sqlitestore.Open(x.data)
	if err != nil {
		x.t.Fatal(err)
	}
	return db
}

// rate submits the first ratings of n contents.
func (x *tenant) rate(n int) {
	x.t.Helper()
	for i := range n {
		var content struct{ ID string }
		x.must(201, "POST", "/api/contents/", x.token, object{"title": fmt.Sprint("film ", i)}, &content)
		var accepted struct{ Task string }
		x.must(202, "POST", "/api/ratings/", x.token, object{"content": content.ID, "score": 4}, &accepted)
		x.tasks = append(x.tasks, accepted.Task)
	}
}

// stored waits until every rating is stored, and fails the test if one is not or if there are dead
// letters.
func (x *tenant) stored() {
	x.t.Helper()
	end := time.Now().Add(60 * time.Second)
	for _, id := range x.tasks {
		var task struct{ State string }
		for task.State != "SUCCESS" {
			x.must(200, "GET", "/api/tasks/"+id+"/", x.token, nil, &task)
			if task.State == "FAILURE" || time.Now().After(end) {
				x.t.Fatalf("a rating is %s\n%s", task.State, x.log)
			}
		}
	}
	x.whole(len(x.tasks))
}

// whole fails the test unless the database has n ratings and no dead letter.
func (x *tenant) whole(n int) {
	x.t.Helper()
	db := x.open()
	defer db.Close()
	if got, err := db.CountRatings(x.t.Context(), rating.Filter{}, 0); got != int64(n) || err != nil {
		x.t.Errorf("%d ratings, %v, want %d", got, err, n)
	}
	if dead, err := db.ListDeadLetters(x.t.Context(), rating.DeadLetterQuery{Limit: 100}); len(dead) > 0 || err != nil {
		x.t.Errorf("dead letters %+v, %v", dead, err)
	}
}

// ready returns the status of /readyz and its text.
func (x *tenant) ready() (int, string) {
	x.t.Helper()
	got, err := http.Get(x.url + "/readyz")
	if err != nil {
		x.t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return got.StatusCode, string(text)
}

func newTenant(t *testing.T, args ...string) *tenant {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data.db")
	x := &tenant{child: start(t, data, args...), data: data}
	x.token, _ = x.signUp("ann")
	return x
}

// Two servers with databases of their own share a Kafka and a Redis, and are told nothing else: all
// ratings of both are stored.
func TestTwoServersShareKafkaAndRedis(t *testing.T) {
	t.Parallel()
	brokers, args := shared(t)
	both := []*tenant{newTenant(t, args...), newTenant(t, args...)}
	for _, x := range both {
		id := x.identity()
		forget(t, brokers, []string{"khodnevis.ratings." + id}, []string{"khodnevis." + id})
	}
	for _, x := range both {
		x.rate(10)
	}
	for _, x := range both {
		x.stored()
		if status, text := x.ready(); status != 200 {
			t.Errorf("it is not ready: %s", text)
		}
	}
}

// A worker that stands still for nine seconds, as in a pause of its virtual machine, loses nothing
// and doubles nothing.
func TestFrozenWorker(t *testing.T) {
	t.Parallel()
	brokers, args := shared(t)
	api := newTenant(t, slices.Concat(args, []string{"-role", "api"})...)
	id := api.identity()
	forget(t, brokers, []string{"khodnevis.ratings." + id}, []string{"khodnevis." + id})
	worker := start(t, api.data, slices.Concat(args, []string{"-role", "worker"})...)
	api.rate(5)
	api.stored()
	if err := worker.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	frozen := time.NewTimer(9 * time.Second)
	api.rate(5)
	<-frozen.C
	if err := worker.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	api.rate(5)
	api.stored()
}

// Two servers are told to use one topic and one group. A worker that finds a rating of the other
// server stops: it says so in its log and at /readyz, with both identities, and nothing becomes a
// dead letter. With topics of their own, into which the messages are copied as docs/operations.md
// says, each of them then stores what it has accepted.
func TestTwoServersInOneTopic(t *testing.T) {
	t.Parallel()
	brokers, args := shared(t)
	name := fmt.Sprintf("test.one-topic.%d", time.Now().UnixNano())
	topic := slices.Concat(args, []string{"-kafka-topic", name})
	both := []*tenant{newTenant(t, slices.Concat(topic, []string{"-kafka-group", name})...),
		newTenant(t, slices.Concat(topic, []string{"-kafka-group", name})...)}
	ids := []string{both[0].identity(), both[1].identity()}
	forget(t, brokers, []string{name, ownTopic(ids[0]), ownTopic(ids[1])},
		[]string{name, "khodnevis." + ids[0], "khodnevis." + ids[1]})
	stopped := func() *tenant {
		for _, x := range both {
			if status, text := x.ready(); status == 503 && strings.Contains(text, ids[0]) && strings.Contains(text, ids[1]) {
				return x
			}
		}
		return nil
	}
	var found *tenant
	for end := time.Now().Add(60 * time.Second); found == nil; found = stopped() {
		if time.Now().After(end) {
			t.Fatalf("both are ready\n%s\n%s", both[0].log, both[1].log)
		}
		for _, x := range both {
			x.rate(1)
		}
	}
	found.must(200, "GET", "/livez", "", nil, nil)
	for i, x := range both {
		if err := x.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if x == found &&
			(strings.Count(x.log.String(), "level=ERROR") != 1 ||
				!strings.Contains(x.log.String(), "message of installation")) {
			t.Errorf("it logs\n%s", x.log)
		}
		token, tasks := x.token, x.tasks
		both[i] = &tenant{child: start(t, x.data, args...),
			data: x.data, token: token, tasks: tasks}
	}
	separate(t, brokers, name)
	for _, x := range both {
		x.stored()
	}
}

func ownTopic(installation string) string { return "khodnevis.ratings." + installation }

// separate copies each message of a shared topic into the topic of its installation: into the same
// partition, with its key and its headers.
func separate(t *testing.T, brokers []string, topic string) {
	t.Helper()
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V3_2_0_0
	cfg.Producer.Return.Successes = true
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	fatal := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	client, err := sarama.NewClient(brokers, cfg)
	fatal(err)
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	fatal(err)
	defer consumer.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	fatal(err)
	defer producer.Close()
	partitions, err := client.Partitions(topic)
	fatal(err)
	for _, partition := range partitions {
		end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
		fatal(err)
		messages, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		fatal(err)
		for next := int64(0); next < end; {
			m := <-messages.Messages()
			next = m.Offset + 1
			out := &sarama.ProducerMessage{Partition: partition, Key: sarama.ByteEncoder(m.Key),
				Value: sarama.ByteEncoder(m.Value)}
			for _, h := range m.Headers {
				out.Headers = append(out.Headers, *h)
				if string(h.Key) == "installation" {
					out.Topic = ownTopic(string(h.Value))
				}
			}
			_, _, err := producer.SendMessage(out)
			fatal(err)
		}
		_ = messages.Close()
	}
}

// The keys in Redis begin with the prefix that was set, and with the identity of the database.
func TestKeysInRedis(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	x := newTenant(t, "-redis", redis.Addr(), "-redis-prefix", "mine:")
	x.rate(1)
	x.stored()
	keys, id := redis.Keys(), x.identity()
	if len(keys) == 0 {
		t.Error("there are none")
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "mine:i:"+id+":") && !strings.HasPrefix(key, "mine:n:"+id+":") {
			t.Errorf("key %q", key)
		}
	}
}

// A server whose database is away when it starts, so that nobody knows the names of its topic and
// group, lives and accepts nothing. When the database comes, it is well by itself.
func TestDatabaseComesLater(t *testing.T) {
	t.Parallel()
	brokers, args := shared(t)
	real, err := url.Parse(testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgstore.Open(real.String(), pgstore.OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := strings.ToLower("khodnevis_later_" + rand.Text())
	if _, err := db.Exec(`CREATE DATABASE ` + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db, err := pgstore.Open(real.String(), pgstore.OpenConfig{StatementTimeout: time.Minute})
		if err == nil {
			defer db.Close()
			_, err = db.Exec(`DROP DATABASE ` + name + ` WITH (FORCE)`)
		}
		if err != nil {
			t.Error(err)
		}
	})
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := door.Addr().String()
	door.Close()
	away := *real
	away.Host, away.Path = address, "/"+name
	x := &tenant{child: start(t, filepath.Join(t.TempDir(), "unused.db"),
		slices.Concat(args, []string{"-postgres", away.String()})...)}
	x.must(200, "GET", "/livez", "", nil, nil)
	if status, text := x.ready(); status != 503 || text != "starting\n" {
		t.Errorf("readyz: %d %q", status, text)
	}
	x.must(503, "POST", "/api/users/login/", "", object{"username": "ann", "password": "a rather long one"}, nil)
	if door, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	go forward(door, real.Host)
	for end := time.Now().Add(30 * time.Second); ; {
		if status, _ := x.ready(); status == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it is not ready\n%s", x.log)
		}
	}
	x.token, _ = x.signUp("ann")
	x.rate(3)
	later, err := pgstore.Open(strings.Replace(away.String(), address, real.Host, 1), pgstore.OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	var id string
	if err := later.Get(&id, `SELECT id FROM khodnevis.installation`); err != nil {
		t.Fatal(err)
	}
	forget(t, brokers, []string{"khodnevis.ratings." + id}, []string{"khodnevis." + id})
	for _, task := range x.tasks {
		got := struct{ State string }{}
		for end := time.Now().Add(30 * time.Second); got.State != "SUCCESS"; {
			x.must(200, "GET", "/api/tasks/"+task+"/", x.token, nil, &got)
			if time.Now().After(end) {
				t.Fatalf("a rating is %s\n%s", got.State, x.log)
			}
		}
	}
	if err := x.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// forward passes every connection of a listener on.
func forward(from net.Listener, to string) {
	for {
		near, err := from.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			near.Close()
			continue
		}
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				_, _ = io.Copy(way[0], way[1])
				way[0].Close()
			}()
		}
	}
}
