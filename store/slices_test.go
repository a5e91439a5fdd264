package store_test

import (
	"reflect"
	"testing"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// maxMethods is how many methods a slice of a port may have.
const maxMethods = 6

// TestStoreIsMadeOfSmallSlices counts the methods of the slices, and checks that they are all that
// a Store has.
func TestStoreIsMadeOfSmallSlices(t *testing.T) {
	t.Parallel()
	owner := map[string]reflect.Type{}
	for _, slice := range []reflect.Type{
		reflect.TypeFor[content.ContentStore](), reflect.TypeFor[content.IdempotencyStore](),
		reflect.TypeFor[rating.RatingStore](), reflect.TypeFor[rating.StatsStore](),
		reflect.TypeFor[rating.ScoreStore](),
		reflect.TypeFor[rating.StreamStore](), reflect.TypeFor[rating.LeaseStore](),
		reflect.TypeFor[rating.ErasureStore](), reflect.TypeFor[rating.DeadLetterStore](),
		reflect.TypeFor[auth.UserStore](), reflect.TypeFor[auth.SessionStore](),
	} {
		if n := slice.NumMethod(); n > maxMethods {
			t.Errorf("%v has %d methods, at most %d", slice, n, maxMethods)
		}
		for m := range slice.Methods() {
			if other := owner[m.Name]; other != nil {
				t.Errorf("%s is a method of %v and of %v", m.Name, other, slice)
			}
			owner[m.Name] = slice
		}
	}
	for m := range reflect.TypeFor[store.Store]().Methods() {
		if owner[m.Name] == nil {
			t.Errorf("%s is in no slice", m.Name)
		}
	}
	if got, want := reflect.TypeFor[store.Store]().NumMethod(), len(owner); got != want {
		t.Errorf("a Store has %d methods, its slices have %d", got, want)
	}
}
