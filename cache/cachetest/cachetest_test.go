package cachetest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/cache/cachetest"
)

// A check that quotes what the port no longer says checks something else than the contract.
func TestChecksQuoteThePort(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../cache.go")
	if err != nil {
		t.Fatal(err)
	}
	prose := strings.Join(strings.Fields(strings.ReplaceAll(string(source), "//", " ")), " ")
	names := make(map[string]bool)
	for _, c := range cachetest.Checks {
		if !strings.Contains(prose, c.Sentence) {
			t.Errorf("check %q quotes what is not in the port: %q", c.Name, c.Sentence)
		}
		if names[c.Name] {
			t.Errorf("two checks have the name %q", c.Name)
		}
		names[c.Name] = true
	}
}
