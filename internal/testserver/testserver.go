// Package testserver tells tests where the real servers are that `make test` found or started.
//
// KHODNEVIS_TEST_POSTGRES, KHODNEVIS_TEST_REDIS and KHODNEVIS_TEST_KAFKA name them.
// KHODNEVIS_TEST_REQUIRE lists those (postgres,redis,kafka) without which a test must fail instead
// of making do.
package testserver

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Postgres returns the connection string of a database in which the test may make schemas. Without
// a server the test is skipped.
func Postgres(t testing.TB) string {
	t.Helper()
	dsn := find(t, "postgres")
	if dsn == "" {
		// go test alone needs no server; find fails where one is required.
		t.Skip("no PostgreSQL: set KHODNEVIS_TEST_POSTGRES or run make test; there is no stand-in for it")
	}
	return dsn
}

// Redis returns the address of a server in which the test may use keys with a prefix of its own, or
// "" if a stand-in has to do.
func Redis(t testing.TB) string {
	t.Helper()
	return find(t, "redis")
}

// Kafka returns the addresses of brokers on which the test may make topics, or nil if a stand-in
// has to do.
func Kafka(t testing.TB) []string {
	t.Helper()
	if brokers := find(t, "kafka"); brokers != "" {
		return strings.Split(brokers, ",")
	}
	return nil
}

func find(t testing.TB, server string) string {
	t.Helper()
	name := "KHODNEVIS_TEST_" + strings.ToUpper(server)
	where := os.Getenv(name)
	if where == "" && slices.Contains(strings.Split(os.Getenv("KHODNEVIS_TEST_REQUIRE"), ","), server) {
		t.Fatalf("KHODNEVIS_TEST_REQUIRE names %s, but %s is not set", server, name)
	}
	return where
}
