package authtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/auth/authtest"
)

func TestRightAuthenticator(t *testing.T) {
	t.Parallel()
	authtest.Run(t, func(*testing.T) authtest.Host { return right().host() }, authtest.Config{})
}

// An authenticator that asks nothing has nothing to prove about failures.
func TestNothingToBreak(t *testing.T) {
	t.Parallel()
	authtest.Run(t, func(*testing.T) authtest.Host {
		h := right().host()
		h.Break = nil
		return h
	}, authtest.Config{})
}

// A check that quotes what the port no longer says checks something else than the contract, and a
// sentence that no check quotes is not held to.
func TestChecksQuoteThePort(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join("..", "authenticator.go"))
	if err != nil {
		t.Fatal(err)
	}
	prose := strings.Join(strings.Fields(strings.ReplaceAll(string(source), "//", " ")), " ")
	names := make(map[string]bool)
	_, contract, _ := strings.Cut(prose, "Authenticator finds out who makes a request. ")
	contract, _, _ = strings.Cut(contract, "Package authtest is the suite")
	for _, c := range authtest.Checks {
		if !strings.Contains(prose, c.Sentence) {
			t.Errorf("check %q quotes what is not in the port: %q", c.Name, c.Sentence)
		}
		if names[c.Name] {
			t.Errorf("two checks have the name %q", c.Name)
		}
		names[c.Name] = true
		contract = strings.ReplaceAll(contract, c.Sentence, "")
	}
	// What REST answers to other errors is not the authenticator's to keep.
	contract = strings.ReplaceAll(contract, "any other error counts as a failure of the server.", "")
	if left := strings.Trim(strings.NewReplacer(" and ", " ", ",", "", ";", "", ".", "").Replace(" "+contract+" "),
		" "); left != "" {
		t.Errorf("no check quotes %q", left)
	}
}
