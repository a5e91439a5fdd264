package khodnevis_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/khodnevis/khodnevis"

// drivers are what only an adapter may compile.
var drivers = []string{"github.com/lib/pq", "github.com/IBM/sarama", "github.com/gomodule/redigo",
	"modernc.org/sqlite", "github.com/jmoiron/sqlx", "github.com/mattn/go-sqlite3"}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

// A host that imports the root and brings its own adapters compiles no driver.
func TestRootAndDomainsCompileNoDriver(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{".", "./content", "./rating", "./auth", "./store", "./queue", "./cache", "./httpapi",
		"./store/kvstore", "./store/memstore", "./queue/memqueue", "./cache/lrucache",
		"./store/storetest", "./store/kvstore/kvtest", "./queue/queuetest", "./cache/cachetest", "./auth/authtest"} {
		for _, dep := range list(t, "-deps", pkg) {
			for _, driver := range drivers {
				if dep == driver || strings.HasPrefix(dep, driver+"/") {
					t.Errorf("%s compiles %s", pkg, dep)
				}
			}
		}
	}
}

// Imports run one way: domains know no adapter, no other domain and no HTTP surface; the ports of
// bytes know nothing, but that the queue paces retries.
func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		"queue":   {"internal/backoff"},
		"cache":   {},
		"content": {"cache", "internal", "auth/actor"},
		"rating":  {"cache", "queue", "internal", "auth/actor"},
		"auth":    {"cache", "internal"},
		"store":   {"content", "rating", "auth", "internal"},
		"httpapi": {"content", "rating", "auth", "cache", "internal"},
	}
	for pkg, may := range allowed {
		for _, dep := range list(t, "-f", `{{join .Imports "\n"}}`, "./"+pkg) {
			inside, ok := strings.CutPrefix(dep, module+"/")
			if !ok {
				continue
			}
			top, _, _ := strings.Cut(inside, "/")
			if top != pkg && !slices.Contains(may, top) && !slices.Contains(may, inside) {
				t.Errorf("%s imports %s", pkg, inside)
			}
		}
	}
	for _, leaf := range []string{"auth/actor", "rating/score"} {
		for _, dep := range list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+leaf) {
			if dep != module+"/"+leaf {
				t.Errorf("%s compiles %s: it needs the standard library alone", leaf, dep)
			}
		}
	}
	for _, dep := range list(t, "-f", `{{join .Imports "\n"}}`, "./examples/adapter") {
		if strings.HasPrefix(dep, module+"/internal") {
			t.Errorf("the adapter example imports %s: a user could not", dep)
		}
	}
}

// Adapters compile one driver each, and never the root.
func TestAdaptersAreLeaves(t *testing.T) {
	t.Parallel()
	for _, pkg := range list(t, "./store/...", "./queue/...", "./cache/...") {
		deps := list(t, "-deps", pkg)
		if slices.Contains(deps, module) || slices.Contains(deps, module+"/httpapi") {
			t.Errorf("%s depends on what stands above it", pkg)
		}
		found := 0
		for _, driver := range []string{"github.com/lib/pq", "github.com/IBM/sarama", "github.com/gomodule/redigo/redis",
			"modernc.org/sqlite"} {
			if slices.Contains(deps, driver) {
				found++
			}
		}
		if found > 1 {
			t.Errorf("%s compiles %d drivers", pkg, found)
		}
	}
}

// Nothing needs cgo: not the core, not an adapter, not the bundled server.
func TestNoCgo(t *testing.T) {
	t.Parallel()
	for _, pkg := range list(t, "-deps", "-f", "{{if not .Standard}}{{if .CgoFiles}}{{.ImportPath}}{{end}}{{end}}",
		"./...") {
		t.Errorf("%s needs cgo", pkg)
	}
}
