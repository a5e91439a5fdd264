package httpapi_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// counted are the stores whose statements can be counted.
func counted() map[string]func(t *testing.T, n *atomic.Int64) store.Store {
	return map[string]func(t *testing.T, n *atomic.Int64) store.Store{
		"sqlitestore": func(t *testing.T, n *atomic.Int64) store.Store {
			name := "sqlite " + rand.Text()
			plain, err := sql.Open("sqlite", "")
			if err != nil {
				t.Fatal(err)
			}
			sql.Register(name, countingDriver{plain.Driver(), n})
			if err := plain.Close(); err != nil {
				t.Error(err)
			}
			file, err := sqlitefile.Open(filepath.Join(t.TempDir(), "test.db"), sqlitefile.Config{Driver: name})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := file.Close(); err != nil {
					t.Error(err)
				}
			})
			s, err := sqlitestore.New(file)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"pgstore": func(t *testing.T, n *atomic.Int64) store.Store {
			connector, err := pq.NewConnector(testserver.Postgres(t))
			if err != nil {
				t.Fatal(err)
			}
			db := sqlx.NewDb(sql.OpenDB(countingConnector{connector, n}), "postgres")
			db.SetMaxOpenConns(4)
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			return inSchema(t, db)
		},
	}
}

// countingDriver, countingConnector, countingConn and countingStmt stand around those of a driver
// and count the statements that are run, not those that are prepared. They ask for the optional
// interfaces that lib/pq and modernc.org/sqlite have.
type countingDriver struct {
	driver.Driver
	n *atomic.Int64
}

func (d countingDriver) Open(name string) (driver.Conn, error) {
	c, err := d.Driver.Open(name)
	return countingConn{c, d.n}, err
}

type countingConnector struct {
	driver.Connector
	n *atomic.Int64
}

func (c countingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	return countingConn{conn, c.n}, err
}

type countingConn struct {
	driver.Conn
	n *atomic.Int64
}

func (c countingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.n.Add(1)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c countingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result,
	error) {
	c.n.Add(1)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c countingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	return countingStmt{s, c.n}, err
}

func (c countingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c countingConn) CheckNamedValue(v *driver.NamedValue) error { return checkValue(c.Conn, v) }

type countingStmt struct {
	driver.Stmt
	n *atomic.Int64
}

func (s countingStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.n.Add(1)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

func (s countingStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.n.Add(1)
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s countingStmt) CheckNamedValue(v *driver.NamedValue) error { return checkValue(s.Stmt, v) }

func checkValue(inner any, v *driver.NamedValue) error {
	if c, ok := inner.(driver.NamedValueChecker); ok {
		return c.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// TestNoNPlusOne: a page of 100 costs as many statements as a page of one, whatever is listed and
// whoever asks, with nothing in the cache.
func TestNoNPlusOne(t *testing.T) {
	t.Parallel()
	for name, open := range counted() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testNoNPlusOne(t, open)
		})
	}
}

func testNoNPlusOne(t *testing.T, open func(*testing.T, *atomic.Int64) store.Store) {
	var n atomic.Int64
	kept := &forgetful{}
	kept.forget()
	s := serve(t, setup{idle: true, config: configOf(kept), open: func(testing.TB,
		func() time.Time) store.Store {
		return open(t, &n)
	}})
	const size = 100
	hot := s.shelve(t, size+1)
	s.rateAll(t, hot)
	cost := func(as, path string, want int) int64 {
		t.Helper()
		kept.forget()
		before := n.Load()
		a := s.get(t, as, path)
		spent := n.Load() - before
		if a.status != 200 || len(a.list(t, "id")) != want {
			t.Fatalf("%s as %q: %.200s, want %d results", path, as, a, want)
		}
		return spent
	}
	for _, as := range []string{nobody, ada} {
		for _, list := range []string{
			"contents/?", "contents/?ordering=-score&", "contents/?ordering=ratings_count&search=film&",
			"contents/?count=exact&author=" + s.ids[ada] + "&",
			"ratings/?", "ratings/?content=" + hot + "&", "ratings/?rater=" + s.ids[ada] + "&", "ratings/?rater=me&",
		} {
			if strings.Contains(list, "rater=me") && as == nobody {
				continue
			}
			cost(as, list+"page_size=1", 1) // so that the token is known and the statements are prepared
			one, many := cost(as, list+"page_size=1", 1), cost(as, list+"page_size=100", size)
			if one != many || one == 0 || one > 5 {
				t.Errorf("%s as %q: %d statements for one result, %d for %d", list, as, one, many, size)
			}
		}
	}
}
