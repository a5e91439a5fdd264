package bboltstore_test

import (
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/khodnevis/khodnevis/examples/adapter/bboltstore"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/kvstore"
	"github.com/khodnevis/khodnevis/store/kvstore/kvtest"
	"github.com/khodnevis/khodnevis/store/storetest"
)

func open(t *testing.T, path string, options *bolt.Options) *bboltstore.Engine {
	t.Helper()
	db, err := bolt.Open(path, 0o600, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	e, err := bboltstore.New(db)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// unsynced spares the suites, which end with their process, the wait for the disk.
func unsynced(t *testing.T) *bboltstore.Engine {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "store"), &bolt.Options{NoSync: true})
}

func TestEngine(t *testing.T) {
	t.Parallel()
	kvtest.Run(t, func(t *testing.T) kvstore.Engine { return unsynced(t) }, kvtest.Config{})
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(
		t,
		func(t *testing.T) store.Store { return kvstore.New(unsynced(t), kvstore.Config{}) },
		storetest.Config{},
	)
}
