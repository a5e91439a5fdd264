package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// A role that owns nothing serves once the owner has migrated and granted what the documentation
// lists; what it lacks is named.
func TestLesserRole(t *testing.T) {
	t.Parallel()
	owner := open(t)
	u, err := url.Parse(testserver.Postgres(t))
	if err != nil || u.Host == "" {
		// in which the user is another one; addresses that make test gives are
		t.Skip("the server's address is no URL")
	}
	role := strings.Replace(owner.schema, "khodnevis_test", "khodnevis_role", 1)
	do := func(format string) {
		t.Helper()
		if _, err := owner.db.ExecContext(t.Context(), fmt.Sprintf(format, owner.schema, role)); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
	}
	if _, err := owner.db.ExecContext(t.Context(), fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD 'only-of-this-test'`,
		role)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, err := owner.db.ExecContext(ctx, fmt.Sprintf(`DROP OWNED BY %s; DROP ROLE %[1]s`, role)); err != nil {
			t.Error(err)
		}
	})
	u.User = url.UserPassword(role, "only-of-this-test")
	lesser := over(t, dial(t, u.String(), pgstore.OpenConfig{}), owner.schema)
	if err := lesser.Migrate(t.Context()); !errors.Is(err, pgstore.ErrRights) {
		t.Errorf("without any right: %v", err)
	}
	if err := over(t, dial(t, u.String(), pgstore.OpenConfig{}),
		owner.schema+"x").Migrate(t.Context()); !errors.Is(err, pgstore.ErrRights) {
		t.Errorf("a schema that is not there: %v", err)
	}
	do(`GRANT USAGE ON SCHEMA %s TO %s`)
	do(`GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %s`)
	if err := lesser.Migrate(t.Context()); err != nil {
		t.Errorf("there is nothing to migrate, and still: %v", err)
	}
	err = lesser.Check(t.Context())
	if !errors.Is(err, pgstore.ErrRights) || !strings.Contains(err.Error(), "INSERT on "+owner.schema+".ratings") ||
		strings.Contains(err.Error(), "SELECT") {
		t.Errorf("with the right to read: %v", err)
	}
	do(`GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO %s`)
	if err := errors.Join(lesser.Migrate(t.Context()), lesser.Check(t.Context())); err != nil {
		t.Errorf("with all that is documented: %v", err)
	}
	if err := lesser.CreateContent(t.Context(), newContent("by a lesser role")); err != nil {
		t.Error(err)
	}
	// A step that was not run yet needs the owner.
	owner.db.MustExec(`DELETE FROM ` + owner.schema + `.migrations WHERE version > 3`)
	if err := lesser.Migrate(t.Context()); !errors.Is(err, pgstore.ErrRights) {
		t.Errorf("a change of the schema: %v", err)
	}
}
