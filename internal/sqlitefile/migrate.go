package sqlitefile

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/khodnevis/khodnevis/internal/migrate"
)

// ErrNewer says that the file was written by a newer version of this program.
var ErrNewer = migrate.ErrNewer

// Migrate brings the tables of a component up to date: it runs those of the files
// <number>_<name>.sql that have not been run on this file, each in a transaction. It may be called
// by several processes at once. ErrNewer: the file has steps that are not among files.
func (f *File) Migrate(ctx context.Context, component string, files fs.FS) error {
	steps, err := migrate.Read(files)
	if err == nil {
		err = f.Write(ctx, func(tx Tx) error {
			_, err := tx.Exec(`CREATE TABLE IF NOT EXISTS migrations (
				component TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, applied_at INTEGER NOT NULL,
				PRIMARY KEY (component, version)) WITHOUT ROWID, STRICT`)
			return err
		})
	}
	for more := true; err == nil && more; {
		err = f.Write(ctx, func(tx Tx) (err error) {
			more, err = tx.(*transaction).migrate(component, steps)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("sqlitefile: migrate %s: %w", component, err)
	}
	return nil
}

// migrate runs the next step that is due, and reports whether there was one.
func (tx *transaction) migrate(component string, steps []migrate.Step) (bool, error) {
	var done []migrate.Step
	if err := tx.Select(&done, `SELECT version, name FROM migrations WHERE component = ? ORDER BY version`,
		component); err != nil {
		return false, err
	}
	due, err := migrate.Due(steps, done)
	if err != nil || len(due) == 0 {
		return false, err
	}
	if _, err := tx.f.conn.ExecContext(context.Background(), due[0].Text); err != nil { // several statements
		return false, fmt.Errorf("%s: %w", due[0].Name, translate(err))
	}
	_, err = tx.Exec(`INSERT INTO migrations (component, version, name, applied_at) VALUES (?, ?, ?, ?)`,
		component, due[0].Version, due[0].Name, time.Now().UnixMicro())
	return true, err
}
