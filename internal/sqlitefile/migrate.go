package sqlitefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNewer says that the file was written by a newer version of this program.
var ErrNewer = errors.New("sqlitefile: the file is of a newer version")

// migration is one step of a schema.
type migration struct {
	Version int    `db:"version"`
	Name    string `db:"name"`
	text    string
}

// Migrate brings the tables of a component up to date: it runs those of the files
// <number>_<name>.sql, in the order of their numbers, which are 1, 2, 3 and so on, that have not
// been run on this file, each in a transaction. It may be called by several processes at once.
// ErrNewer: the file has steps that are not among files.
func (f *File) Migrate(ctx context.Context, component string, files fs.FS) error {
	steps, err := migrations(files)
	if err != nil {
		return fmt.Errorf("sqlitefile: migrations of %s: %w", component, err)
	}
	err = f.Write(ctx, func(tx Tx) error {
		_, err := tx.Exec(`CREATE TABLE IF NOT EXISTS migrations (
			component TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, applied_at INTEGER NOT NULL,
			PRIMARY KEY (component, version)) WITHOUT ROWID, STRICT`)
		return err
	})
	for i := 0; err == nil && i <= len(steps); i++ {
		err = f.Write(ctx, func(tx Tx) error { return tx.(*transaction).migrate(component, steps, i) })
	}
	if err != nil {
		return fmt.Errorf("sqlitefile: migrate %s: %w", component, err)
	}
	return nil
}

// migrate runs step i unless it has been run. The step after the last one only looks for others.
func (tx *transaction) migrate(component string, steps []migration, i int) error {
	var applied []migration
	if err := tx.Select(&applied, `SELECT version, name FROM migrations WHERE component = ? ORDER BY version`, component); err != nil {
		return err
	}
	for j, done := range applied {
		if j >= len(steps) {
			return fmt.Errorf("%w: it has step %d, %s", ErrNewer, done.Version, done.Name)
		}
		if want := steps[j]; done.Version != want.Version || done.Name != want.Name {
			return fmt.Errorf("%w: it has step %d, %s, in place of %d, %s", ErrNewer, done.Version, done.Name, want.Version, want.Name)
		}
	}
	if i < len(applied) || i == len(steps) {
		return nil
	}
	if err := tx.script(steps[i].text); err != nil {
		return fmt.Errorf("%s: %w", steps[i].Name, err)
	}
	_, err := tx.Exec(`INSERT INTO migrations (component, version, name, applied_at) VALUES (?, ?, ?, ?)`,
		component, steps[i].Version, steps[i].Name, time.Now().UnixMicro())
	return err
}

func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	steps := make([]migration, len(names))
	for i, name := range names {
		number, _, _ := strings.Cut(name, "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("%s stands in place %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		steps[i] = migration{Version: i + 1, Name: name, text: string(text)}
	}
	return steps, nil
}
