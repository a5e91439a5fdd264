package memstore_test

import (
	"testing"

	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return memstore.New(memstore.Config{}) }, storetest.Config{})
}
