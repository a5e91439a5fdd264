package memstore_test

import (
	"testing"

	"github.com/khodnevis/khodnevis/store/kvstore"
	"github.com/khodnevis/khodnevis/store/kvstore/kvtest"
	"github.com/khodnevis/khodnevis/store/memstore"
)

func TestEngine(t *testing.T) {
	t.Parallel()
	kvtest.Run(t, func(*testing.T) kvstore.Engine { return memstore.NewEngine() }, kvtest.Config{})
}
