//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// diskSize is the size of the embedded stack's disk.
const diskSize = 256 << 20

// disk is a file system in memory of the run's own, so that it can be full for the server alone. A
// limit of the size of files would not do: a Go process dies of SIGXFSZ. Where the lab may not
// mount, small is false, and no disk is filled.
type disk struct {
	dir   string
	small bool
}

func newDisk(dir string) (*disk, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", diskSize))
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("mount a disk: %w", err)
	}
	return &disk{dir: dir, small: err == nil}, nil
}

func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

// fill takes all the room there is.
func (d *disk) fill() error {
	file, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, zeros{})
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, file.Close())
}

// clear gives the room back.
func (d *disk) clear() error {
	err := os.Remove(d.filler())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// close unmounts the disk. What is on it is copied into the folder below it first, for whoever
// looks into a failure.
func (d *disk) close() {
	if !d.small {
		return
	}
	for _, name := range []string{"lab.db", "lab.db-wal"} {
		if data, err := os.ReadFile(filepath.Join(d.dir, name)); err == nil {
			_ = os.WriteFile(filepath.Join(filepath.Dir(d.dir), name), data, 0o600)
		}
	}
	_ = syscall.Unmount(d.dir, 0)
}

// zeros is an endless file of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
