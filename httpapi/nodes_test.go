package httpapi_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gomodule/redigo/redis"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/cache/rediscache"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/store"
)

// sharedCaches are what two servers may have between them, each made anew.
func sharedCaches() map[string]func(t *testing.T) cache.Cache {
	return map[string]func(t *testing.T) cache.Cache{
		"memory": func(*testing.T) cache.Cache { return lrucache.New(lrucache.Config{}) },
		"Redis":  func(t *testing.T) cache.Cache { return openRedis(t) },
	}
}

// openRedis opens a cache that nobody else uses, on a stand-in where there is no Redis.
func openRedis(t *testing.T) cache.Cache {
	t.Helper()
	addr := testserver.Redis(t)
	if addr == "" {
		addr = miniredis.RunT(t).Addr()
	}
	return redisAt(t, addr)
}

// redisAt opens a cache that nobody else uses on the server at addr.
func redisAt(t *testing.T, addr string) cache.Cache {
	t.Helper()
	cfg := rediscache.Config{Prefix: "test:http:" + rand.Text() + ":", Timeout: 5 * time.Second, MaxConns: 64}
	pool, err := rediscache.Open(addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := rediscache.New(pool, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what is left ends by itself within a day; the keys of tests are few
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// A cache that answers and takes no writes is not believed: what one node stores or deletes counts
// there at once, and on another node within two seconds.
func TestACacheThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]any{
		"a replica": {"REPLICAOF", "127.0.0.1", "1"},
		"full":      {"CONFIG", "SET", "maxmemory", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := testserver.OwnRedis(t)
			node := twoNodes(t, nil, redisAt(t, addr), nil)
			film, gone := node[0].write(t, "Stalker"), node[0].write(t, "Solaris")
			count := func(s *server) any { return s.get(t, "", "contents/"+film+"/stats/").at(t, "ratings_count") }
			node[0].rate(t, ada, film, 4)
			if n := count(node[1]); n != 1.0 {
				t.Fatalf("%v ratings", n)
			}
			if err := node[1].want(t, 200, request{path: "contents/" + gone + "/stats/"}); err != nil {
				t.Fatal(err)
			}

			conn, err := redis.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Do(command[0].(string), command[1:]...); err != nil {
				t.Fatal(err)
			}
			rate := request{method: "PUT", path: "contents/" + film + "/rating/", as: ben, body: `{"score":2}`,
				prefer: "wait=10"}
			remove := request{method: "DELETE", path: "contents/" + gone + "/", as: ada}
			if err := errors.Join(node[0].want(t, 201, rate), node[0].want(t, 204, remove)); err != nil {
				t.Fatal(err)
			}
			if n := count(node[0]); n != 2.0 {
				t.Errorf("%v ratings where the second one was stored", n)
			}
			began := time.Now()
			node[1].clock.Advance(2 * time.Second)
			testutil.Eventually(t, 30*time.Second, "the other node has both ratings", func() bool {
				return count(node[1]) == 2.0
			})
			t.Logf("it had them after %v", time.Since(began)) // by the clock of Redis
			read := request{path: "contents/" + gone + "/stats/"}
			rate = request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":5}`, gone)}
			for i, s := range node {
				if err := errors.Join(s.want(t, 404, read), s.want(t, 400, rate)); err != nil {
					t.Errorf("the content that was deleted, on node %d: %v", i, err)
				}
			}
		})
	}
}

// twoNodes starts two servers on one store, and a cache between them if it is not nil.
func twoNodes(t *testing.T, open opener, between cache.Cache, change func(*khodnevis.Config)) [2]*server {
	t.Helper()
	config := func(c *khodnevis.Config) {
		c.Cache = between
		if change != nil {
			change(c)
		}
	}
	first := serve(t, setup{open: open, config: config})
	return [2]*server{first, serve(t, setup{beside: first, config: config})}
}

// A19: whatever ends a session ends it at once, on another node within 30 s, and within a second
// where they share a cache.
func TestEndsOnAnotherNode(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		caches := sharedCaches()
		caches["nothing"] = func(*testing.T) cache.Cache { return nil }
		for name, between := range caches {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var log testutil.Log
				node := twoNodes(t, open, between(t), func(c *khodnevis.Config) {
					c.Logger = slog.New(slog.NewTextHandler(&log,
						nil))
				})
				testEnds(t, node, func() time.Duration {
					// a Redis that is too slow is none
					if name == "nothing" || strings.Contains(log.String(), "auth.throttle_local") {
						return 30 * time.Second
					}
					return time.Second
				})
			})
		}
	})
}

func testEnds(t *testing.T, node [2]*server, within func() time.Duration) {
	ends := map[string]func(s *server, name, token string) error{
		"logout": func(s *server, _, token string) error {
			return s.want(t, 204, request{method: "POST", path: "users/logout/", header: bearer(token)})
		},
		"the end of all others": func(s *server, name, _ string) error {
			s.login(t, name)
			return s.want(t, 204, request{method: "DELETE", path: "users/me/sessions/", as: name})
		},
		"another password": func(s *server, name, _ string) error {
			s.login(t, name)
			return s.want(t, 204, request{method: "POST", path: "users/me/password/", as: name, body: say("current_password",
				password, "new_password", "another horse battery")})
		},
		"a role":    func(s *server, name, _ string) error { return s.app.Users.SetStaff(t.Context(), name, true) },
		"disabling": func(s *server, name, _ string) error { return s.app.Users.SetDisabled(t.Context(), name, true) },
		"deletion": func(s *server, name, _ string) error {
			s.login(t, name)
			return s.want(t, 204, request{method: "DELETE", path: "users/me/", as: name, body: say("current_password",
				password, "ratings", "anonymize")})
		},
	}
	n := 0
	for what, end := range ends {
		n++
		name := fmt.Sprint("user", n)
		node[0].join(t, name)
		token := node[0].tokens[name]
		mine := request{path: "users/me/", header: bearer(token)}
		for i, s := range node {
			if err := s.want(t, 200, mine); err != nil {
				t.Fatalf("before %s, node %d: %v", what, i, err)
			}
		}
		if err := end(node[0], name, token); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := node[0].want(t, 401, mine); err != nil {
			t.Errorf("after %s: %v", what, err)
		}
		node[1].clock.Advance(within())
		if err := node[1].want(t, 401, mine); err != nil {
			t.Errorf("%v after %s, on the other node: %v", within(), what, err)
		}
	}
}

// A19: within a second, also on a node that cannot reach its store, while the cache between them
// answers.
func TestEndsOnANodeWithoutStore(t *testing.T) {
	t.Parallel()
	for name, between := range sharedCaches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log testutil.Log
			kept := &uncheckedStore{}
			shared := between(t)
			config := func(c *khodnevis.Config) {
				c.Cache, c.Logger = shared, slog.New(slog.NewTextHandler(&log, nil))
			}
			first := serve(t, setup{config: config})
			second := serve(t, setup{beside: first, config: func(c *khodnevis.Config) {
				config(c)
				kept.Store = c.Store.(store.Store)
				c.Store = kept
			}})
			body := fmt.Sprintf(`{"content":%q,"score":5}`, first.write(t, "A film"))
			rate := request{method: "POST", path: "ratings/", as: ada, body: body}
			if err := second.want(t, 202, rate); err != nil {
				t.Fatal(err)
			}
			kept.set(func() error { return store.ErrUnavailable })
			if err := first.want(t, 204, request{method: "POST", path: "users/logout/", as: ada}); err != nil {
				t.Fatal(err)
			}
			first.clock.Advance(time.Second)
			refused := func() bool {
				// A cache that was too slow is told with the next request.
				if err := first.want(t, 200, request{path: "users/me/", as: ben}); err != nil {
					t.Fatal(err)
				}
				a, err := second.send(t, rate)
				return err == nil && a.status == 503
			}
			if !refused() && !strings.Contains(log.String(), "auth.throttle_local") {
				t.Error("a second after the logout, the node whose store is away accepts the token")
			}
			testutil.Eventually(t, 30*time.Second, "the token is refused", refused)
		})
	}
}

// want sends a request and returns an error unless the answer has the status.
func (s *server) want(t *testing.T, status int, r request) error {
	t.Helper()
	if a := s.do(t, r); a.status != status {
		return fmt.Errorf("%s %s: %s, want %d", r.method, r.path, a, status)
	}
	return nil
}

// eachNode sends n requests at once, to both nodes in turn, and counts the statuses.
func eachNode(t *testing.T, node [2]*server, n int, r request) (statuses map[int]int, answers []answer) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses = map[int]int{}
	for i := range n {
		all.Go(func() {
			a, err := node[i%2].send(t, r)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
			answers = append(answers, a)
		})
	}
	all.Wait()
	return statuses, answers
}

// A13: guesses at once, over two nodes that share a cache, are held to the bound of one; while the
// cache is too slow to count, each is held to its own.
func TestGuessesOnTwoNodes(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		for name, between := range sharedCaches() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var log testutil.Log
				node := twoNodes(t, open, between(t), func(c *khodnevis.Config) {
					c.Auth.LimitsOff = false
					c.Logger = slog.New(slog.NewTextHandler(&log, nil))
				})
				began := time.Now()
				statuses, _ := eachNode(t, node, 200, request{method: "POST", path: "users/login/", body: say("username", ada,
					"password", "wrong wrong wrong")})
				// time goes on, and lets one more through after a second, two, four …
				most := 5 + int(time.Since(began)/time.Second)
				if strings.Contains(log.String(), "auth.throttle_local") {
					most *= len(node) + 1 // some were counted together, the others by each node
				}
				if statuses[401] < 5 || statuses[401] > most || statuses[401]+statuses[429] != 200 {
					t.Errorf("200 guesses: %v, want 5 to %d that are looked at", statuses, most)
				}
			})
		}
	})
}

// A18: of many refreshes with one token, over two nodes, one wins; without a grace the others end
// the session.
func TestRefreshesOnTwoNodes(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		node := twoNodes(t, open, nil, func(c *khodnevis.Config) { c.Auth.Grace = -1 })
		login, err := node[0].app.Users.Login(t.Context(), auth.Credentials{Username: ada, Password: password},
			auth.Source{})
		if err != nil {
			t.Fatal(err)
		}
		statuses, answers := eachNode(t, node, 50, request{method: "POST", path: "users/token/refresh/",
			body: say("refresh", login.Refresh)})
		if statuses[200] != 1 || statuses[401] != 49 {
			t.Errorf("50 refreshes: %v, want one that works", statuses)
		}
		for _, a := range answers {
			if a.status == 200 {
				if err := node[1].want(t, 401, request{method: "POST", path: "users/token/refresh/",
					body: say("refresh", a.text(t, "refresh"))}); err != nil {
					t.Errorf("the session goes on: %v", err)
				}
			}
		}
	})
}

// uncheckedStore cannot say whose a token is.
type uncheckedStore struct {
	store.Store
	mu   sync.Mutex
	fail func() error // nil: it can
}

func (s *uncheckedStore) set(fail func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *uncheckedStore) GrantByToken(ctx context.Context, h auth.Hash) (auth.Grant, error) {
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	if fail != nil {
		if err := fail(); err != nil {
			return auth.Grant{}, err
		}
	}
	return s.Store.GrantByToken(ctx, h)
}

// A20: a token that cannot be checked is a 503 on every route, never a 401, which clients take for
// the end of their session; with one that was checked before, ratings are still accepted.
func TestUncheckedTokens(t *testing.T) {
	t.Parallel()
	silence := make(chan struct{})
	for name, fail := range map[string]func() error{
		"fails":        func() error { return errors.New("pq: something") },
		"is away":      func() error { return store.ErrUnavailable },
		"says nothing": func() error { <-silence; return nil }, // nor does it look at its context
	} {
		t.Run(name, func(t *testing.T) {
			kept := &uncheckedStore{}
			s := serve(t, setup{config: func(c *khodnevis.Config) {
				kept.Store = c.Store.(store.Store)
				c.Store = kept
			}})
			contentID := s.write(t, "A film")
			rate := request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":5}`,
				contentID)}
			if err := s.want(t, 202, rate); err != nil {
				t.Fatal(err)
			}
			kept.set(fail)
			s.clock.Advance(time.Minute)
			var all sync.WaitGroup
			all.Go(func() {
				if a, err := s.send(t, rate); err != nil || a.status != 202 {
					t.Errorf("with a token that was checked: %s, %v", a, err)
				}
			})
			for _, c := range matrix(false) {
				if s.app.Handler().(*httpapi.API).Policy(c.route(), c.method) == "everybody, by the body" {
					continue
				}
				all.Go(func() {
					r := request{method: c.method, path: parameter.ReplaceAllString(c.path, "none"), as: ben,
						body: strings.ReplaceAll(c.body, "{content}", "none"), faulty: true}
					a, err := s.send(t, r)
					if err == nil {
						err = sound(r, a)
					}
					if err != nil || a.status != 503 || a.problem() != "unavailable" || a.header.Get("WWW-Authenticate") != "" {
						t.Errorf("%s %s with one that was not: %s, %v", c.method, c.path, a, err)
					}
				})
			}
			all.Wait()
			if name == "says nothing" {
				close(silence)
			}
			kept.set(nil)
			// who comes right then may still share the call that was silent
			testutil.Eventually(t, 30*time.Second, "served when the store is back", func() bool {
				a, err := s.send(t, request{path: "users/me/", as: ben})
				if err != nil || a.status != 200 && a.status != 503 {
					t.Fatalf("when it is back: %s, %v", a, err)
				}
				return a.status == 200
			})
		})
	}
}
