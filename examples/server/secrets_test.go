package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// output is what a run prints, readable while it goes on.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// T6: the passwords in connection strings are in nothing that is printed: neither the usage, nor errors, nor the log.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-word"
	const away = "postgres://khodnevis:" + secret + "@127.0.0.1:1/db?sslmode=disable"
	for name, c := range map[string]struct {
		args            []string
		postgres, redis string
		misspelt        string // what should be postgres
		until           string // what it prints before it is told to stop; empty: it ends by itself
		fine            bool   // it ends with success
	}{
		"usage":                           {args: []string{"-h"}, postgres: away, redis: "redis://:" + secret + "@127.0.0.1:1", fine: true},
		"an unknown flag":                 {args: []string{"-nonsense"}, postgres: away, redis: "redis://:" + secret + "@127.0.0.1:1"},
		"an unknown command":              {args: []string{"nonsense"}, postgres: away, redis: "redis://:" + secret + "@127.0.0.1:1"},
		"in a flag":                       {args: []string{"-postgres", away, "-role", "nothing"}},
		"a setting that is none":          {misspelt: away, until: "is no setting"},
		"no database":                     {args: []string{"verify"}, postgres: away},
		"no database, pairs":              {args: []string{"verify"}, postgres: "host=127.0.0.1 port=1 user=u sslmode=disable password=" + secret},
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
		"a server whose servers are away": {postgres: away, redis: "redis://:" + secret + "@127.0.0.1:1", until: "not ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			environ := []string{
				"KHODNEVIS_ADDR=127.0.0.1:0", "KHODNEVIS_DATA=" + filepath.Join(t.TempDir(), "data.db"), "KHODNEVIS_POSTGRES=" + c.postgres, "KHODNEVIS_REDIS=" + c.redis,
			}
			if c.misspelt != "" {
				environ = append(environ, "KHODNEVIS_POSTGRESS="+c.misspelt)
			}
			var printed output
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
