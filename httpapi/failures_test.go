package httpapi_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/cache/rediscache"
	"github.com/khodnevis/khodnevis/internal/faultproxy"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// tableOfFailures says how each kind of request is answered while a dependency is down, silent or
// slow: by a status, with "Age" by a copy that is a little older, with "outcome" by a problem that
// says what became of the write. 503 has Retry-After. "ok" is the status without a failure, and
// "ok|503" one of both: what fits into the pages that a full file has is written.
var tableOfFailures = []struct {
	request                              string
	postgres, redis, kafka, locked, full string // locked, full: the SQLite file
}{
	{"read a content that was read before", "200 Age", "ok", "ok", "ok", "ok"},
	{"read another content", "503", "ok", "ok", "ok", "ok"},
	{"read the numbers of a content", "200 Age", "ok", "ok", "ok", "ok"},
	{"list contents", "503", "ok", "ok", "ok", "ok"},
	{"list ratings", "503", "ok", "ok", "ok", "ok"},
	{"read one's own rating", "503", "ok", "ok", "ok", "ok"},
	{"read a task", "ok", "ok", "ok", "ok", "ok"},
	{"read one's account", "503", "ok", "ok", "ok", "ok"},
	{"list one's sessions", "503", "ok", "ok", "ok", "ok"},
	{"create a content", "503", "ok", "ok", "503", "503"},
	{"change a content", "503", "ok", "ok", "503", "503"},
	{"delete a content", "503", "ok", "ok", "503", "ok|503"},
	{"rate", "ok", "ok", "503 outcome", "503 outcome", "ok|503 outcome"},
	{"rate and wait", "202", "ok", "503 outcome", "503 outcome", "ok|503 outcome"},
	{"recalculate", "503", "ok", "503 outcome", "503 outcome", "ok|503 outcome"},
	{"register", "503", "ok", "ok", "503", "ok|503"},
	{"log in", "503", "ok", "ok", "503", "ok|503"},
	{"refresh", "503", "ok", "ok", "503", "ok|503"},
	{"log out", "503", "ok", "ok", "503", "ok|503"},
	{"change the password", "503", "ok", "ok", "503", "ok|503"},
	{"change the address", "503", "ok", "ok", "503", "ok|503"},
	{"read the schema", "ok", "ok", "ok", "ok", "ok"},
	{"ask whether the process lives", "ok", "ok", "ok", "ok", "ok"},
	{"ask whether the process is ready", "ok", "ok", "ok", "ok", "ok"},
}

// attempted is a kind of request, and the status that it has without a failure.
type attempted struct {
	request
	ok int
}

// stage is what one round of the requests works on: most of them can be made once only.
type stage struct {
	seen, unseen, changed, deleted string // contents
	task                           string
	name                           string // of a user who is not there yet
	out, renamed, refresh          string // tokens
}

// prepare makes a stage while everything works.
func (s *server) prepare(t *testing.T, n int) stage {
	t.Helper()
	login := func(name string) auth.Tokens {
		user := fmt.Sprint(name, n)
		s.join(t, user)
		tokens, err := s.app.Users.Login(t.Context(), auth.Credentials{Username: user, Password: password}, auth.Source{})
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	g := stage{
		seen: s.write(t, "seen"), unseen: s.write(t, "unseen"), changed: s.write(t, "changed"), deleted: s.write(t,
			"deleted"),
		name: fmt.Sprint("new", n),
		out:  login("out").Access, renamed: login("renamed").Access, refresh: login("refresher").Refresh,
	}
	s.rate(t, ada, g.seen, 3)
	for _, path := range []string{"contents/" + g.seen + "/", "contents/" + g.seen + "/stats/"} {
		s.get(t, "", path)
	}
	rate := request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":3}`, g.seen)}
	rate.prefer = "respond-async"
	rate.faulty = true
	testutil.Eventually(t, 30*time.Second, "a task is made", func() bool {
		a := s.do(t, rate)
		if a.status == http.StatusAccepted {
			g.task = a.text(t, "task")
		}
		return g.task != ""
	})
	rate.prefer = "wait=10"
	if a := s.insist(t, rate); a.status != 200 {
		t.Fatal(a)
	}
	return g
}

// exchanges are all kinds of requests, on one stage.
func (s *server) exchanges(g stage) map[string]attempted {
	long := strings.Repeat("long ", 10_000) // does not fit into a full file
	rate := fmt.Sprintf(`{"content":%q,"score":4}`, g.seen)
	return map[string]attempted{
		"read a content that was read before": {request{path: "contents/" + g.seen + "/"}, 200},
		"read another content":                {request{path: "contents/" + g.unseen + "/"}, 200},
		"read the numbers of a content":       {request{path: "contents/" + g.seen + "/stats/"}, 200},
		"list contents":                       {request{path: "contents/"}, 200},
		"list ratings":                        {request{path: "ratings/"}, 200},
		"read one's own rating":               {request{path: "contents/" + g.seen + "/rating/", as: ada}, 200},
		"read a task":                         {request{path: "tasks/" + g.task + "/", as: ada}, 200},
		"read one's account":                  {request{path: "users/me/", as: ada}, 200},
		"list one's sessions":                 {request{path: "users/me/sessions/", as: ada}, 200},
		"create a content": {request{method: "POST", path: "contents/", as: ada,
			body: say("title", "x", "description", long)}, 201},
		"change a content": {request{method: "PATCH", path: "contents/" + g.changed + "/", as: ada,
			body: say("description", long)}, 200},
		"delete a content": {request{method: "DELETE", path: "contents/" + g.deleted + "/", as: ada}, 204},
		"rate":             {request{method: "POST", path: "ratings/", as: ada, body: rate}, 202},
		"rate and wait":    {request{method: "POST", path: "ratings/", as: ada, body: rate, prefer: "wait=3"}, 200},
		"recalculate":      {request{method: "POST", path: "contents/" + g.seen + "/stats/recalculate/", as: sam}, 202},
		"register": {request{method: "POST", path: "users/",
			body: say("username", g.name, "password", password)}, 201},
		"log in": {request{method: "POST", path: "users/login/",
			body: say("username", ben, "password", password)}, 200},
		"refresh": {request{method: "POST", path: "users/token/refresh/", body: say("refresh", g.refresh)}, 200},
		"log out": {request{method: "POST", path: "users/logout/", header: bearer(g.out)}, 204},
		"change the password": {request{method: "POST", path: "users/me/password/", header: bearer(g.renamed),
			body: say("current_password", password, "new_password", "another horse battery")}, 204},
		"change the address": {request{method: "PATCH", path: "users/me/", as: ben,
			body: say("email", g.name+"@example.org", "current_password", password)}, 200},
		"read the schema": {request{path: "schema/"}, 200},
	}
}

// trouble is a dependency that fails in one way.
type trouble struct {
	config     func(*khodnevis.Config)
	begin, end func()
}

// troubles are all ways in which dependencies fail, each with dependencies of its own.
func troubles() map[string]func(t *testing.T) trouble {
	all := map[string]func(t *testing.T) trouble{
		"locked": lockedFile, "full": fullFile,
	}
	for name, open := range map[string]func(t *testing.T) (func(*khodnevis.Config), *doors){
		"postgres": overPostgres, "redis": overRedis, "kafka": overKafka,
	} {
		for how, begin := range map[string]func(p *faultproxy.Proxy){
			"refused": (*faultproxy.Proxy).Refuse, "silent": (*faultproxy.Proxy).FallSilent,
			"slow": func(p *faultproxy.Proxy) { p.Delay(2 * time.Second) },
		} {
			all[name+" "+how] = func(t *testing.T) trouble {
				config, d := open(t)
				return trouble{config: config, begin: func() { d.each(begin) }, end: func() { d.each((*faultproxy.Proxy).Heal) }}
			}
		}
	}
	return all
}

// doors are the proxies before the servers of a dependency. One before a server that is not known
// yet is like the others.
type doors struct {
	t     *testing.T
	mu    sync.Mutex
	of    map[string]*faultproxy.Proxy
	state func(*faultproxy.Proxy)
}

func newDoors(t *testing.T) *doors {
	return &doors{t: t, of: map[string]*faultproxy.Proxy{}, state: (*faultproxy.Proxy).Heal}
}

func (d *doors) each(change func(*faultproxy.Proxy)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = change
	for _, p := range d.of {
		change(p)
	}
}

// to returns the address of the door before a server.
func (d *doors) to(server string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.of[server]
	if p == nil {
		p = faultproxy.New(d.t, server)
		d.state(p)
		d.of[server] = p
	}
	return p.Addr()
}

// Dial implements the dialer that sarama asks for: brokers tell clients of each other.
func (d *doors) Dial(network, addr string) (net.Conn, error) {
	return net.DialTimeout(network, d.to(addr), time.Second)
}

func overPostgres(t *testing.T) (func(*khodnevis.Config), *doors) {
	u, err := url.Parse(testserver.Postgres(t))
	if err != nil || u.Port() == "" || u.Query().Get("sslmode") != "disable" {
		// a proxy takes its place; addresses that make test gives allow that
		// The proxy stands before that port and does not terminate TLS; make test gives such an address.
		t.Skip("the server's address is no URL with a port and sslmode=disable")
	}
	d := newDoors(t)
	u.Host = d.to(u.Host)
	db, err := pgstore.Open(u.String(), pgstore.OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	_, schema := newSchema(t, postgres(t))
	s, err := pgstore.New(db, pgstore.Config{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *khodnevis.Config) { c.Store = s }, d
}

func overRedis(t *testing.T) (func(*khodnevis.Config), *doors) {
	addr := testserver.Redis(t)
	if addr == "" {
		addr = miniredis.RunT(t).Addr()
	}
	d := newDoors(t)
	cfg := rediscache.Config{Prefix: "test:failures:" + rand.Text() + ":"}
	pool, err := rediscache.Open(d.to(strings.TrimPrefix(addr, "redis://")), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	c, err := rediscache.New(pool, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return func(cfg *khodnevis.Config) { cfg.Cache = c }, d
}

func overKafka(t *testing.T) (func(*khodnevis.Config), *doors) {
	brokers := testserver.Kafka(t)
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
	d := newDoors(t)
	name := "test.failures." + rand.Text()
	q, err := kafkaqueue.Open(brokers, kafkaqueue.Config{Topic: name, Group: name, Configure: func(c *sarama.Config) {
		c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, d
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = q.Close()
		if admin, err := sarama.NewClusterAdmin(brokers, nil); err == nil {
			_ = admin.DeleteTopic(name)
			_ = admin.DeleteConsumerGroup(name)
			_ = admin.Close()
		}
	})
	return func(c *khodnevis.Config) { c.Queue = q }, d
}

// embedded opens a store and a queue in one file.
func embedded(t *testing.T) (config func(*khodnevis.Config), db *sqlitestore.Store, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "test.db")
	db, err := sqlitestore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	q, err := sqlitequeue.New(db.File(), sqlitequeue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *khodnevis.Config) { c.Store, c.Queue = db, q }, db, path
}

// lockedFile is one whose write lock another process holds.
func lockedFile(t *testing.T) trouble {
	config, _, path := embedded(t)
	other, err := sqlitefile.Open(path, sqlitefile.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	held, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	return trouble{config: config,
		begin: func() {
			go func() {
				done <- other.Write(context.Background(), func(sqlitefile.Tx) error { close(held); <-release; return nil })
			}()
			<-held
		},
		end: func() {
			close(release)
			if err := <-done; err != nil {
				t.Error(err)
			}
		}}
}

// fullFile is one that cannot grow.
func fullFile(t *testing.T) trouble {
	config, db, _ := embedded(t)
	bound := func(pages int) {
		if err := db.File().Write(context.Background(), func(tx sqlitefile.Tx) error {
			_, err := tx.Exec("PRAGMA max_page_count = " + strconv.Itoa(pages)) // no fewer than there are
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	return trouble{config: config, begin: func() { bound(1) }, end: func() { bound(1 << 30) }}
}

// wrongEachTime runs a scenario until it finds nothing wrong, at most three times, and reports what was
// wrong each time, by what it is about. A busy machine makes now one answer late and now another; a wait
// without a bound is late each time.
func wrongEachTime(t *testing.T, scenario func() map[string]string) {
	t.Helper()
	wrong := scenario()
	for range 2 {
		if len(wrong) == 0 || t.Failed() {
			break
		}
		again := scenario()
		maps.DeleteFunc(wrong, func(about, _ string) bool { return again[about] == "" })
	}
	for about, what := range wrong {
		t.Errorf("%s: %s", about, what)
	}
}

// TestTableOfFailures: whatever is down, silent or slow, each kind of request is answered as the
// table says and in time, and within ten seconds after the end of the failure as if there had been
// none. The first round meets a dependency that has just failed, the second one that is known to
// have. (F1, F2)
func TestTableOfFailures(t *testing.T) {
	for name, begin := range troubles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrongEachTime(t, func() map[string]string { return failAndRecover(t, strings.Fields(name)[0], begin(t)) })
		})
	}
}

// failAndRecover begins and ends a trouble. It returns the requests that were answered late, by round.
func failAndRecover(t *testing.T, dependency string, x trouble) map[string]string {
	t.Helper()
	const rounds, recovery = 2, 10 * time.Second
	s := serve(t, setup{config: func(c *khodnevis.Config) {
		x.config(c)
		c.Limits.RequestTimeout = 0 // as hosts have it
	}})
	var stages []stage
	for n := range rounds + 10 {
		stages = append(stages, s.prepare(t, n))
	}
	s.get(t, ada, "users/me/") // her token was checked a moment ago
	s.get(t, ben, "users/me/")
	x.begin()
	s.clock.Advance(2 * time.Second) // numbers that the cache took just before have no Age for as long
	all := map[string]string{}
	for n := range rounds {
		wrong, late := s.round(t, stages[n], dependency)
		for request, what := range wrong {
			t.Errorf("round %d: %s: %s", n+1, request, what)
		}
		for request, what := range late {
			all[fmt.Sprintf("round %d: %s", n+1, request)] = what
		}
	}
	x.end()
	healed := time.Now()
	for _, g := range stages[rounds:] {
		wrong, late := s.round(t, g, "")
		maps.Copy(wrong, late)
		took := time.Since(healed).Round(time.Millisecond)
		switch {
		case len(wrong) == 0:
			t.Logf("recovered within %v", took)
			return all
		case took > recovery:
			all["recovery"] = fmt.Sprintf("after %v: %v", took, wrong)
			return all
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Error("it has not recovered after ten rounds")
	return all
}

// TestBeforeMigrate: until the last step of the migration of an empty database is done, every route
// succeeds or is 503, and never 500.
func TestBeforeMigrate(t *testing.T) {
	t.Parallel()
	other := serve(t, setup{})
	fill := other.fixture(t)
	db := postgres(t)
	schema := "khodnevis_http_" + strings.ToLower(rand.Text())
	kept, err := pgstore.New(db, pgstore.Config{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(`DROP SCHEMA IF EXISTS ` + schema + ` CASCADE`); err != nil {
			t.Error(err)
		}
	})
	steps, err := filepath.Glob("../store/pgstore/migrations/*.sql")
	if err != nil || len(steps) == 0 {
		t.Fatal(steps, err)
	}
	for i, step := range append([]string{""}, steps[:len(steps)-1]...) {
		if step != "" {
			text, err := os.ReadFile(step)
			if err == nil {
				_, err = db.Exec(`CREATE SCHEMA IF NOT EXISTS ` + schema)
			}
			if err == nil {
				_, err = db.Exec(strings.ReplaceAll(string(text), "khodnevis.", schema+"."))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		// Tokens of own users cannot be checked yet; those of the other server are well-formed here.
		own := func(c *khodnevis.Config) { c.Store = kept }
		hosts := func(c *khodnevis.Config) { c.Store, c.Authenticator = kept, bearerUsers{} }
		s := map[bool]*server{true: serve(t, setup{beside: other, idle: true, config: own}),
			false: serve(t, setup{beside: other, idle: true, config: hosts})}
		for _, c := range matrix(false) {
			users := strings.HasPrefix(c.path, "users/")
			r := request{method: c.method, path: fill.Replace(c.path), as: sam, body: fill.Replace(c.body), faulty: true}
			if !users {
				r.as, r.header = nobody, bearer(sam)
			}
			a := s[users].do(t, r)
			static := strings.HasPrefix(c.path, "schema/") || strings.HasPrefix(c.path, "docs/")
			if a.status >= 500 && a.status != 503 || i == 0 && (a.status == 503) == static {
				t.Errorf("after %d steps, %s %s: %s", i, c.method, c.path, a)
			}
		}
	}
}

// TestFarDatabase: at a round trip of 250 ms to PostgreSQL every request is answered as ever and in
// time, also with connections that are opened and statements that are prepared for it.
func TestFarDatabase(t *testing.T) {
	wrongEachTime(t, func() map[string]string {
		config, d := overPostgres(t)
		s := serve(t, setup{config: func(c *khodnevis.Config) {
			config(c)
			c.Limits.RequestTimeout = 0 // as hosts have it
		}})
		stages := []stage{s.prepare(t, 1), s.prepare(t, 2)}
		d.each(func(p *faultproxy.Proxy) { p.Delay(125 * time.Millisecond) })
		all := map[string]string{}
		for n, g := range stages {
			wrong, late := s.round(t, g, "far")
			maps.Copy(wrong, late)
			for request, what := range wrong {
				all[fmt.Sprintf("round %d: %s", n+1, request)] = what
			}
		}
		return all
	})
}

// round sends all kinds of requests at once and returns, by request, what is not as the table says of
// a dependency, or without one as if nothing failed, and what is but comes late.
func (s *server) round(t *testing.T, g stage, dependency string) (wrong, late map[string]string) {
	wrong, late = map[string]string{}, map[string]string{}
	exchanges := s.exchanges(g)
	answers, took := map[string]answer{}, map[string]time.Duration{}
	var mu sync.Mutex
	var all sync.WaitGroup
	send := func(name string, do func() (answer, error)) {
		all.Go(func() {
			began := time.Now()
			a, err := do()
			mu.Lock()
			defer mu.Unlock()
			if took[name], answers[name] = time.Since(began), a; err != nil {
				wrong[name] = err.Error()
			}
		})
	}
	for name, x := range exchanges {
		x.faulty = true
		send(name, func() (answer, error) { return s.send(t, x.request) })
	}
	for name, h := range map[string]http.Handler{
		"ask whether the process lives": s.app.Health(nil), "ask whether the process is ready": s.app.Health(s.app.Ready),
	} {
		send(name, func() (answer, error) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			return answer{w.Code, w.Header(), w.Body.Bytes()}, nil
		})
	}
	all.Wait()
	for _, row := range tableOfFailures {
		want := map[string]string{
			"postgres": row.postgres, "redis": row.redis, "kafka": row.kafka, "locked": row.locked, "full": row.full,
		}[dependency]
		if want == "" {
			want = "ok"
		}
		if dependency == "far" && row.request == "rate and wait" {
			want = "ok|202" // the worker is as far from the database
		}
		x, ok := exchanges[row.request]
		if !ok {
			x.ok = 200
		}
		if err := answers[row.request].as(want, x.ok); err != nil {
			wrong[row.request] = err.Error()
		}
		// somebody has to make room on the disk first
		if a := answers[row.request]; dependency == "full" && a.status == 503 && a.header.Get("Retry-After") != "30" {
			late[row.request] = "Retry-After is " + a.header.Get("Retry-After")
		}
		limit := 2200 * time.Millisecond
		if x.prefer != "" {
			limit = 3200 * time.Millisecond
		}
		// A busy machine takes as long for a request that needs nothing.
		if over := took[row.request] - took["read the schema"] - limit; over > 0 {
			late[row.request] = fmt.Sprintf("answered %v too late: %s", over, answers[row.request])
		}
	}
	return wrong, late
}

// as returns an error unless a is one of the answers in want.
func (a answer) as(want string, ok int) (err error) {
	for one := range strings.SplitSeq(want, "|") {
		status, more, _ := strings.Cut(one, " ")
		if status == "ok" {
			status = strconv.Itoa(ok)
		}
		unavailable := a.status == 503
		switch {
		case strconv.Itoa(a.status) != status,
			unavailable != (a.header.Get("Retry-After") != ""),
			more == "Age" && a.header.Get("Age") == "", // on a busy machine others may have one
			(more == "outcome") != (unavailable && strings.Contains(string(a.body), `"outcome":"`)):
			err = fmt.Errorf("%.300s %v, want %s", a, a.header, one)
		default:
			return nil
		}
	}
	return err
}
