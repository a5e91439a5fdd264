package sqlitestore_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// killedEnv names the file for the process that is to be killed.
const killedEnv = "SQLITESTORE_TEST_KILLED"

func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		panic(rateUntilKilled(path))
	}
	os.Exit(m.Run())
}

// rateUntilKilled publishes ratings, prints each one once it is accepted, and applies them.
func rateUntilKilled(path string) error {
	s, err := sqlitestore.Open(path)
	if err != nil {
		return err
	}
	q, err := sqlitequeue.New(s.File(), sqlitequeue.Config{})
	if err != nil {
		return err
	}
	for range 4 {
		go func() {
			for {
				k := rating.Key{Content: fmt.Sprint("c", rand.IntN(3)), Rater: fmt.Sprint("r", rand.IntN(20))}
				ps, err := q.Publish(context.Background(), queue.Message{Key: k.String(),
					Body: []byte{byte(1 + rand.IntN(5))}})
				if err != nil {
					panic(err)
				}
				fmt.Println(ps[0].Offset, k)
			}
		}()
	}
	return q.Consume(context.Background(), 100, func(ctx context.Context,
		batch []queue.Delivery) error {
		return applyBatch(ctx, s, batch)
	})
}

func applyBatch(ctx context.Context, s *sqlitestore.Store, batch []queue.Delivery) error {
	epoch, err := s.StreamEpoch(ctx, batch[0].Stream)
	if err != nil {
		return err
	}
	newest := map[rating.Key]rating.Change{}
	for _, d := range batch {
		k, ok := rating.ParseKey(d.Key)
		if !ok {
			return fmt.Errorf("key %q", d.Key)
		}
		newest[k] = rating.Change{Key: k, Version: rating.Version{Epoch: epoch, Offset: d.Offset},
			Score: int(d.Body[0]), At: at(int(d.Offset))}
	}
	var b rating.Batch
	for _, c := range newest {
		b.Changes = append(b.Changes, c)
	}
	_, err = s.ApplyRatings(ctx, b)
	return err
}

func TestWhatWasAcceptedIsAppliedAfterBeingKilled(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for range 20 {
		accepted := killWhileRating(t, path)
		s := openAt(t, path)
		var check string
		if _, err := s.File().Get(t.Context(), &check, "PRAGMA quick_check"); err != nil || check != "ok" {
			t.Fatalf("quick_check says %q (%v)", check, err)
		}
		execute(t, s, "UPDATE queue_topics SET until = 0") // spares the wait for the end of the dead process's lease
		applyTheRest(t, s)
		for k, offset := range accepted {
			found, err := s.RatingsByKey(t.Context(), []rating.Key{k})
			if err != nil || len(found) != 1 || found[0].Version.Offset < offset {
				t.Errorf("rating %s was accepted at %d; stored is %v (%v)", k, offset, found, err)
			}
		}
		if drifts, err := s.Recount(t.Context(), []string{"c0", "c1", "c2"}); err != nil || len(drifts) != 0 {
			t.Errorf("the numbers are not those of the rows: %v (%v)", drifts, err)
		}
		s.Close()
	}
}

func applyTheRest(t *testing.T, s *sqlitestore.Store) {
	t.Helper()
	q, err := sqlitequeue.New(s.File(), sqlitequeue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := q.Lag(t.Context())
	if err != nil || waiting == 0 {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := q.Consume(ctx, 100, func(ctx context.Context, batch []queue.Delivery) error {
		if waiting -= int64(len(batch)); waiting == 0 {
			cancel()
		}
		return applyBatch(ctx, s, batch)
	}); err != nil {
		t.Fatal(err)
	}
}

// killWhileRating returns the offsets of the last accepted messages of the keys that a process
// printed before it was killed.
func killWhileRating(t *testing.T, path string) map[rating.Key]int64 {
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
	accepted := map[rating.Key]int64{}
	var kill sync.Once
	n, fatal := 0, 50+rand.IntN(200)
	for lines := bufio.NewScanner(out); lines.Scan(); { // what was printed before the kill is read after it
		var offset int64
		var id string
		if _, err := fmt.Sscan(lines.Text(), &offset, &id); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		k, _ := rating.ParseKey(id)
		accepted[k] = max(accepted[k], offset)
		if n++; n >= fatal {
			kill.Do(func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := cmd.Wait(); err == nil || n < fatal {
		t.Fatalf("it ended by itself after %d messages: %v", n, err)
	}
	return accepted
}
