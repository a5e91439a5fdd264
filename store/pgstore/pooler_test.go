package pgstore_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// pooled returns the address of a PgBouncer before the test server, which it enters as user, or as
// the one of its address.
func pooled(t *testing.T, mode, user, extra string) string {
	t.Helper()
	u, err := url.Parse(testserver.Postgres(t))
	if err != nil || u.Port() == "" {
		// which a pooler needs; addresses that make test gives have one
		t.Skip("the server's address is no URL with a port")
	}
	if user == "" {
		user = u.User.Username()
	}
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	if err != nil {
		t.Skip("no PgBouncer: apt-get install pgbouncer; there is no stand-in for it")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	folder, err := os.MkdirTemp("", "pgbouncer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	config := filepath.Join(folder, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = %s
ignore_startup_parameters = %s
%s
`, u.Hostname(), u.Port(), user, port, mode,
		"extra_float_digits,statement_timeout,lock_timeout,idle_in_transaction_session_timeout,random_page_cost,jit",
		extra)
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o644), os.Chmod(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-q", config)
	if os.Getuid() == 0 { // as whom it refuses to run
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			return fmt.Sprintf("postgres://%s@127.0.0.1:%s%s?sslmode=disable", u.User.Username(), port, u.Path)
		}
		select {
		case err := <-ended:
			t.Fatalf("PgBouncer ends: %v\n%s", err, log.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("PgBouncer does not listen")
		}
	}
}

// A pooler that lends sessions by transaction is found out, however it chooses them and also beside
// others who use it.
func TestPoolerByTransactionIsRefused(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{
		"the last one first": "", "in turn": "server_round_robin = 1", "few": "default_pool_size = 3",
		"one": "default_pool_size = 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pooled(t, "transaction", "", extra)
			if name == "the last one first" || name == "in turn" {
				busy := dial(t, dsn, pgstore.OpenConfig{MaxConns: 4})
				stop, others := make(chan struct{}), sync.WaitGroup{}
				for range 4 {
					others.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
								_, _ = busy.Exec(`SELECT 1`)
							}
						}
					})
				}
				defer others.Wait()
				defer close(stop)
			}
			if err := over(t, dial(t, dsn, pgstore.OpenConfig{}), "").Migrate(t.Context()); !errors.Is(err,
				pgstore.ErrPooled) {
				t.Errorf("to migrate: %v", err)
			}
		})
	}
}

// A pooler that lends sessions for as long as a connection lasts is none that matters, once the
// timeouts that it keeps from the database are set there.
func TestPoolerBySession(t *testing.T) {
	t.Parallel()
	dsn := pooled(t, "session", "", "")
	db := dial(t, dsn, pgstore.OpenConfig{})
	schema := newSchema(t, db)
	s := over(t, db, schema)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.CreateContent(t.Context(), newContent(fmt.Sprint("by a pooler ", i))); err != nil {
			t.Error(err)
		}
	}
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(),
		"lock_timeout, statement_timeout is 0") {
		t.Errorf("without timeouts: %v", err)
	}
	role := strings.Replace(schema, "khodnevis_test", "khodnevis_role", 1)
	db.MustExec(`CREATE ROLE ` + role + ` LOGIN SUPERUSER`)
	t.Cleanup(func() { db.MustExec(`DROP ROLE ` + role) })
	for _, setting := range []string{"statement_timeout = '8s'", "lock_timeout = '3s'",
		"idle_in_transaction_session_timeout = '5s'"} {
		db.MustExec(`ALTER ROLE ` + role + ` SET ` + setting)
	}
	if err := over(t, dial(t, pooled(t, "session", role, ""), pgstore.OpenConfig{}),
		schema).Check(t.Context()); err != nil {
		t.Errorf("with the timeouts of a role: %v", err)
	}
}
