package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testutil"
)

// T6: the passwords in connection strings are in nothing that is printed: neither the usage, nor
// errors, nor the log.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-word"
	const away = "postgres://khodnevis:" + secret + "@127.0.0.1:1/db?sslmode=disable"
	const cache = "redis://:" + secret + "@127.0.0.1:1"
	for name, c := range map[string]struct {
		args            []string
		postgres, redis string
		misspelt        string // what should be postgres
		until           string // what it prints before it is told to stop; empty: it ends by itself
		fine            bool   // it ends with success
	}{
		"usage":                  {args: []string{"-h"}, postgres: away, redis: cache, fine: true},
		"an unknown flag":        {args: []string{"-nonsense"}, postgres: away, redis: cache},
		"an unknown command":     {args: []string{"nonsense"}, postgres: away, redis: cache},
		"in a flag":              {args: []string{"-postgres", away, "-role", "nothing"}},
		"a setting that is none": {misspelt: away, until: "is no setting"},
		"no database":            {args: []string{"verify"}, postgres: away},
		"no database, pairs": {args: []string{"verify"},
			postgres: "host=127.0.0.1 port=1 user=u sslmode=disable password=" + secret},
		"a bad port":                      {postgres: "postgres://u:" + secret + "@127.0.0.1:port/db"},
		"a bad escape":                    {postgres: "postgres://u:" + secret + "%zz@127.0.0.1/db"},
		"a bad host":                      {postgres: "postgres://u:" + secret + "@127.0.0.1 /db"},
		"a bad mode":                      {postgres: "postgres://u:" + secret + "@127.0.0.1/db?sslmode=nonsense"},
		"bad pairs":                       {postgres: "host=127.0.0.1 port=port password=" + secret},
		"a slash in the password":         {postgres: "postgres://u:" + secret + "/x@127.0.0.1/db"},
		"a space in the password":         {postgres: "host=127.0.0.1 password=x " + secret},
		"a pair without a value":          {postgres: "password=" + secret + " host"},
		"an open quote":                   {postgres: "password='" + secret},
		"a Redis of another kind":         {redis: "http://u:" + secret + "@127.0.0.1"},
		"a Redis without a host":          {redis: "redis://:" + secret + "@"},
		"a Redis with a bad database":     {redis: "redis://:" + secret + "@127.0.0.1/x"},
		"a Redis with a bad escape":       {redis: "redis://:" + secret + "%zz@127.0.0.1"},
		"a server whose database is away": {postgres: away, until: "not ready"},
		"a server whose servers are away": {postgres: away, redis: "redis://:" + secret + "@127.0.0.1:1",
			until: "not ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			environ := []string{
				"KHODNEVIS_ADDR=127.0.0.1:0", "KHODNEVIS_DATA=" + filepath.Join(t.TempDir(), "data.db"),
				"KHODNEVIS_POSTGRES=" + c.postgres, "KHODNEVIS_REDIS=" + c.redis,
			}
			if c.misspelt != "" {
				environ = append(environ, "KHODNEVIS_POSTGRESS="+c.misspelt)
			}
			var printed testutil.Log
			ended := make(chan error, 1)
			go func() {
				ended <- run(ctx, c.args, environ, nil, &printed, &printed)
			}()
			var err error
			for waiting := c.until != ""; waiting; {
				select {
				case err = <-ended:
					t.Fatalf("it ended: %v\n%s", err, &printed)
				case <-time.After(10 * time.Millisecond):
					waiting = !strings.Contains(printed.String(), c.until)
				}
			}
			if c.until != "" {
				cancel()
			}
			if err = <-ended; c.until == "" && (err == nil) != c.fine {
				t.Errorf("it ends with %v", err)
			}
			all := printed.String()
			if err != nil {
				all += err.Error()
			}
			if strings.Contains(all, secret) {
				t.Errorf("it prints %s", all)
			}
		})
	}
}

// addresses are of the right and of every wrong form, with X in place of a password.
var addresses = []string{
	"u:X@127.0.0.1", "u:X@127.0.0.1:1", ":X@127.0.0.1:1", "u:X@127.0.0.1:1,127.0.0.1:2", "127.0.0.1:1,u:X@127.0.0.1:2",
	"SASL_SSL://u:X@127.0.0.1:1", "kafka://u:X@127.0.0.1:1",
	"postgres://u:X@127.0.0.1:1/db?sslmode=disable", "postgresql://u:X@127.0.0.1:1/db",
	" postgres://u:X@127.0.0.1:1/db", "POSTGRES://u:X@127.0.0.1:1/db",
	"postgresql+psycopg2://u:X@127.0.0.1:1/db?sslmode=disable", "psql postgres://u:X@127.0.0.1:1/db?sslmode=disable",
	"'postgres://u:X@127.0.0.1:1/db?sslmode=disable'",
	`"postgres://u:X@127.0.0.1:1/db?sslmode=disable"`, "postgres:/u:X@127.0.0.1:1/db",
	"postgres:u:X@127.0.0.1:1/db?a=b", "postgres//u:X@127.0.0.1:1/db?a=b",
	"jdbc:postgresql://127.0.0.1:1/db?user=u&password=X", "postgres://127.0.0.1:1/db?user=u&password=X&sslmode=disable",
	"postgres://127.0.0.1:1/db?password=X&sslmod=disable",
	"postgres://u:X@127.0.0.1:99999/db", "postgres://u:X@127.0.0.1:port/db", "postgres://u:X@[::1/db",
	"postgres://u:X@127.0.0.1 /db", "postgres://u:X/db", "postgres://u@X@127.0.0.1:1/db",
	"postgres://u:X@127.0.0.1:1/db?sslmode=nonsense", "postgres://u:X@127.0.0.1:1/db?pgbouncer=true",
	"postgres://u:X@127.0.0.1:1,127.0.0.1:2/db?sslmode=disable",
	"postgres://u%3AX@127.0.0.1:1/db", "host=127.0.0.1 port=1 user=u sslmode=disable password=X",
	"host=127.0.0.1 port=1 user=u sslmode=disable password='X'",
	"password=X host=127.0.0.1 port=1 sslmode=disable", "password=X host=127.0.0.1 port=port", "password=X nonsense=1",
	"host=127.0.0.1;password=X;", "user=u:X host=127.0.0.1", "host=u:X@127.0.0.1",
	"dbname=postgres://u:X@127.0.0.1/db", "PASSWORD=X host=127.0.0.1", "password:X host:127.0.0.1", "password='X",
	"password=X host",
	"redis://u:X@127.0.0.1:1", "rediss://:X@127.0.0.1:1/0", "REDIS://u:X@127.0.0.1:1", " redis://u:X@127.0.0.1:1",
	"redis://u:X@127.0.0.1:port", "redis://u:X@127.0.0.1:1/db", "redis://u:X@",
	"redis://u:X", "redis://u:X@127.0.0.1:1?db=1", "redis://127.0.0.1:1?password=X", "redis:u:X@127.0.0.1",
	"http://u:X@127.0.0.1:1", "unix://u:X@/tmp/redis.sock",
}

// passwords are those that hold what is special somewhere. None of their halves is ever printed.
var passwords = []string{
	"Pa55w0rd", "Pa55/w0rd", "Pa55?w0rd", "Pa55?w0rd=1", "Pa55#w0rd", "Pa55@w0rd", "Pa55:w0rd", "Pa55%zzw0rd",
	"Pa55%w0rd", "Pa55%2Fw0rd", "Pa55 w0rd", "Pa55 w0rd=1", "Pa55'w0rd",
	`Pa55"w0rd`, `Pa55\w0rd`, "Pa55=w0rd", "Pa55&w0rd", "Pa55&w0rd=1", "Pa55;w0rd", "Pa55,w0rd", "Pa55]w0rd",
	"Pa55\nw0rd", "Pa55\x00w0rd", "1/Pa55w0rd", "1?w0rd=Pa55", "/Pa55w0rd", "Pa55w0rd@", "Pa55^w0rd",
}

// T6: whatever an address looks like, as that of a database, of a broker or of a Redis: neither the
// refusal nor what happens with it prints a part of its password, and one that has no meaning is
// sent to nobody.
func TestNoAddressIsQuoted(t *testing.T) {
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	go func() {
		for {
			conn, err := elsewhere.Accept()
			if err != nil {
				return
			}
			conn.Close()
			t.Error("the server that the environment names is asked")
		}
	}()
	host, port, _ := net.SplitHostPort(elsewhere.Addr().String())
	t.Setenv("PGHOST", host)
	t.Setenv("PGPORT", port)
	data := filepath.Join(t.TempDir(), "data.db")
	check := func(where, address, text string) {
		t.Helper()
		if strings.Contains(text, "Pa55") || strings.Contains(text, "w0rd") {
			t.Errorf("%s %q prints %s", where, address, text)
		}
	}
	accepted := map[string]int{}
	for _, form := range addresses {
		for _, password := range passwords {
			if strings.Contains(password, "@") && !strings.Contains(form, "@") {
				continue // then it is a host that is behind the @
			}
			address := strings.ReplaceAll(form, "X", password)
			_, _, err := find([]string{address})
			check("the command", address, fmt.Sprint(err))
			for _, name := range []string{"-postgres", "-kafka", "-redis"} {
				s, _, err := readSettings([]string{"-data", data, name, address}, nil, io.Discard)
				if err != nil {
					t.Fatal(err)
				}
				var log testutil.Log
				b, err := plan(s, false, newLogger("json", &log))
				check(name, address, fmt.Sprint(err, log.String()))
				if err != nil {
					continue
				}
				accepted[name]++
				switch name {
				case "-postgres":
					err = b.prepare(t.Context())
				case "-redis":
					_, err = b.cfg.Cache.GetMany(t.Context(), []string{"key"})
				}
				check(name, address, fmt.Sprint(err, log.String(), b.where(), b.close()))
			}
		}
	}
	if accepted["-postgres"] < 20 || accepted["-redis"] < 10 || accepted["-kafka"] != 0 {
		t.Errorf("accepted %v", accepted)
	}
	// What looks like the address of a server is no path.
	for _, form := range addresses {
		if strings.Contains(form, "://") {
			_, _, err := readSettings([]string{"-data", strings.ReplaceAll(form, "X", passwords[0])}, nil, io.Discard)
			if check("-data", form, fmt.Sprint(err)); err == nil {
				t.Errorf("%q is a file", form)
			}
		}
	}
}
