package pgstore_test

import (
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// Of several hosts, those that refuse or say nothing are passed over within the time that a
// connection may take, and so is one that is no primary.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testserver.Postgres(t))
	if err != nil || u.Host == "" {
		t.Skip("the server's address is no URL") // hosts are added to it; addresses that make test gives allow that
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, and that is all
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, first := range []string{"127.0.0.1:1", silent.Addr().String(), "[::1]:1"} {
		several := *u
		dsn := strings.Replace(several.String(), u.Host, first+","+u.Host, 1) + "&target_session_attrs=read-write"
		db := dial(t, dsn, pgstore.OpenConfig{ConnectTimeout: 4 * time.Second})
		var port string
		if err := db.GetContext(t.Context(), &port, `SELECT inet_server_port()`); err != nil || port != u.Port() {
			t.Errorf("%s first: %q, %v", first, port, err)
		}
	}
}

// A parameter that is unknown is refused by its name, a value that has no meaning by that of its
// parameter, and neither with any value.
func TestParametersAreNamed(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:word9@h/db?pgbouncer=true":           "parameter pgbouncer, which is unknown",
		"postgres://u:word9@h/db?sslmode=word9":            "parameter sslmode with",
		"postgres://u:word9@h/db?work_mem=64MB":            "options='-c work_mem=64MB'",
		"host=h channel_binding=require password=word9":    "parameter channel_binding, which is unknown",
		"host=h password=word9 channel_binding=word9":      "may be a part of its password",
		"host=h password=a word=b":                         "may be a part of its password",
		"postgres://h/db?password=a&word9=b":               "may be a part of its password",
		"host=h port=word9":                                "parameter port with",
		"host=h connect_timeout=word9":                     "parameter connect_timeout with",
		"host=a,b port=1,2,3 password=word9":               "could not match 3 port numbers to 2 hosts",
		"host=h sslmode=prefer sslnegotiation=direct":      "sslnegotiation=direct",
		"POSTGRES://u:word9@h/db?sslmode=disable":          "neither a URL",
		"postgresql+psycopg2://u:word9@h?sslmode=disable":  "neither a URL",
		" postgres://u:word9@h/db?sslmode=disable":         "neither a URL",
		"host=h password='word9' 'x'=y":                    "neither a URL",
		"postgres://u:word9/@h/db":                         "%2F for /",
		"postgres://u:word9@h/db?sslmode":                  "no URL of the form",
		"host=h user=postgres://u:word9@h":                 "parameter user with",
		"host=h dbname=postgres://u:word9@h/db":            "parameter dbname with",
		"host=h service=word9":                             "parameter service with",
		`host=h password=word9\`:                           "neither a URL",
		"postgres://u:word9@h1,h2:x/db":                    "no URL of the form",
		"postgres://u:word9@h/db?options=-c%20jit%3Don%zz": "no URL of the form",
	} {
		_, err := pgstore.Open(dsn, pgstore.OpenConfig{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "word9") {
			t.Errorf("%s: %v, want %s", dsn, err, want)
		}
	}
}

// What is understood reaches the driver as it was meant.
func TestConnectionStringsReachTheServer(t *testing.T) {
	t.Parallel()
	dsn := testserver.Postgres(t)
	if !strings.Contains(dsn, "?") {
		// some are added to it; addresses that make test gives allow that
		t.Skip("the server's address is no URL with settings")
	}
	db := dial(t, dsn+`&application_name=it%27s+a%5Cb%3Dc&options=-c%20work_mem=7MB`, pgstore.OpenConfig{})
	for name, want := range map[string]string{"application_name": `it's a\b=c`, "work_mem": "7MB"} {
		var got string
		if err := db.GetContext(t.Context(), &got, `SELECT current_setting($1)`, name); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
}
