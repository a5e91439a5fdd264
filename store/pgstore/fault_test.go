package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// instant is a time as services make them.
var instant = time.Date(2025, 3, 1, 12, 0, 0, 123_456_000, time.UTC)

func newContent(id string) content.Content {
	return content.Content{ID: id, Title: "title", Author: "author", Version: 1, CreatedAt: instant,
		UpdatedAt: instant}
}

func change(id, rater string, offset int64, score int) rating.Change {
	return rating.Change{Key: rating.Key{Content: id, Rater: rater},
		Version: rating.Version{Epoch: 1, Offset: offset}, Score: score, At: instant}
}

// calls is every method of the store, with arguments that need nothing.
func calls(s *pgstore.Store) map[string]func(context.Context) error {
	fold := func(rating.History) score.Score { return score.Score{} }
	return map[string]func(context.Context) error{
		"Ping":          s.Ping,
		"Migrate":       s.Migrate,
		"CreateContent": func(ctx context.Context) error { return s.CreateContent(ctx, newContent("c")) },
		"CreateContentIdempotent": func(ctx context.Context) error {
			_, err := s.CreateContentIdempotent(ctx, newContent("once"),
				content.IdempotencyRecord{Content: "once", At: instant}, instant)
			return err
		},
		"IdempotencyRecordByKey": func(ctx context.Context) error {
			_, err := s.IdempotencyRecordByKey(ctx, "author", content.Hash{})
			return err
		},
		"SweepIdempotencyRecords": func(ctx context.Context) error {
			_,
				err := s.SweepIdempotencyRecords(ctx, instant, 1)
			return err
		},
		"ContentsByID": func(ctx context.Context) error {
			_,
				err := s.ContentsByID(ctx, []string{"c"})
			return err
		},
		"ListContents": func(ctx context.Context) error {
			_, err := s.ListContents(ctx, content.Query{Order: content.Order{Field: content.ByScore}, Limit: 1})
			return err
		},
		"CountContents": func(ctx context.Context) error {
			_,
				err := s.CountContents(ctx, content.Filter{}, 0)
			return err
		},
		"UpdateContent": func(ctx context.Context) error { return s.UpdateContent(ctx, newContent("c")) },
		"DeleteContent": func(ctx context.Context) error { return s.DeleteContent(ctx, "c", 0) },
		"ApplyRatings": func(ctx context.Context) error {
			_, err := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{change("c", "r", 1, 3)}})
			return err
		},
		"reject": func(ctx context.Context) error {
			_, err := s.ApplyRatings(ctx, rating.Batch{DeadLetters: []rating.DeadLetter{{}}})
			return err
		},
		"RatingsByKey": func(ctx context.Context) error {
			_, err := s.RatingsByKey(ctx, []rating.Key{{Content: "c", Rater: "r"}})
			return err
		},
		"ListRatings": func(ctx context.Context) error {
			_,
				err := s.ListRatings(ctx, rating.Query{Limit: 1})
			return err
		},
		"CountRatings": func(ctx context.Context) error {
			_,
				err := s.CountRatings(ctx, rating.Filter{}, 0)
			return err
		},
		"StatsByContent": func(ctx context.Context) error {
			_,
				err := s.StatsByContent(ctx, []string{"c"})
			return err
		},
		"RefreshScores": func(ctx context.Context) error { _, err := s.RefreshScores(ctx, 1, fold); return err },
		"RefreshScoresOf": func(ctx context.Context) error {
			_, err := s.RefreshScoresOf(ctx, []string{"c"}, fold)
			return err
		},
		"Rebuild":          s.Rebuild,
		"MarkChanged":      func(ctx context.Context) error { return s.MarkChanged(ctx, []string{"c"}) },
		"HistoryByContent": func(ctx context.Context) error { _, err := s.HistoryByContent(ctx, "c"); return err },
		"AddWindow": func(ctx context.Context) error {
			return s.AddWindow(ctx,
				rating.Window{Content: "c", ID: "w"})
		},
		"RemoveWindow":  func(ctx context.Context) error { return s.RemoveWindow(ctx, "c", "w") },
		"RatedContents": func(ctx context.Context) error { _, err := s.RatedContents(ctx, "", 1); return err },
		"Recount":       func(ctx context.Context) error { _, err := s.Recount(ctx, []string{"c"}); return err },
		"Audit":         func(ctx context.Context) error { _, _, err := s.Audit(ctx); return err },
		"StreamEpoch":   func(ctx context.Context) error { _, err := s.StreamEpoch(ctx, "s"); return err },
		"KnownEpoch":    func(ctx context.Context) error { _, err := s.KnownEpoch(ctx, "s"); return err },
		"ClaimLease": func(ctx context.Context) error {
			_,
				err := s.ClaimLease(ctx, "j", instant, time.Second)
			return err
		},
		"ReleaseLease": func(ctx context.Context) error { return s.ReleaseLease(ctx, "j", instant) },
		"ListDeadLetters": func(ctx context.Context) error {
			_, err := s.ListDeadLetters(ctx, rating.DeadLetterQuery{Limit: 1})
			return err
		},
		"DeleteDeadLetters": func(ctx context.Context) error { return s.DeleteDeadLetters(ctx, []int64{1}) },
		"SweepRatings": func(ctx context.Context) error {
			_,
				err := s.SweepRatings(ctx, instant, 1)
			return err
		},
		"CreateUser": func(ctx context.Context) error { return s.CreateUser(ctx, auth.User{ID: "u"}) },
		"UsersByID": func(ctx context.Context) error {
			_,
				err := s.UsersByID(ctx, []string{"u"})
			return err
		},
		"UserByName": func(ctx context.Context) error { _, err := s.UserByName(ctx, "u"); return err },
		"ListUsers":  func(ctx context.Context) error { _, err := s.ListUsers(ctx, "", 1); return err },
		"UpdateUser": func(ctx context.Context) error {
			return s.UpdateUser(ctx, auth.User{ID: "u"},
				auth.SessionFilter{})
		},
		"RecordErasure": func(ctx context.Context) error {
			return s.RecordErasure(ctx, rating.Erasure{Rater: "u", Mode: rating.EraseDelete, At: instant})
		},
		"Erasures":   func(ctx context.Context) error { _, err := s.Erasures(ctx, instant, "", 1); return err },
		"DeleteUser": func(ctx context.Context) error { return s.DeleteUser(ctx, auth.Deletion{User: "u"}) },
		"CreateSession": func(ctx context.Context) error {
			return s.CreateSession(ctx,
				auth.Session{ID: "n", User: "u"}, nil)
		},
		"GrantByToken":   func(ctx context.Context) error { _, err := s.GrantByToken(ctx, auth.Hash{}); return err },
		"RotateSession":  func(ctx context.Context) error { return s.RotateSession(ctx, auth.Session{ID: "n"}, nil) },
		"SessionsByUser": func(ctx context.Context) error { _, err := s.SessionsByUser(ctx, "u"); return err },
		"DeleteSessions": func(ctx context.Context) error {
			_, err := s.DeleteSessions(ctx, auth.SessionFilter{User: "u"})
			return err
		},
		"EraseContent":  func(ctx context.Context) error { return s.EraseContent(ctx, "forgotten") },
		"SweepSessions": func(ctx context.Context) error { _, err := s.SweepSessions(ctx, instant, 1); return err },
	}
}

// wantUnavailable calls every method at once and wants each back, with ErrUnavailable, by the given
// time.
func wantUnavailable(t *testing.T, s *pgstore.Store, ctx context.Context, by time.Time) {
	t.Helper()
	var wg sync.WaitGroup
	for name, call := range calls(s) {
		wg.Go(func() {
			err := call(ctx)
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: the error is %v, want ErrUnavailable", name, err)
			}
			if late := time.Since(by); late > 0 {
				t.Errorf("%s: back %s too late", name, late)
			}
		})
	}
	wg.Wait()
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	db := dial(t, p.dsn, pgstore.OpenConfig{})
	s := over(t, db, newSchema(t, dial(t, testserver.Postgres(t), pgstore.OpenConfig{})))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, call := range calls(s) { // everything is prepared
		if err := call(t.Context()); errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	p.FallSilent()
	const timeout = 500 * time.Millisecond
	deadline := time.Now().Add(timeout)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	wantUnavailable(t, s, ctx, deadline.Add(time.Second))
	p.Heal()
	if err := testutil.Try(30*time.Second, func() error { return s.Ping(t.Context()) }); err != nil {
		t.Errorf("after the server speaks again: %v", err)
	}
}

// A request has a short deadline, and after a few of them the server is left alone but for probes.
func TestSilentServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	db := dial(t, p.dsn, pgstore.OpenConfig{MaxConns: 4})
	s := over(t, db, newSchema(t, dial(t, testserver.Postgres(t), pgstore.OpenConfig{})))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.FallSilent()
	const little = 200 * time.Millisecond
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), little)
		t.Cleanup(cancel)
		return ctx
	}
	// With fewer connections than failures: those who wait for one fail once it is known that those
	// who have them are lost.
	if err := testutil.Try(30*time.Second, func() error {
		wantUnavailable(t, s, soon(), time.Now().Add(little+time.Second))
		if !s.Down() {
			return errors.New("it is not taken to be down")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	left, all := 0, 0
	for name, call := range calls(s) {
		err := call(soon())
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: the error is %v, want ErrUnavailable", name, err)
		}
		all++
		if errors.Is(err, pgstore.ErrDown) {
			left++
		}
	}
	if asked := all - left; asked > 1+int(time.Since(began)/time.Second) {
		t.Errorf("%d of %d calls have asked it within %v", asked, all, time.Since(began))
	}
	p.Heal()
	if err := testutil.Try(30*time.Second, func() error { return s.Ping(t.Context()) }); err != nil || s.Down() {
		t.Errorf("after the server speaks again: %v, down: %v", err, s.Down())
	}
}

// A server that answers is not down, whatever it answers, and callers who leave say nothing about
// it.
func TestAnswersCloseTheBreaker(t *testing.T) {
	t.Parallel()
	s := open(t)
	lock(t, s, "contents")
	for i := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		want := context.Canceled
		if i%2 == 0 {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			want = store.ErrUnavailable // the server says that it has cancelled the statement
		} else {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		if _, err := s.ContentsByID(ctx, []string{"c"}); !errors.Is(err, want) || s.Down() {
			t.Errorf("call %d: the error is %v, want %v; down: %v", i, err, want, s.Down())
		}
		cancel()
	}
}

// A pool whose connections are all in use says nothing about a database that answers.
func TestFullPoolIsNotUnavailable(t *testing.T) {
	t.Parallel()
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{MaxConns: 2})
	s := over(t, db, newSchema(t, db))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var hold []*sqlx.Conn
	for range 2 {
		conn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hold = append(hold, conn)
	}
	for range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := s.ContentsByID(ctx, []string{"c"}); !errors.Is(err, store.ErrUnavailable) ||
			errors.Is(err, pgstore.ErrDown) || s.Down() {
			t.Errorf("without a connection: %v, down: %v", err, s.Down())
		}
		cancel()
	}
	for _, conn := range hold {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.ContentsByID(t.Context(), []string{"c"}); err != nil {
		t.Error(err)
	}
}

// Without a context's deadline it is the connection that gives up.
func TestSilentServerWithoutDeadline(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	db := dial(t, p.dsn, pgstore.OpenConfig{MaxConns: 60, ConnectTimeout: time.Second,
		StatementTimeout: 500 * time.Millisecond})
	s := over(t, db, "khodnevis_test_silent")
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.FallSilent()
	// database/sql tries a broken connection's call twice more. Not every call may be stopped and
	// begun anew for ever.
	wantUnavailable(t, s, context.Background(), time.Now().Add(10*time.Second))
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	db := dial(t, "postgres://nobody@"+address+"/nothing?sslmode=disable", pgstore.OpenConfig{})
	wantUnavailable(t, over(t, db, ""), t.Context(), time.Now().Add(10*time.Second))
}

// What is asked before the tables are there comes too early, no more.
func TestNoTablesYet(t *testing.T) {
	t.Parallel()
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{})
	s := over(t, db, newSchema(t, db))
	for name, call := range calls(s) {
		if name == "Ping" || name == "Migrate" {
			continue
		}
		if err := call(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: the error is %v, want ErrUnavailable", name, err)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	s := open(t)
	lock(t, s, "contents", "ratings")
	all := calls(s.Store)
	for _, name := range []string{"ContentsByID", "ListContents", "UpdateContent", "ApplyRatings", "RatedContents"} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if err := all[name](ctx); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s, cancelled while it waits for a lock: the error is %v, want context.Canceled alone", name,
				err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := all[name](ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s, whose deadline passes while it waits for a lock: the error is %v, want "+
				"DeadlineExceeded and ErrUnavailable", name, err)
		}
		cancel()
	}
}

func TestTimeoutsOfTheServer(t *testing.T) {
	t.Parallel()
	s := open(t)
	lock(t, s, "contents")
	for what, cfg := range map[string]pgstore.OpenConfig{
		"lock_timeout":      {LockTimeout: 50 * time.Millisecond},
		"statement_timeout": {StatementTimeout: 50 * time.Millisecond},
	} {
		other := over(t, dial(t, testserver.Postgres(t), cfg), s.schema)
		if _, err := other.ContentsByID(context.Background(), []string{"c"}); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: the error is %v, want ErrUnavailable", what, err)
		}
	}
}

// The answer to what was committed is lost. A single statement is run again: it must say what it
// said before, or leave open what became of it. A transaction is not run again, and its error must
// leave that open.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	db := dial(t, p.dsn, pgstore.OpenConfig{MaxConns: 1})
	s := over(t, db, newSchema(t, dial(t, testserver.Postgres(t), pgstore.OpenConfig{})))
	ctx := t.Context()
	if err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	apply := func(c rating.Change) rating.Outcome {
		t.Helper()
		outcomes, err := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{c}})
		if err != nil {
			t.Fatal(err)
		}
		return outcomes[0]
	}
	apply(change("prepared", "r", 1, 1))
	wanted := 0
	for i, result := range []rating.Result{rating.Created, rating.Updated, rating.Unchanged} {
		p.LoseAnswer("lost-rater")
		if got := apply(change("c", "lost-rater", int64(i+1), []int{3, 5, 5}[i])); got.Result != result {
			t.Errorf("change %d, whose answer was lost, is %s, want %s", i, got.Result, result)
		}
		if wanted++; p.AnswersLost() != wanted {
			t.Fatalf("%d answers were lost, want %d", p.AnswersLost(), wanted)
		}
	}
	h, err := s.HistoryByContent(ctx, "c")
	if err != nil || len(h.Buckets) != 1 || h.Buckets[0].Ratings() != 1 || h.Buckets[0].Sum() != 5 {
		t.Errorf("the buckets are %+v, %v, want one rating of 5", h.Buckets, err)
	}
	if ok, err := s.ClaimLease(ctx, "prepared", instant, time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	p.LoseAnswer("lost-job")
	if ok, err := s.ClaimLease(ctx, "lost-job", instant, time.Hour); !ok || err != nil {
		t.Errorf("a claim whose answer was lost is %t, %v, want true", ok, err)
	}
	if ok, err := s.ClaimLease(ctx, "lost-job", instant, time.Hour); ok || err != nil {
		t.Errorf("the same claim by another caller is %t, %v, want false", ok, err)
	}
	once := content.IdempotencyRecord{Author: "once", Content: "lost-once", At: instant}
	p.LoseAnswer("lost-once")
	if kept, err := s.CreateContentIdempotent(ctx, newContent("lost-once"), once, instant); err != nil ||
		kept != once {
		t.Errorf("a creation with a key whose answer was lost is %+v, %v, want %+v", kept, err, once)
	}
	if kept, err := s.CreateContentIdempotent(ctx, newContent("once-2"),
		content.IdempotencyRecord{Author: "once", Content: "once-2", At: instant}, instant); err != nil ||
		kept != once {
		t.Errorf("the same key again is %+v, %v, want %+v", kept, err, once)
	}
	u := auth.User{ID: "lost-user", Canonical: "lost-user", Version: 1, JoinedAt: instant, UpdatedAt: instant}
	n := auth.Session{ID: "lost-session", User: u.ID, Version: 1, CreatedAt: instant, RotatedAt: instant,
		IdleAt: instant, ExpiresAt: instant}
	changed, turned, retitled := u, n, newContent("lost-created")
	changed.Version, turned.Version, retitled.Version = 2, 2, 2
	for _, write := range []struct {
		name, lost string
		call       func() error
		again      error // what the same call says when it comes again
	}{
		{"CreateContent", "lost-created", func() error { return s.CreateContent(ctx, newContent("lost-created")) },
			content.ErrConflict},
		{"UpdateContent", "lost-created", func() error { return s.UpdateContent(ctx, retitled) },
			content.ErrConflict},
		{"DeleteContent", "lost-created", func() error { return s.DeleteContent(ctx, "lost-created", 2) },
			content.ErrNotFound},
		{"CreateUser", "lost-user", func() error { return s.CreateUser(ctx, u) }, auth.ErrUsernameTaken},
		{"UpdateUser", "lost-user",
			func() error { return s.UpdateUser(ctx, changed, auth.SessionFilter{User: u.ID}) }, auth.ErrConflict},
		{"CreateSession", "lost-session", func() error { return s.CreateSession(ctx, n, nil) }, auth.ErrConflict},
		{"RotateSession", "lost-session", func() error { return s.RotateSession(ctx, turned, nil) },
			auth.ErrConflict},
		{"DeleteSessions", "lost-user", func() error {
			_,
				err := s.DeleteSessions(ctx, auth.SessionFilter{User: u.ID})
			return err
		}, nil},
		{"DeleteUser", "lost-user", func() error { return s.DeleteUser(ctx, auth.Deletion{User: u.ID}) },
			auth.ErrNotFound},
	} {
		wanted = p.AnswersLost() + 1
		p.LoseAnswer(write.lost)
		if err := write.call(); !errors.Is(err, store.ErrUnavailable) || write.again != nil &&
			errors.Is(err, write.again) {
			t.Errorf("%s, whose answer was lost: the error is %v, want ErrUnavailable alone", write.name, err)
		}
		if p.AnswersLost() != wanted {
			t.Fatalf("%s: %d answers were lost, want %d", write.name, p.AnswersLost(), wanted)
		}
		if err := write.call(); !errors.Is(err, write.again) {
			t.Errorf("%s, once more: the error is %v, want %v", write.name, err, write.again)
		}
	}
	batch := rating.Batch{Changes: []rating.Change{change("with-rejected", "r", 1, 4)},
		DeadLetters: []rating.DeadLetter{{Key: "k", At: instant}}}
	p.LoseAnswer("COMMIT")
	if _, err := s.ApplyRatings(ctx, batch); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a batch whose commit was not answered: the error is %v, want ErrUnavailable", err)
	}
	outcomes, err := s.ApplyRatings(ctx, batch)
	if err != nil || outcomes[0].Result != rating.Created {
		t.Errorf("the same batch again is %+v, %v, want created", outcomes, err)
	}
	if rejected, err := s.ListDeadLetters(ctx, rating.DeadLetterQuery{Limit: 9}); err != nil || len(rejected) != 1 {
		t.Errorf("%d dead letters, %v, want 1", len(rejected), err)
	}
}

func TestUnstorable(t *testing.T) {
	t.Parallel()
	s := open(t)
	good := change("c", "good", 1, 3)
	var long strings.Builder // of which no compression makes less than an index can hold
	for i := range 4000 {
		fmt.Fprintf(&long, "%x", i*2654435761)
	}
	for what, bad := range map[string]rating.Change{
		"NUL":                change("c", "a\x00b", 2, 3),
		"no UTF-8":           change("c", "a\xffb", 2, 3),
		"a long identifier":  change("c", long.String(), 2, 3),
		"a score of 40 bits": change("c", "r", 2, 1<<40),
		"the same key twice": change("c", "good", 2, 4),
		"a year of six digits": {Key: rating.Key{Content: "c", Rater: "late"},
			At: time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		_, err := s.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{good, bad}})
		if !errors.Is(err, store.ErrUnstorable) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: the error is %v, want ErrUnstorable", what, err)
		}
	}
	if n, err := s.CountRatings(t.Context(), rating.Filter{}, 0); err != nil || n != 0 {
		t.Errorf("%d ratings are stored, %v, want none", n, err)
	}
	// What is rejected may be anything.
	odd := rating.DeadLetter{Key: "\x00\xff" + long.String(), Body: []byte{0, 255}, Detail: "\xfe\x00", At: instant}
	for range 2 {
		if _, err := s.ApplyRatings(t.Context(), rating.Batch{DeadLetters: []rating.DeadLetter{odd}}); err != nil {
			t.Fatal(err)
		}
	}
	found, err := s.ListDeadLetters(t.Context(), rating.DeadLetterQuery{Key: odd.Key, Limit: 5})
	if err != nil || len(found) != 1 || found[0].Key != odd.Key || found[0].Detail != odd.Detail {
		t.Errorf("%d dead letters are found, %v, want one, as it was", len(found), err)
	}
}

func TestPanicWhileComputing(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := s.ApplyRatings(t.Context(),
		rating.Batch{Changes: []rating.Change{change("c", "r", 1, 3)}}); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if p := recover(); p != "fold" {
				t.Errorf("the panic that the caller sees is %v, want that of fold", p)
			}
		}()
		_, _ = s.RefreshScores(t.Context(), 1, func(rating.History) score.Score { panic("fold") })
	}()
	refreshed, err := s.RefreshScores(t.Context(), 1,
		func(rating.History) score.Score { return score.Score{Computed: true} })
	if err != nil || len(refreshed) != 1 {
		t.Errorf("afterwards %d contents are refreshed, %v, want 1", len(refreshed), err)
	}
}

// A dead letter whose transaction ends late turns up before others that were listed already,
// and is found from the beginning.
func TestDeadLettersAppearLate(t *testing.T) {
	t.Parallel()
	s := open(t)
	late, err := s.db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Rollback() //nolint:errcheck // it is committed below
	if _, err := late.ExecContext(t.Context(), s.SQL(`INSERT INTO khodnevis.rejected (stream, position, key,
		body, reason, detail, at) VALUES ('s', 1, '', '', 'late', '', now())`)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ApplyRatings(t.Context(),
		rating.Batch{DeadLetters: []rating.DeadLetter{{Reason: "early", At: instant}}}); err != nil {
		t.Fatal(err)
	}
	list := func(after int64, want ...string) (last int64) {
		t.Helper()
		found, err := s.ListDeadLetters(t.Context(), rating.DeadLetterQuery{After: after, Limit: 9})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range found {
			got, last = append(got, r.Reason), r.ID
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %d there are %q, want %q", after, got, want)
		}
		return last
	}
	last := list(0, "early")
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	list(last)
	last = list(0, "late", "early")
	if err := s.DeleteDeadLetters(t.Context(), []int64{last}); err != nil {
		t.Fatal(err)
	}
	list(0, "late")
}

// lock keeps everybody else from tables until the test ends.
func lock(t *testing.T, s bench, tables ...string) {
	t.Helper()
	tx, err := s.db.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	for _, table := range tables {
		if _, err := tx.Exec(`LOCK TABLE ` + s.schema + `.` + table); err != nil {
			t.Fatal(err)
		}
	}
}

// Connections that take no writes any more are replaced as soon as the server takes writes on new
// ones.
func TestReadOnlyConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	const conns = 4
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{MaxConns: conns})
	s := over(t, db, newSchema(t, dial(t, testserver.Postgres(t), pgstore.OpenConfig{})))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := calls(s)
	for _, name := range []string{"CreateContent", "CreateUser", "CreateSession", "ApplyRatings", "reject",
		"RefreshScores", "ContentsByID"} {
		var stale []*sqlx.Conn
		for range conns { // as one that was opened before the server was made writable
			conn, err := db.Connx(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.ExecContext(t.Context(), `SET default_transaction_read_only = on`); err != nil {
				t.Fatal(err)
			}
			stale = append(stale, conn)
		}
		for _, conn := range stale {
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := testutil.Try(30*time.Second, func() error { return all[name](t.Context()) }); err != nil {
			t.Errorf("%s on connections that are read-only: %v", name, err)
		}
	}
}

// A server that takes no writes is one that is not available for them; what only reads works.
func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	dsn := testserver.Postgres(t)
	schema := newSchema(t, dial(t, dsn, pgstore.OpenConfig{}))
	writable := over(t, dial(t, dsn, pgstore.OpenConfig{}), schema)
	if err := writable.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := over(t, dial(t, readOnlyDSN(t, dsn), pgstore.OpenConfig{}), schema)
	for _, name := range []string{"RefreshScores", "RefreshScoresOf"} {
		if err := calls(s)[name](t.Context()); err != nil {
			t.Errorf("%s without anything to refresh: %v", name, err)
		}
	}
	batch := rating.Batch{Changes: []rating.Change{change("c", "r", 1, 3)}}
	if _, err := writable.ApplyRatings(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	reads := map[string]bool{}
	for _, name := range []string{"Ping", "Migrate", "ContentsByID", "ListContents", "CountContents",
		"IdempotencyRecordByKey", "RatingsByKey", "ListRatings",
		"CountRatings", "StatsByContent", "HistoryByContent", "RatedContents", "Audit", "KnownEpoch",
		"ListDeadLetters", "UsersByID", "UserByName",
		"ListUsers", "Erasures", "GrantByToken", "SessionsByUser", "Recount", "Installation",
		"Rebuild"} {
		reads[name] = true
	}
	for name, call := range calls(s) {
		if err := call(t.Context()); errors.Is(err, store.ErrUnavailable) == reads[name] {
			t.Errorf("%s: the error is %v; it reads only: %v", name, err, reads[name])
		}
	}
	if s.Down() {
		t.Error("a server that answers is taken to be down")
	}
}

// readOnlyDSN leads to the server with transactions that write nothing.
func readOnlyDSN(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		return dsn + " options='-c default_transaction_read_only=on'"
	}
	q := u.Query()
	q.Set("options", "-c default_transaction_read_only=on")
	u.RawQuery = q.Encode()
	return u.String()
}
