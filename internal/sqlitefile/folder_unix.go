//go:build unix

package sqlitefile

import (
	"errors"
	"os"
)

// syncFolder brings to the disk which names the files of a folder have.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
