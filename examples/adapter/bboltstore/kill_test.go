package bboltstore_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/examples/adapter/bboltstore"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/kvstore"
)

// killedEnv names the file for the process that is to be killed.
const killedEnv = "BBOLTSTORE_TEST_KILLED"

func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		panic(writeUntilKilled(path))
	}
	os.Exit(m.Run())
}

// announcing is an engine that prints a line within each Update, before what it did is committed.
type announcing struct{ kvstore.Engine }

func (e announcing) Update(ctx context.Context, fn func(kvstore.Tx) error) error {
	return e.Engine.Update(ctx, func(tx kvstore.Tx) error {
		err := fn(tx)
		fmt.Println("within")
		return err
	})
}

// contents is from how many on the oldest one is deleted.
const contents = 12

// writeUntilKilled writes of every kind, and prints what was stored once a method has returned.
func writeUntilKilled(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	engine, err := bboltstore.New(db)
	if err != nil {
		return err
	}
	ctx, s := context.Background(), kvstore.New(announcing{engine}, kvstore.Config{})
	fold := func(h rating.History) score.Score {
		return score.Score{Rank: float64(len(h.Buckets)), Counted: 1, Computed: true}
	}
	for {
		now := time.Now().UTC().Truncate(time.Microsecond)
		c := content.Content{
			ID: fmt.Sprint("content", now.UnixMicro()), Title: fmt.Sprint("all word", rand.IntN(5)), Author: "a",
			Version: 1, CreatedAt: now, UpdatedAt: now,
		}
		if err := s.CreateContent(ctx, c); err != nil {
			return err
		}
		fmt.Println("content", c.ID)
		var batch rating.Batch
		for i := range 10 {
			batch.Changes = append(batch.Changes, rating.Change{
				Key:     rating.Key{Content: c.ID, Rater: fmt.Sprint("r", i)},
				Version: rating.Version{Epoch: 1, Offset: now.UnixMicro()},
				Score:   1 + rand.IntN(5), At: now.Add(time.Duration(rand.IntN(9)) * time.Hour),
			})
		}
		if _, err := s.ApplyRatings(ctx, batch); err != nil {
			return err
		}
		fmt.Println("ratings", c.ID)
		if _, err := s.RefreshScores(ctx, 5, fold); err != nil {
			return err
		}
		c.Title, c.Version = fmt.Sprint("all other", rand.IntN(5)), 2
		if err := s.UpdateContent(ctx, c); err != nil {
			return err
		}
		old, err := s.ListContents(ctx, content.Query{Order: content.Order{Field: content.ByCreated}, Limit: contents})
		if err != nil || len(old) < contents {
			continue
		}
		fmt.Println("deletes", old[0].ID)
		if err := s.DeleteContent(ctx, old[0].ID, 0); err != nil {
			return err
		}
		fmt.Println("deleted", old[0].ID)
	}
}

// TestKilled: after each kill everything is there that a method returned for, nothing is half
// there, and every index has what it ought to.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store")
	for range 100 {
		fate := killWithinUpdate(t, path)
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		engine, err := bboltstore.New(db)
		if err != nil {
			t.Fatal(err)
		}
		check(t, kvstore.New(engine, kvstore.Config{}), fate)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// killWithinUpdate returns what is known of each content that a process wrote before it was killed:
// the last word that it printed of it.
func killWithinUpdate(t *testing.T, path string) map[string]string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), killedEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fate := map[string]string{}
	updates := 1 + rand.IntN(20)
	for lines := bufio.NewScanner(out); lines.Scan(); { // what was printed before the kill is read after it
		word, id, _ := strings.Cut(lines.Text(), " ")
		if word != "within" {
			fate[id] = word
			continue
		}
		if updates--; updates == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || updates > 0 {
		t.Fatalf("it ended by itself, %d updates too early: %v", updates, err)
	}
	return fate
}

func check(t *testing.T, s *kvstore.Store, fate map[string]string) {
	t.Helper()
	ctx := t.Context()
	compute := func(rating.History) score.Score { return score.Score{Computed: true} }
	if _, err := s.RefreshScores(ctx, 1000, compute); err != nil {
		t.Fatal(err)
	}
	all := list(t, s, content.Filter{}, content.Order{Field: content.ByCreated})
	for id, word := range fate {
		stats, err := s.StatsByContent(ctx, []string{id})
		if err != nil {
			t.Fatal(err)
		}
		there := slices.Contains(all, id)
		rated := len(stats) == 1 && stats[0].Count == 10
		if word == "content" && !there || word == "ratings" && (!there || !rated) ||
			word == "deleted" && (there || len(stats) > 0) ||
			word == "deletes" && !there && len(stats) > 0 {
			t.Errorf("of %s the last word was %q; it is there: %t, with ratings %+v", id, word, there, stats)
		}
	}
	for _, field := range content.Fields() {
		for _, f := range []content.Filter{{}, {Author: "a"}, {Terms: []string{"all"}}} {
			if ids := list(t, s, f, content.Order{Field: field, Desc: true}); !slices.Equal(ids, all) {
				t.Errorf("by %s of %+v the contents are %v, want %v", field, f, ids, all)
			}
		}
	}
	rated, err := s.RatedContents(ctx, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if drifts, err := s.Recount(ctx, rated); err != nil || len(drifts) > 0 {
		t.Errorf("numbers that are not those of the ratings: %+v, %v", drifts, err)
	}
	for _, order := range []rating.Order{rating.ByKey, rating.NewestFirst} {
		found, err := s.ListRatings(ctx, rating.Query{Order: order, Limit: 10_000})
		if err != nil || len(found) != 10*len(rated) {
			t.Errorf("%d ratings of %d contents in the order %d, %v", len(found), len(rated), order, err)
		}
	}
}

// list returns the identifiers of a list, sorted.
func list(t *testing.T, s *kvstore.Store, f content.Filter, o content.Order) []string {
	t.Helper()
	listed, err := s.ListContents(t.Context(), content.Query{Filter: f, Order: o, Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range listed {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}
