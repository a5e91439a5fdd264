package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// waiting returns a backend with a file whose other servers are imitated.
func waiting(t *testing.T) *backend {
	t.Helper()
	b, err := open(settings{data: filepath.Join(t.TempDir(), "data.db"), role: "all", recalculate: "@every 30s",
		limits: "off"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close() })
	return b
}

// told waits until readiness says why.
func told(t *testing.T, b *backend, why error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !errors.Is(b.unready(), why); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("readiness says %v, want %v", b.unready(), why)
		}
	}
}

// Rights that are missing are told in the log and by readiness, whose text has no name, while a
// server that is away only makes it wait.
func TestMissingRightsAreReported(t *testing.T) {
	t.Parallel()
	for want, cause := range map[*error]error{
		&errDatabaseRights: fmt.Errorf("%w: INSERT on ratings", pgstore.ErrRights), &errStarting: errors.New("it is away"),
	} {
		b := waiting(t)
		b.state.Store(nil)
		b.prepare = func(context.Context) error { return cause }
		ctx, cancel := context.WithCancel(t.Context())
		ended, log := make(chan error, 1), &testutil.Log{}
		go func() { ended <- b.prepared(ctx, newLogger("json", log)) }()
		told(t, b, *want)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ends with %v", err)
		}
		if !strings.Contains(log.String(), cause.Error()) || strings.Contains((*want).Error(), "ratings") {
			t.Errorf("of %v, it logs %s", cause, log)
		}
	}
	b := waiting(t)
	b.state.Store(nil)
	b.rights = func(context.Context) error { return fmt.Errorf("%w: Write on the topic ratings", kafkaqueue.ErrRights) }
	ctx, cancel := context.WithCancel(t.Context())
	ended, log := make(chan struct{}), &testutil.Log{}
	go func() { b.mayQueue(ctx, newLogger("json", log)); close(ended) }()
	told(t, b, errQueueRights)
	cancel()
	<-ended
	if !strings.Contains(log.String(), "Write on the topic ratings") {
		t.Errorf("it logs %s", log)
	}
	b.rights = func(context.Context) error { return nil }
	b.mayQueue(t.Context(), slog.New(slog.DiscardHandler))
	if err := b.unready(); err != nil {
		t.Errorf("with all rights: %v", err)
	}
}

// A server behind a pooler that it does not work with ends.
func TestPooledServerEnds(t *testing.T) {
	t.Parallel()
	b := waiting(t)
	b.prepare = func(context.Context) error { return pgstore.ErrPooled }
	s := settings{addr: "127.0.0.1:0", role: "all", limits: "off"}
	l, err := listen(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := serve(t.Context(), s, b, l, slog.New(slog.DiscardHandler), io.Discard); !errors.Is(err, pgstore.ErrPooled) {
		t.Errorf("it ends with %v", err)
	}
}

// An owner's role migrates, and a role that owns nothing then serves, and neither makes nor changes
// a table.
func TestMigrateCommand(t *testing.T) {
	t.Parallel()
	dsn := testserver.Postgres(t)
	u, err := url.Parse(dsn)
	if err != nil || u.Host == "" {
		t.Skip("the server's address is no URL") // in which database and user are others; addresses that make test gives are
	}
	admin, err := pgstore.Open(dsn, pgstore.OpenConfig{StatementTimeout: 2 * time.Minute}) // a database is made of files
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	name := fmt.Sprintf("khodnevis_test_%d", time.Now().UnixNano())
	admin.MustExec(fmt.Sprintf(`CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8'`, name))
	t.Cleanup(func() { admin.MustExec(fmt.Sprintf(`DROP DATABASE %s WITH (FORCE)`, name)) })
	admin.MustExec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD 'only-of-this-test'`, name))
	t.Cleanup(func() { admin.MustExec(`DROP ROLE ` + name) })
	u.Path = "/" + name
	owner := u.String()
	u.User = url.UserPassword(name, "only-of-this-test")
	lesser := u.String()
	command := func(dsn, command string) (string, error) {
		var stdout, stderr testutil.Log
		err := run(t.Context(), []string{"-postgres", dsn, command}, nil, nil, &stdout, &stderr)
		return stdout.String(), err
	}
	if says, err := command(lesser, "migrate"); !errors.Is(err, pgstore.ErrRights) {
		t.Errorf("by a role that may not: %s, %v", says, err)
	}
	for range 2 {
		if says, err := command(owner, "migrate"); err != nil || says != "the tables are up to date\n" {
			t.Errorf("by the owner: %s, %v", says, err)
		}
	}
	if says, err := command(lesser, "verify"); !errors.Is(err, pgstore.ErrRights) {
		t.Errorf("without rights: %s, %v", says, err)
	}
	inside, err := pgstore.Open(owner, pgstore.OpenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() })
	for _, grant := range documentedGrants(t) {
		inside.MustExec(strings.ReplaceAll(grant, "khodnevis_server", name))
	}
	t.Cleanup(func() { inside.MustExec(`DROP OWNED BY ` + name) })
	if says, err := command(lesser, "verify"); err != nil || !strings.Contains(says, "0 had drifted") {
		t.Errorf("with the rights that are documented: %s, %v", says, err)
	}
}

// documentedGrants returns the statements that docs/operations.md has for a role that serves.
func documentedGrants(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var grants []string
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(line, "GRANT ") || strings.HasPrefix(line, "ALTER DEFAULT PRIVILEGES ") {
			grants = append(grants, line)
		}
	}
	if len(grants) < 3 {
		t.Fatalf("the documentation has %q", grants)
	}
	return grants
}
