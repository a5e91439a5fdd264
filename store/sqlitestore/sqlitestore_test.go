package sqlitestore_test

import (
	"path/filepath"
	"testing"

	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

func openAt(t testing.TB, path string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func open(t testing.TB) *sqlitestore.Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "s.db"))
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t) }, storetest.Config{})
}
