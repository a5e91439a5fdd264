package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNewer says that the schema was made by a newer version of this program, which this one must
// not write to.
var ErrNewer = errors.New("pgstore: the schema is of a newer version")

// step is one file of migrations, or the record that it was run.
type step struct {
	Version int    `db:"version"`
	Name    string `db:"name"`
	text    string
}

// Migrate makes the schema and brings its tables up to date: it runs the steps that were not run
// yet, each in a transaction. It may be called by several processes at once, and needs no rights
// but to read when there is nothing to do. ErrNewer: the schema has steps that this program does
// not know. ErrPooled: see there. ErrRights: the role may not read the schema, or not change one
// that is to be changed. On a handle that Open made, a step takes as long as it takes, some seconds
// for a million rows, unless ctx ends it; on one of the host's, the host's timeouts hold.
func (s *Store) Migrate(ctx context.Context) error {
	steps, err := steps()
	if err == nil {
		err = s.within(ctx, s.ownSessions)
	}
	if err == nil {
		err = s.transact(ctx, s.prepareSchema)
	}
	var done int
	if err == nil {
		done, err = s.done(ctx, steps)
	}
	if err == nil && done < len(steps) {
		err = s.migrate(ctx, steps)
	}
	if err != nil {
		return fmt.Errorf("pgstore: migrate the schema %s: %w", s.schema, forbidden(err))
	}
	return nil
}

// migrate runs the steps that were not run yet, on a connection that has timeout if there is one.
func (s *Store) migrate(ctx context.Context, steps []step) (err error) {
	if o, ok := s.db.Driver().(opened); ok {
		db, err := o.patient()
		if err != nil {
			return err
		}
		defer db.Close() //nolint:errcheck // what was committed is there
		if s, err = New(db, Config{Schema: s.schema}); err != nil {
			return err
		}
	}
	for i := 0; err == nil && i < len(steps); i++ {
		err = s.transact(ctx, func(tx transaction) error { return tx.migrate(steps, i) })
	}
	return err
}

// done returns how many of the steps were run.
func (s *Store) done(ctx context.Context, steps []step) (n int, err error) {
	err = s.transact(ctx, func(tx transaction) error {
		n, err = tx.done(steps)
		return err
	})
	return n, err
}

// done returns how many of the steps were run. ErrNewer: others were, too.
func (tx transaction) done(steps []step) (int, error) {
	var done []step
	if err := tx.query(&done, `SELECT version, name FROM khodnevis.migrations ORDER BY version`); err != nil {
		return 0, err
	}
	for j, d := range done {
		if j >= len(steps) || d.Version != steps[j].Version || d.Name != steps[j].Name {
			return 0, fmt.Errorf("%w: it has the step %s", ErrNewer, d.Name)
		}
	}
	return len(done), nil
}

// alone keeps others from migrating the schema until the transaction ends. Whoever waits does so
// for as long as a step takes.
func (tx transaction) alone() error {
	if _, err := tx.exec(`SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0`); err != nil {
		return err
	}
	_, err := tx.exec(`SELECT pg_advisory_xact_lock(hashtextextended('khodnevis/' || $1, 0))`, tx.store.schema)
	return err
}

func (s *Store) prepareSchema(tx transaction) error {
	var found []struct {
		Encoding string `db:"encoding"`
		Schema   bool   `db:"schema"`
		Table    bool   `db:"migrations"`
	}
	if err := tx.alone(); err != nil {
		return err
	}
	if err := tx.query(&found, `SELECT current_setting('server_encoding') AS encoding, to_regnamespace($1) IS NOT NULL AS schema,
		to_regclass($2) IS NOT NULL AS migrations`, strings.TrimSuffix(s.prefix, "."), s.prefix+"migrations"); err != nil {
		return err
	}
	if found[0].Encoding != "UTF8" {
		return fmt.Errorf("the database is encoded in %s, must be UTF8", found[0].Encoding)
	}
	if !found[0].Schema {
		if _, err := tx.exec(`CREATE SCHEMA ` + strings.TrimSuffix(s.prefix, ".")); err != nil {
			return err
		}
	}
	if !found[0].Table {
		if _, err := tx.exec(`CREATE TABLE khodnevis.migrations (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`); err != nil {
			return err
		}
	}
	return nil
}

// migrate runs step i unless it was run.
func (tx transaction) migrate(steps []step, i int) error {
	if err := tx.alone(); err != nil {
		return err
	}
	done, err := tx.done(steps)
	if err != nil || i < done {
		return err
	}
	if _, err := tx.exec(steps[i].text); err != nil {
		return fmt.Errorf("%s: %w", steps[i].Name, err)
	}
	_, err = tx.exec(`INSERT INTO khodnevis.migrations (version, name) VALUES ($1, $2)`, steps[i].Version, steps[i].Name)
	return err
}

// steps returns the files <number>_<name>.sql in the order of their numbers, which are 0001, 0002,
// 0003 and so on.
func steps() ([]step, error) {
	files, err := migrations.ReadDir("migrations") // sorted
	if err != nil {
		return nil, err
	}
	all := make([]step, len(files))
	for i, f := range files {
		if !strings.HasPrefix(f.Name(), fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("%s stands in place %d", f.Name(), i+1)
		}
		text, err := migrations.ReadFile("migrations/" + f.Name())
		if err != nil {
			return nil, err
		}
		all[i] = step{Version: i + 1, Name: f.Name(), text: string(text)}
	}
	return all, nil
}
