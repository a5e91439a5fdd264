package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/content"
)

// TestTooBroad checks that a list or a count that would look at too many rows is refused by the
// names of its parameters, and that those whose rows an index has are not.
func TestTooBroad(t *testing.T) {
	t.Parallel()
	s, ids := library(t, stores()["memstore"], 1)
	s.rate(t, ada, ids[0], 5)
	for i := range content.MaxRows + 200 {
		at := time.Now().UTC().Truncate(time.Microsecond).Add(-time.Duration(i) * time.Second)
		c := content.Content{ID: fmt.Sprintf("c%d", i), Title: fmt.Sprintf("common %d", i), Author: fmt.Sprintf("author%d",
			i%100), Version: 1, CreatedAt: at, UpdatedAt: at}
		if err := s.store.CreateContent(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	words := "a+b+c+d+e+f+g+h"
	for query, want := range map[string]string{
		"search=" + words + "+i":                "query_too_broad ?search=query_too_broad",
		"search=" + words + "+i&author=author1": "query_too_broad ?search=query_too_broad",
		"score__lte=1&ordering=title": "query_too_broad ?ordering=query_too_broad " +
			"?score__lte=query_too_broad",
		"score__lte=1&page_size=1": "query_too_broad ?score__lte=query_too_broad",
		"score__lte=4.5&count=exact&search=common&fields=id": "query_too_broad ?count=query_too_broad " +
			"?score__lte=query_too_broad ?search=query_too_broad",
		"search=" + words:          "",
		"search=" + words + "+a+B": "",
		"search=":                  "",
		"search=common":            "",
		"search=common&ordering=title&count=exact": "",
		"ordering=title":                                           "",
		"ordering=-ratings_count&count=exact":                      "",
		"author=author1&search=common&ordering=-title&count=exact": "",
		"search=film&ordering=-score&score__gte=4&count=exact":     "",
	} {
		a := s.get(t, nobody, "contents/?"+query)
		switch {
		case want == "" && a.status != 200, want != "" && (a.status != 400 || a.problem() != want):
			t.Errorf("contents/?%s: %s\n got %q\nwant %q", query, a, a.problem(), want)
		}
	}
	for query, want := range map[string]string{
		"count=exact":                        fmt.Sprintf(`{"count":%d,"count_is_minimum":true,`, content.MaxRows),
		"count=exact&search=common":          fmt.Sprintf(`{"count":%d,"count_is_minimum":true,`, content.MaxRows),
		"count=exact&author=author1":         `{"count":102,"next":`,
		"search=common":                      `{"count":null,"next":`,
		"count=exact&search=common+17":       `{"count":1,"next":null`,
		"count=exact&search=film":            `{"count":1,"next":null`,
		"count=exact&search=film&author=ada": `{"count":0,"next":null`,
	} {
		if a := s.get(t, nobody, "contents/?fields=id&page_size=1&"+query); !strings.HasPrefix(string(a.body), want) {
			t.Errorf("contents/?%s: %.100s, want %s", query, a.body, want)
		}
	}
}
