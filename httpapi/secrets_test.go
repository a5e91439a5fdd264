package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// witness writes down all that the queue and the cache are given.
type witness struct{ said testutil.Log }

type watchedQueue struct {
	queue.Queue
	*witness
}

func (q watchedQueue) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	for _, m := range msgs {
		fmt.Fprintf(&q.said, "%s %s %v\n", m.Key, m.Body, m.Header)
	}
	return q.Queue.Publish(ctx, msgs...)
}

type watchedCache struct {
	*lrucache.Cache
	*witness
}

func (c watchedCache) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	fmt.Fprintln(&c.said, keys)
	return c.Cache.GetMany(ctx, keys)
}

func (c watchedCache) SetMany(ctx context.Context, items []cache.Item) error {
	for _, i := range items {
		fmt.Fprintf(&c.said, "%s %s\n", i.Key, i.Value)
	}
	return c.Cache.SetMany(ctx, items)
}

func (c watchedCache) Add(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
	fmt.Fprintln(&c.said, key)
	return c.Cache.Add(ctx, key, n, ttl)
}

// keptStores are stores together with all that they keep, as bytes.
func keptStores() map[string]func(t *testing.T) (store.Store, func() []byte) {
	return map[string]func(t *testing.T) (store.Store, func() []byte){
		"sqlitestore": func(t *testing.T) (store.Store, func() []byte) {
			file := filepath.Join(t.TempDir(), "test.db")
			s, err := sqlitestore.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s, func() []byte {
				var all []byte
				for _, name := range []string{file, file + "-wal"} {
					b, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, b...)
				}
				return all
			}
		},
		"pgstore": func(t *testing.T) (store.Store, func() []byte) {
			db := postgres(t)
			s, schema := newSchema(t, db)
			return s, func() []byte {
				var tables []string
				if err := db.SelectContext(t.Context(), &tables,
					`SELECT table_name FROM information_schema.tables WHERE table_schema = $1`, schema); err != nil ||
					len(tables) < 5 {
					t.Fatalf("the schema has the tables %q, %v", tables, err)
				}
				var all bytes.Buffer
				for _, table := range tables {
					var rows []string
					if err := db.SelectContext(t.Context(), &rows, `SELECT r::text FROM `+schema+`.`+table+` AS r`); err != nil {
						t.Fatal(err)
					}
					all.WriteString(strings.Join(rows, "\n"))
				}
				return all.Bytes()
			}
		},
	}
}

// A16: neither tokens nor passwords are in the database, the queue, the cache or the log, however
// they got in.
func TestSecretsAreKeptNowhere(t *testing.T) {
	t.Parallel()
	for name, open := range keptStores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept, dump := open(t)
			w, log := &witness{}, &testutil.Log{}
			s := serve(t, setup{open: func(testing.TB, func() time.Time) store.Store { return kept },
				config: func(c *khodnevis.Config) {
					c.Queue, c.Cache = watchedQueue{c.Queue, w}, watchedCache{lrucache.New(lrucache.Config{Now: c.Now}), w}
					c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
					c.Auth.LimitsOff = false
				}})
			const first, second, wrong = "seven green bottles", "eight green bottles", "nine wrong bottles"
			secrets := []string{first, second, wrong}
			send := func(method, path, token, body string) answer {
				r := request{method: method, path: path, body: body, header: map[string]string{"User-Agent": "a browser"}}
				if token != "" {
					r.header["Authorization"] = "Bearer " + token
				}
				return s.do(t, r)
			}
			keep := func(a answer) string {
				if a.status != 200 {
					t.Fatalf("no tokens: %s", a)
				}
				for _, member := range []string{"access", "refresh"} {
					token := a.text(t, member)
					raw, err := base64.RawURLEncoding.DecodeString(token[4:47])
					if err != nil {
						t.Fatal(err)
					}
					secrets = append(secrets, token[4:47], string(raw), hex.EncodeToString(raw),
						base64.StdEncoding.EncodeToString(raw))
				}
				return a.text(t, "access")
			}
			send("POST", "users/", "", say("username", "dora", "password", first, "email", "d@example.org"))
			send("POST", "users/login/", "", say("username", "dora", "password", wrong))
			send("POST", "users/login/", "", say("username", wrong, "password", first))
			login := send("POST", "users/login/", "", say("username", "dora", "password", first))
			keep(login)
			token := keep(send("POST", "users/token/refresh/", "", say("refresh", login.text(t, "refresh"))))
			send("PATCH", "users/me/", token, say("email", "e@example.org", "current_password", first))
			send("POST", "users/me/password/", token, say("current_password", wrong, "new_password", second))
			send("POST", "users/me/password/", token, say("current_password", first, "new_password", second))
			made := send("POST", "contents/", token, say("title", "A film"))
			if a := s.do(t, request{method: "PUT", path: "contents/" + made.text(t, "id") + "/rating/", header: bearer(token),
				body: `{"score":4}`, prefer: "wait=10"}); a.status != 201 {
				t.Errorf("rate: %s", a)
			}
			s.do(t, request{method: "POST", path: "contents/", body: `{"title":"t"}`,
				header: map[string]string{"Authorization": "Bearer " + token, "Idempotency-Key": "k"}})
			send("GET", "contents/?access_token="+token, "", "")
			send("GET", "users/me/", token[:len(token)-1], "")
			s.do(t, request{path: "users/me/", header: map[string]string{"Authorization": "Basic " +
				base64.StdEncoding.EncodeToString([]byte("dora:"+second)), "Cookie": "token=" + token}})
			send("POST", "users/logout/", token, "")
			send("GET", "users/me/", token, "")

			places := map[string][]byte{"the database": dump(), "the queue or the cache": []byte(w.said.String()),
				"the log": []byte(log.String())}
			for place, sign := range map[string]string{"the database": "dora", "the queue or the cache": made.text(t, "id"),
				"the log": "auth.login"} {
				if !bytes.Contains(places[place], []byte(sign)) {
					t.Errorf("the test shows nothing: %q is not in %s", sign, place)
				}
				for _, secret := range secrets {
					if bytes.Contains(places[place], []byte(secret)) {
						t.Errorf("%q is in %s", secret, place)
					}
				}
			}
		})
	}
}
