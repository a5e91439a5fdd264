package pgstore_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// However many lists and counts hang, they leave connections to those who look rows up.
func TestLookUpsDoNotWaitForLists(t *testing.T) {
	t.Parallel()
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{MaxConns: 3, LockTimeout: time.Minute,
		StatementTimeout: time.Minute})
	schema := newSchema(t, db)
	s := over(t, db, schema)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	holder := dial(t, testserver.Postgres(t), pgstore.OpenConfig{})
	tx, err := holder.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it ends with the test
	tx.MustExec(`LOCK TABLE ` + schema + `.contents, ` + schema + `.ratings IN ACCESS EXCLUSIVE MODE`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hanging := []func() error{
		func() error {
			_, err := s.ListContents(ctx, content.Query{Order: content.Order{Field: content.ByTitle}, Limit: 20,
				MaxRows: 100})
			return err
		},
		func() error {
			_, err := s.ListContents(ctx, content.Query{Filter: content.Filter{Author: "a"},
				Order: content.Order{Field: content.ByTitle}, Limit: 20, MaxRows: 100})
			return err
		},
		func() error { _, err := s.CountContents(ctx, content.Filter{}, 100); return err },
		func() error {
			_, err := s.ListRatings(ctx, rating.Query{Order: rating.NewestFirst, Limit: 20, MaxRows: 100})
			return err
		},
		func() error { _, err := s.CountRatings(ctx, rating.Filter{}, 100); return err },
	}
	ended := make(chan error)
	for range 4 {
		for _, hang := range hanging {
			go func() { ended <- hang() }()
		}
	}
	for db.Stats().InUse == 0 { // until the first of them runs
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
			runtime.Gosched()
		}
	}
	look, done := context.WithTimeout(t.Context(), 10*time.Second)
	defer done()
	for range 50 {
		if _, err := s.GrantByToken(look, auth.Hash{1}); !errors.Is(err, auth.ErrNotFound) {
			t.Fatalf("a token: %v", err)
		}
		if _, err := s.StatsByContent(look, []string{"c"}); err != nil {
			t.Fatalf("the numbers of a content: %v", err)
		}
	}
	cancel()
	for range 4 * len(hanging) {
		if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("it ends with %v", err)
		}
	}
}
