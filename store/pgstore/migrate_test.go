package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

func TestMigrateTogether(t *testing.T) {
	t.Parallel()
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{StatementTimeout: time.Minute})
	schema := newSchema(t, db)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s := over(t, dial(t, testserver.Postgres(t), pgstore.OpenConfig{MaxConns: 1,
				StatementTimeout: time.Minute}), schema)
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var done []string
	if err := db.Select(&done, `SELECT name FROM `+schema+`.migrations ORDER BY version`); err != nil ||
		len(done) == 0 || done[0] != "0001_tables.sql" {
		t.Errorf("recorded are %q, %v", done, err)
	}
	if err := over(t, db, schema).CreateContent(t.Context(), newContent("c")); err != nil {
		t.Error(err)
	}
	// Again, with contents, is nothing.
	if err := over(t, db, schema).Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMigrateNewer(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := s.db.Exec(`INSERT INTO ` + s.schema +
		`.migrations (version, name) VALUES (9999, '9999_future.sql')`); err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); !errors.Is(err, pgstore.ErrNewer) ||
		!strings.Contains(err.Error(), "9999_future.sql") {
		t.Errorf("the error is %v, want ErrNewer and the step's name", err)
	}
}

func TestTwoSchemas(t *testing.T) {
	t.Parallel()
	first := open(t)
	second := over(t, first.db, newSchema(t, first.db))
	if err := second.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	c := newContent("the same")
	for _, s := range []*pgstore.Store{first.Store, second} {
		if err := s.CreateContent(ctx, c); err != nil {
			t.Fatal(err)
		}
		outcomes, err := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{change(c.ID, "r", 1, 3)}})
		if err != nil || outcomes[0].Result != rating.Created {
			t.Fatalf("a rating is %+v, %v, want created", outcomes, err)
		}
	}
	if err := first.DeleteContent(ctx, c.ID, 0); err != nil {
		t.Fatal(err)
	}
	if n, err := second.CountContents(ctx, content.Filter{}, 0); n != 1 || err != nil {
		t.Errorf("the other schema has %d contents, %v, want 1", n, err)
	}
	if n, err := second.CountRatings(ctx, rating.Filter{}, 0); n != 1 || err != nil {
		t.Errorf("the other schema has %d ratings, %v, want 1", n, err)
	}
	if err := storetest.Installations(ctx, first, second); err != nil {
		t.Error(err)
	}
	if err := storetest.Installations(ctx, first, over(t, first.db, first.schema)); err == nil {
		t.Error("one schema has two identities")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	db := dial(t, "postgres://localhost", pgstore.OpenConfig{})
	for _, schema := range []string{`a"b`, "A", "1a", "a.b", "a b", "é", "pg_toast", strings.Repeat("a", 64)} {
		if _, err := pgstore.New(db, pgstore.Config{Schema: schema}); err == nil {
			t.Errorf("the schema %q is taken", schema)
		}
	}
	if _, err := pgstore.New(nil, pgstore.Config{}); err == nil {
		t.Error("New takes no database")
	}
	_, err := pgstore.Open("postgres://localhost", pgstore.OpenConfig{MaxConns: -1, LockTimeout: -1})
	if err == nil || !strings.Contains(err.Error(), "MaxConns") || !strings.Contains(err.Error(), "LockTimeout") {
		t.Errorf("the error is %v, want one that names MaxConns and LockTimeout", err)
	}
	if _, err := pgstore.Open("postgres://localhost?sslmode=perhaps", pgstore.OpenConfig{}); err == nil {
		t.Error("Open takes a connection string that is none")
	}
}

// A connection has what Open promises, whatever the connection string says of timeouts.
func TestSettings(t *testing.T) {
	t.Parallel()
	dsn := testserver.Postgres(t)
	if !strings.Contains(dsn, "?") {
		t.Skip("the server's address is no URL with settings") // the test adds a setting
	}
	db := dial(t, dsn+"&statement_timeout=0&random_page_cost=2", pgstore.OpenConfig{MaxConns: 3,
		StatementTimeout: 7 * time.Second})
	for name, wanted := range map[string]string{
		"statement_timeout": "7s", "lock_timeout": "3s", "idle_in_transaction_session_timeout": "5s",
		"random_page_cost": "2", "jit": "off",
	} {
		var got string
		if err := db.Get(&got, `SELECT current_setting($1)`, name); err != nil || got != wanted {
			t.Errorf("%s is %s, %v, want %s", name, got, err, wanted)
		}
	}
	var all []interface{ Close() error }
	for range 3 {
		c, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := over(t, db, "").Ping(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without a free connection the error is %v, want ErrUnavailable", err)
	}
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if st := db.Stats(); st.OpenConnections != 3 || st.Idle != 3 {
		t.Errorf("%d connections are open and %d idle, want 3 and 3", st.OpenConnections, st.Idle)
	}
}

// A step that takes longer than any statement may is waited for, and carries over what is there.
func TestMigrationTakesItsTime(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	s := openAt(t, 6)
	s.run(t, `INSERT INTO `+s.schema+`.rating_stats (content_id, n, sum, revision) VALUES ('c', 2, 7, 2)`)
	s.run(t, `INSERT INTO `+s.schema+`.rating_scores (content_id) VALUES ('c')`)
	holder, err := s.db.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback() //nolint:errcheck // it ends with the test
	holder.MustExec(`LOCK TABLE ` + s.schema + `.ratings IN ACCESS SHARE MODE`)
	migrated := make(chan error)
	go func() {
		migrated <- over(t, dial(t, testserver.Postgres(t), pgstore.OpenConfig{MaxConns: 1,
			StatementTimeout: timeout}), s.schema).Migrate(t.Context())
	}()
	// Until the server has said nothing for longer than a statement, and a connection, may.
	if err := testutil.Try(30*time.Second, func() error {
		var waiting int
		if err := s.db.Get(&waiting, `SELECT count(*) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND query LIKE $1 AND now() - query_start > $2::interval`,
			"%"+s.schema+"%ratings_updated%", (timeout + 1200*time.Millisecond).String()); err != nil {
			return err
		}
		if waiting == 0 {
			return errors.New("it does not wait")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := holder.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	stats, err := s.StatsByContent(t.Context(), []string{"c"})
	if err != nil || len(stats) != 1 || stats[0].Count != 2 {
		t.Errorf("the numbers are %+v, %v, want 2 ratings", stats, err)
	}
}

// openAt returns a Store in a schema that was migrated up to a step.
func openAt(t *testing.T, last int) bench {
	t.Helper()
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{StatementTimeout: 30 * time.Second,
		LockTimeout: 20 * time.Second})
	s := bench{db: db, schema: newSchema(t, db)}
	s.Store = over(t, db, s.schema)
	steps, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, `CREATE SCHEMA `+s.schema)
	s.run(t, `CREATE TABLE `+s.schema+`.migrations (version integer PRIMARY KEY, name text NOT NULL,
		applied_at timestamptz NOT NULL DEFAULT now())`)
	for i, step := range steps[:last] {
		text, err := os.ReadFile(step)
		if err != nil {
			t.Fatal(err)
		}
		s.run(t, s.SQL(string(text)))
		s.run(t, fmt.Sprintf(`INSERT INTO %s.migrations VALUES (%d, '%s')`, s.schema, i+1, filepath.Base(step)))
	}
	return s
}
