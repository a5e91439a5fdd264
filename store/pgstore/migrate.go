package pgstore

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/khodnevis/khodnevis/internal/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNewer says that the schema was made by a newer version of this program, which this one must
// not write to.
var ErrNewer = migrate.ErrNewer

// Migrate makes the schema and brings its tables up to date: it runs the steps that were not run
// yet, each in a transaction. It may be called by several processes at once, and needs no rights
// but to read when there is nothing to do. ErrNewer: the schema has steps that this program does
// not know. ErrPooled: see there. ErrRights: the role may not read the schema, or not change one
// that is to be changed. On a handle that Open made, a step takes as long as it takes, some seconds
// for a million rows, unless ctx ends it; on one of the host's, the host's timeouts hold. What takes
// longer is left to Rebuild.
func (s *Store) Migrate(ctx context.Context) error {
	steps, err := steps()
	if err == nil {
		err = s.within(ctx, s.ownSessions)
	}
	if err == nil {
		err = s.transact(ctx, s.prepareSchema)
	}
	var due []migrate.Step
	if err == nil {
		err = s.transact(ctx, func(tx transaction) (err error) {
			due, err = tx.due(steps)
			return err
		})
	}
	if err == nil && len(due) > 0 {
		err = s.migrate(ctx, steps)
	}
	if err != nil {
		return fmt.Errorf("pgstore: migrate the schema %s: %w", s.schema, forbidden(err))
	}
	return nil
}

func steps() ([]migrate.Step, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return migrate.Read(files)
}

// migrate runs the steps that were not run yet. On a handle that Open made it takes a connection
// without a statement timeout.
func (s *Store) migrate(ctx context.Context, steps []migrate.Step) (err error) {
	if o, ok := s.db.Driver().(opened); ok {
		db, err := o.forMigration()
		if err != nil {
			return err
		}
		defer db.Close() //nolint:errcheck // what was committed is there
		if s, err = New(db, Config{Schema: s.schema}); err != nil {
			return err
		}
	}
	for more := true; err == nil && more; {
		err = s.transact(ctx, func(tx transaction) (err error) {
			more, err = tx.migrate(steps)
			return err
		})
	}
	return err
}

// due returns the steps that were not run.
func (tx transaction) due(steps []migrate.Step) ([]migrate.Step, error) {
	var done []migrate.Step
	if err := tx.query(&done, `SELECT version, name FROM khodnevis.migrations ORDER BY version`); err != nil {
		return nil, err
	}
	return migrate.Due(steps, done)
}

// alone takes the lock of migrations until the transaction ends. Other callers wait
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
	if err := tx.query(&found, `SELECT current_setting('server_encoding') AS encoding,
		to_regnamespace($1) IS NOT NULL AS schema,
		to_regclass($2) IS NOT NULL AS migrations`,
		strings.TrimSuffix(s.prefix, "."), s.prefix+"migrations"); err != nil {
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
		if _, err := tx.exec(`CREATE TABLE khodnevis.migrations (version integer PRIMARY KEY,
			name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`); err != nil {
			return err
		}
	}
	return nil
}

// migrate runs the next step that is due, and reports whether there was one.
func (tx transaction) migrate(steps []migrate.Step) (bool, error) {
	if err := tx.alone(); err != nil {
		return false, err
	}
	due, err := tx.due(steps)
	if err != nil || len(due) == 0 {
		return false, err
	}
	if _, err := tx.exec(due[0].Text); err != nil {
		return false, fmt.Errorf("%s: %w", due[0].Name, err)
	}
	_, err = tx.exec(`INSERT INTO khodnevis.migrations (version, name) VALUES ($1, $2)`, due[0].Version, due[0].Name)
	return true, err
}
