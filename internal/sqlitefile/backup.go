package sqlitefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // the driver
)

// Backup writes all that is in the file, as of one moment, to a new file at path, readable by its
// owner only. The file is in use meanwhile as ever. The copy is made in a new folder beside path,
// brought to the disk, and then given its name: what is at path is whole. It is an error if there
// is something at path, be it a symbolic link. After an error there is nothing new.
func (f *File) Backup(ctx context.Context, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlitefile: back up: %w", err)
		}
	}()
	if _, err := os.Lstat(path); err == nil { // known before the work is done; place makes sure
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	folder, err := os.MkdirTemp(filepath.Dir(path), ".khodnevis-backup-") // which nobody else may enter
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	whole := filepath.Join(folder, "copy.db")
	if err := f.copyTo(ctx, whole); err != nil {
		return err
	}
	return place(whole, path)
}

// copyTo makes the file at path and fills it.
func (f *File) copyTo(ctx context.Context, path string) (err error) {
	made, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite fills an empty file
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	// a connection of its own: those that read are denied to write anywhere
	db, err := sqlx.Open(f.cfg.Driver, dsn(f.path, f.cfg))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", uri(path)); err != nil {
		return translate(err)
	}
	if info, err := made.Stat(); err != nil || info.Size() == 0 {
		return errors.Join(err, errors.New("the copy is empty"))
	}
	return made.Sync()
}

// place gives the file at from the name to, unless that is taken. Renaming replaces a link and does
// not follow it.
func place(from, to string) error {
	reserved, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(reserved.Close(), os.Rename(from, to)); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return syncFolder(filepath.Dir(to))
}
