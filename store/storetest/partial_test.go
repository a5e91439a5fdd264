package storetest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

// panicking panics in one method, which checks call from goroutines too.
type panicking struct{ store.Store }

func (panicking) UpdateUser(context.Context, auth.User, auth.SessionFilter) error {
	panic("UpdateUser is not written yet")
}

// TestPanicFailsItsOwnChecks shows that an adapter can be written method by method.
func TestPanicFailsItsOwnChecks(t *testing.T) {
	t.Parallel()
	failed := 0
	for _, c := range storetest.Checks() {
		if !strings.HasPrefix(c.Name, "auth/") {
			continue
		}
		err := c.Run(t.Context(), panicking{memstore.New(memstore.Config{})})
		switch calls := strings.HasPrefix(c.Name, "auth/update-user"); {
		case err == nil:
			if calls {
				t.Errorf("%s passes without UpdateUser", c.Name)
			}
		case !strings.Contains(err.Error(), "UpdateUser is not written yet"):
			t.Errorf("%s: %v", c.Name, err)
		default:
			failed++
		}
	}
	if failed < 3 || failed > 10 {
		t.Errorf("%d checks fail for want of UpdateUser", failed)
	}
}

// mistaken has optional powers that do not do what they say.
type mistaken struct{ store.Store }

func (m mistaken) Audit(ctx context.Context) (int, []string, error) {
	ids, err := m.RatedContents(ctx, "", 10)
	return len(ids), ids, err
}

func (mistaken) Down() bool { return true }

func (mistaken) Ping(context.Context) error { return errors.New("no answer") }

// TestOptionalPowers shows that the checks of optional powers notice what is wrong, and that they
// neither pass nor fail where a store lacks the power.
func TestOptionalPowers(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, c := range storetest.Checks() {
		switch c.Name {
		case "across/ping", "across/breaker", "rating/audit":
			checked++
			bare := struct{ store.Store }{memstore.New(memstore.Config{})}
			if err := c.Run(t.Context(), bare); !errors.Is(err, storetest.ErrAbsent) {
				t.Errorf("%s: without the power the error is %v, want ErrAbsent", c.Name, err)
			}
			if err := c.Run(t.Context(), mistaken{bare}); err == nil || errors.Is(err, storetest.ErrAbsent) {
				t.Errorf("%s does not notice what is wrong: %v", c.Name, err)
			}
		}
	}
	if checked != 3 {
		t.Errorf("%d checks of optional powers, want 3", checked)
	}
}

// TestRatingsAlone runs the suite on a store without contents and users. The checks of what it
// lacks are skipped; those of rating.Store pass and call nothing else.
func TestRatingsAlone(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) rating.Store {
		return struct{ rating.Store }{memstore.New(memstore.Config{})}
	}, storetest.Config{})
}
