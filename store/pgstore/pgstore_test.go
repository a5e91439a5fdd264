package pgstore_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

// dial opens a handle with few connections, which the end of the test closes.
func dial(t testing.TB, dsn string, cfg pgstore.OpenConfig) *sqlx.DB {
	t.Helper()
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 6
	}
	db, err := pgstore.Open(dsn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	// it says whether a erasure was sent, which tests that kill back ends prevent
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// newSchema returns the name of a schema that nobody has, dropped at the end of the test.
func newSchema(t testing.TB, db *sqlx.DB) string {
	t.Helper()
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	schema := "khodnevis_test_" + hex.EncodeToString(b)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, err := db.ExecContext(ctx, `DROP SCHEMA IF EXISTS `+schema+` CASCADE`); err != nil {
			t.Errorf("drop schema: %v", err)
		}
	})
	return schema
}

// over returns a Store in a schema over db.
func over(t testing.TB, db *sqlx.DB, schema string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.New(db, pgstore.Config{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bench is a Store in a schema of its own, and the handle to look behind it.
type bench struct {
	*pgstore.Store
	db     *sqlx.DB
	schema string
}

// open returns a Store with tables.
func open(t testing.TB) bench {
	t.Helper()
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{StatementTimeout: 30 * time.Second,
		LockTimeout: 20 * time.Second})
	schema := newSchema(t, db)
	s := over(t, db, schema)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return bench{s, db, schema}
}

func TestStore(t *testing.T) {
	t.Parallel()
	testserver.Postgres(t)
	storetest.Run(t, func(t *testing.T) store.Store { return open(t).Store }, storetest.Config{})
}
