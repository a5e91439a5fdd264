package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// library is a server with contents to list: titles "film 0" and so on, the first with most
// ratings.
func library(t *testing.T, open opener, n int) (s *server, ids []string) {
	t.Helper()
	s = serve(t, setup{open: open})
	for i := range n {
		ids = append(ids, s.write(t, fmt.Sprintf("film %d", i)))
	}
	return s, ids
}

// TestEnvelope checks the shape of lists.
func TestEnvelope(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s, ids := library(t, open, 3)
		s.rate(t, ada, ids[0], 5)
		for _, path := range []string{"contents/?page_size=1", "ratings/", "users/", "users/me/sessions/"} {
			a := s.get(t, sam, path)
			if got := a.keys(t, ""); !slices.Equal(got, []string{"count", "next", "previous", "results"}) {
				t.Errorf("%s has the members %q", path, got)
			}
			if a.at(t, "count") != nil || a.at(t, "previous") != nil {
				t.Errorf("%s counts without being asked, or goes back: %s", path, a)
			}
		}
		if got := s.get(t, nobody, "contents/").keys(t, "results.0"); !slices.Equal(got, []string{
			"author", "average_score", "created_at", "id", "ratings_count", "score", "title", "updated_at", "version"}) {
			t.Errorf("a content in a list has %q", got)
		}
		if got := s.get(t, nobody, "contents/"+ids[0]+"/").keys(t, ""); !slices.Contains(got, "description") ||
			len(got) != 10 {
			t.Errorf("a content by itself has %q", got)
		}
		a := s.get(t, nobody, "contents/?author=none&count=exact")
		if string(a.body) != `{"count":0,"next":null,"previous":null,"results":[]}` {
			t.Errorf("an empty list is %s", a)
		}
		for path, want := range map[string]float64{"contents/?count=exact&page_size=1": 3,
			"contents/?count=exact&search=film+2": 1, "ratings/?count=exact": 1,
			"contents/?count=exact&search=nothing": 0, "contents/?count=exact&search=": 3,
			"contents/?count=exact&search=+": 3, "contents/?count=exact&search=%22!*": 0} {
			if a := s.get(t, nobody, path); a.at(t, "count") != want {
				t.Errorf("%s counts %v, want %v", path, a.at(t, "count"), want)
			}
		}
	})
}

// TestNextIsReadAsItIs: next may be copied from the bytes of a response, where texts are escaped for
// pages all the same.
func TestNextIsReadAsItIs(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	for range 3 {
		s.rate(t, ada, s.write(t, "<b>Cats & dogs</b>"), 4)
	}
	raw := regexp.MustCompile(`"next":"([^"]*)"`)
	for _, path := range []string{"contents/?page_size=1&ordering=title&search=cats&fields=id,title",
		"ratings/?page_size=1&score=4", "users/?page_size=1&fields=id"} {
		a := s.get(t, sam, path)
		next := raw.FindSubmatch(a.body)
		if next == nil || string(next[1]) != a.at(t, "next") || strings.HasSuffix(string(a.body), "\n") {
			t.Errorf("%s: next is not written as it is: %s", path, a)
			continue
		}
		if b := s.get(t, sam, string(next[1])); b.status != 200 {
			t.Errorf("%s: the next page is %s", path, b)
		}
		rest := strings.Replace(string(a.body), string(next[0]), "", 1)
		if strings.ContainsAny(rest, "<>&") {
			t.Errorf("%s: a text is not escaped: %s", path, a)
		}
	}
}

// TestParameters checks that no parameter is dropped without a word.
func TestParameters(t *testing.T) {
	t.Parallel()
	s, ids := library(t, stores()["memstore"], 2)
	ratingID := s.rate(t, ada, ids[0], 4)
	for query, want := range map[string]string{
		"page_size=0":                              "?page_size=min_value",
		"page_size=-1":                             "?page_size=min_value",
		"page_size=101":                            "?page_size=max_value",
		"page_size=x":                              "?page_size=invalid",
		"page_size=":                               "?page_size=invalid",
		"page_size=5.0":                            "?page_size=invalid",
		"page_size=05":                             "?page_size=invalid",
		"page_size=%2B5":                           "?page_size=invalid",
		"page_size=99999999999999999999":           "?page_size=max_value",
		"page_size=-99999999999999999999":          "?page_size=min_value",
		"ratings_count__gte=3000000000":            "?ratings_count__gte=max_value", // which an int of 32 bits cannot hold
		"page_size=1&page_size=1":                  "?page_size=repeated",
		"page=2":                                   "?page=unknown_parameter",
		"limit=2&offset=2":                         "?limit=unknown_parameter ?offset=unknown_parameter",
		"PAGE_SIZE=2":                              "?PAGE_SIZE=unknown_parameter",
		"count=yes":                                "?count=invalid_choice",
		"count=":                                   "?count=invalid_choice",
		"ordering=":                                "?ordering=invalid_choice",
		"ordering=description":                     "?ordering=invalid_choice",
		"ordering=--title":                         "?ordering=invalid_choice",
		"ordering=title,id":                        "?ordering=invalid_choice",
		"ordering=-created_at&ordering=title":      "?ordering=repeated",
		"fields=":                                  "?fields=invalid_choice",
		"fields=id,":                               "?fields=invalid_choice",
		"fields=id,description":                    "?fields=invalid_choice",
		"fields=id,ID":                             "?fields=invalid_choice",
		"fields=id,id":                             "?fields=repeated",
		"author=":                                  "?author=invalid",
		"author=a%00":                              "?author=invalid",
		"author=" + strings.Repeat("a", 129):       "?author=invalid",
		"author=x&author=x":                        "?author=repeated",
		"search=" + strings.Repeat("a", 257):       "?search=max_length",
		"search=%ff":                               "?search=bad_character",
		"created_at__gte=yesterday":                "?created_at__gte=invalid",
		"created_at__gte=2026-01-01":               "?created_at__gte=invalid",
		"created_at__lt=2026-13-01T00:00:00Z":      "?created_at__lt=invalid",
		"created_at__lt=0001-01-01T00:00:00Z":      "?created_at__lt=invalid",
		"created_at__lt=0000-01-01T00:00:00Z":      "?created_at__lt=invalid",
		"created_at__lt=9999-12-31T23:59:59-23:59": "?created_at__lt=invalid",
		"updated_at__gte=":                         "?updated_at__gte=invalid",
		"updated_at__lt=2026-01-01T00:00:00+03:30": "?updated_at__lt=invalid", // a plus is a space
		"score__gte=high":                          "?score__gte=invalid",
		"score__gte=NaN":                           "?score__gte=invalid",
		"score__lte=Inf":                           "?score__lte=invalid",
		"score__lte=1e400":                         "?score__lte=invalid",
		"score__lte=0x1p1":                         "?score__lte=invalid",
		"ratings_count__gte=-1":                    "?ratings_count__gte=min_value",
		"ratings_count__gte=1.5":                   "?ratings_count__gte=invalid",
		"created_at__gt=2026-01-01T00:00:00Z":      "?created_at__gt=unknown_parameter",
		"nonsense=1&page_size=0&ordering=x&fields=y": "?ordering=invalid_choice ?page_size=min_value " +
			"?fields=invalid_choice ?nonsense=unknown_parameter",
	} {
		if a := s.get(t, nobody, "contents/?"+query); a.status != 400 || a.problem() != "validation_failed "+want {
			t.Errorf("contents/?%s: %s\n got %q\nwant %q", query, a, a.problem(), "validation_failed "+want)
		}
	}
	for path, want := range map[string]string{
		"ratings/?rater=":                          "validation_failed ?rater=invalid",
		"ratings/?content=a:b":                     "validation_failed ?content=invalid",
		"ratings/?content=x&content=x":             "validation_failed ?content=repeated",
		"ratings/?score=five":                      "validation_failed ?score=invalid",
		"ratings/?score=4.0":                       "validation_failed ?score=invalid",
		"ratings/?score__gte=1&score__gte=2":       "validation_failed ?score__gte=repeated",
		"ratings/?ordering=score":                  "validation_failed ?ordering=invalid_choice",
		"ratings/?author=x":                        "validation_failed ?author=unknown_parameter",
		"ratings/?fields=url":                      "validation_failed ?fields=invalid_choice",
		"ratings/?updated_at__gte=x":               "validation_failed ?updated_at__gte=invalid",
		"ratings/?rater=me&content=x&nonsense=1":   "not_authenticated",
		"contents/" + ids[0] + "/?fields=nonsense": "validation_failed ?fields=invalid_choice",
		"contents/" + ids[0] + "/?page_size=1":     "validation_failed ?page_size=unknown_parameter",
		"contents/" + ids[0] + "/stats/?a=b":       "validation_failed ?a=unknown_parameter",
		"ratings/" + ratingID + "/?a=b":            "validation_failed ?a=unknown_parameter",
		"contents/?a=%zz":                          "malformed_query",
		"contents/?page_size=1;count=exact":        "malformed_query",
		"contents/?=x":                             "malformed_query",
		"contents/?%":                              "malformed_query",
	} {
		if a := s.get(t, nobody, path); a.status != 400 && a.status != 401 || a.problem() != want {
			t.Errorf("%s: %s, want %q", path, a, want)
		}
	}
	for _, r := range []request{
		{method: "POST", path: "contents/?a=b", body: `{"title":"t"}`}, {method: "PUT", path: "contents/" + ids[0] +
			"/?a=b", body: `{"title":"t","description":""}`},
		{method: "DELETE", path: "contents/" + ids[0] + "/?a=b"}, {method: "POST", path: "ratings/?a=b",
			body: `{"content":"` + ids[0] + `","score":4}`},
		{method: "PUT", path: "ratings/" + ratingID + "/?a=b", body: `{"score":4}`}, {method: "DELETE", path: "ratings/" +
			ratingID + "/?a=b"},
		{path: "contents/" + ids[0] + "/rating/?a=b"}, {method: "PUT", path: "contents/" + ids[0] + "/rating/?a=b",
			body: `{"score":4}`},
		{method: "DELETE", path: "contents/" + ids[0] +
			"/rating/?a=b"}, {path: "tasks/none/?a=b"}, {path: "users/?a=b"}, {path: "users/?count=exact"},
		{method: "POST", path: "users/?a=b", body: `{"username":"carl","password":"` + password +
			`"}`}, {path: "users/me/?a=b"},
		{method: "PATCH", path: "users/me/?a=b", body: `{}`}, {path: "users/me/sessions/?page_size=1"}, {method: "DELETE",
			path: "users/me/sessions/?a=b"},
		{method: "DELETE", path: "users/me/sessions/none/?a=b"}, {method: "POST", path: "users/logout/?a=b"},
		{method: "POST", path: "users/login/?a=b", body: `{"username":"ada","password":"` + password +
			`"}`}, {method: "POST", path: "users/token/refresh/?a=b", body: `{"refresh":"x"}`},
		{method: "POST", path: "users/me/password/?a=b", body: `{"new_password":"x"}`}, {method: "POST", path: "contents/" +
			ids[0] + "/stats/recalculate/?a=b"},
	} {
		r.as = sam
		if r.path != "users/?count=exact" && !strings.HasPrefix(r.path, "users") {
			r.as = ada
		}
		if strings.Contains(r.path, "recalculate") {
			r.as = sam
		}
		if a := s.do(t, r); a.status != 400 || !strings.HasPrefix(a.problem(), "validation_failed ?") {
			t.Errorf("%s %s: %s", r.method, r.path, a)
		}
	}
	lenient := s.do(t, request{path: "contents/?nonsense=1&page_size=1", prefer: "handling=lenient"})
	if lenient.status != 200 || len(lenient.list(t, "id")) != 1 ||
		lenient.header.Get("Preference-Applied") != "handling=lenient" {
		t.Errorf("lenient: %s, applied %q", lenient, lenient.header.Get("Preference-Applied"))
	}
	if a := s.do(t, request{path: "contents/?nonsense=1",
		prefer: "handling=strict, handling=lenient"}); a.status != 400 {
		t.Errorf("first strict, then lenient: %s", a)
	}
	next := s.do(t, request{path: lenient.text(t, "next"), prefer: "handling=lenient"})
	if next.status != 200 || len(next.list(t, "id")) != 1 {
		t.Errorf("the page after a lenient one: %s", next)
	}
	if a := s.do(t, request{path: "contents/?page_size=0&nonsense=1",
		prefer: "handling=lenient"}); a.problem() != "validation_failed ?page_size=min_value" {
		t.Errorf("lenient about a bad value: %s", a)
	}
}

// TestFilters checks each filter and the order of each field, in both directions.
func TestFilters(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s, ids := library(t, open, 4)
		other, err := s.app.Contents.Create(t.Context(), s.ids[ben], content.Draft{Title: "Aardvark",
			Description: "a NEAR( \"b\" OR"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, other.ID)
		rank := map[string]int{}
		for i, id := range ids {
			rank[id] = i
		}
		s.rate(t, ada, ids[0], 5)
		s.rate(t, ben, ids[0], 5)
		s.rate(t, ada, ids[1], 1)
		s.fold(t, ids[0])
		if _, err := s.app.Contents.Update(t.Context(), actor.Actor{User: s.ids[ada]}, ids[2],
			content.Patch{Title: new(string("film two"))}); err != nil {
			t.Fatal(err)
		}
		middle := s.get(t, nobody, "contents/"+ids[2]+"/").text(t, "created_at")
		changed := s.get(t, nobody, "contents/"+ids[2]+"/").text(t, "updated_at")
		for query, want := range map[string][]int{
			"author=" + s.ids[ben]:                     {4},
			"author=" + s.ids[ada] + "&ordering=title": {0, 1, 3, 2},
			"search=FILM&ordering=created_at":          {0, 1, 2, 3},
			"search=film+two":                          {2},
			"search=about+1":                           {1},
			"search=%22b%22":                           {4},
			"search=NEAR(":                             {4},
			"search=*":                                 {},
			"search=a+OR":                              {4},
			"search=aard":                              {4},
			"search=ardvark":                           {},
			"search=film+%DB%B1":                       {1},
			"search=film+%2B%2B":                       {},
			"search=film+%F0%9F%91%8D":                 {},
			"created_at__gte=" + middle + "&ordering=created_at": {2, 3, 4},
			"created_at__lt=" + middle + "&ordering=created_at":  {0, 1},
			"updated_at__gte=" + changed:                         {2},
			"updated_at__lt=" + changed + "&ordering=updated_at": {0, 1, 3, 4},
			"score__gte=4":                             {0},
			"score__lte=2":                             {1},
			"score__gte=0&ordering=-score":             {0, 1},
			"ratings_count__gte=2":                     {0},
			"ratings_count__gte=0&ordering=created_at": {0, 1, 2, 3, 4},
			"":                        {4, 3, 2, 1, 0},
			"ordering=-created_at":    {4, 3, 2, 1, 0},
			"ordering=created_at":     {0, 1, 2, 3, 4},
			"ordering=updated_at":     {0, 1, 3, 4, 2},
			"ordering=-updated_at":    {2, 4, 3, 1, 0},
			"ordering=title":          {4, 0, 1, 3, 2},
			"ordering=-title":         {2, 3, 1, 0, 4},
			"ordering=-ratings_count": {0, 1, 4, 3, 2},
			"ordering=ratings_count":  {2, 3, 4, 1, 0},
			"ordering=-score":         {0, 1, 4, 3, 2},
			"ordering=score":          {2, 3, 4, 1, 0},
		} {
			for _, size := range []string{"", "&page_size=2"} {
				got := []int{}
				for _, id := range s.walk(t, nobody, "contents/?"+query+size, "id") {
					got = append(got, rank[id])
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s%s: %v, want %v", query, size, got, want)
				}
			}
		}
		picked := s.get(t, nobody, "contents/?fields=title,id&page_size=1")
		if got := picked.keys(t, "results.0"); !slices.Equal(got, []string{"id", "title"}) {
			t.Errorf("fields=title,id gives %q", got)
		}
		if got := s.get(t, nobody, "contents/"+ids[0]+"/?fields=description").keys(t, ""); !slices.Equal(got,
			[]string{"description"}) {
			t.Errorf("fields=description gives %q", got)
		}
	})
}

// TestRatingFilters checks the lists of ratings.
func TestRatingFilters(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s, ids := library(t, open, 3)
		var given []string
		for _, x := range []struct {
			as    string
			of    int
			score int
		}{{ada, 0, 5}, {ben, 0, 3}, {sam, 0, 4}, {ada, 1, 1}, {ben, 2, 2}} {
			given = append(given, s.rate(t, x.as, ids[x.of], x.score))
		}
		at := s.get(t, nobody, "ratings/"+given[2]+"/").text(t, "updated_at")
		first := []int{0, 1, 2} // of the first content by rating id
		slices.SortFunc(first, func(a, b int) int { return strings.Compare(given[a], given[b]) })
		all := []int{0, 1, 2, 3, 4}
		slices.SortFunc(all, func(a, b int) int { return strings.Compare(given[a], given[b]) })
		for query, want := range map[string][]int{
			"":                    {4, 3, 2, 1, 0},
			"ordering=updated_at": {0, 1, 2, 3, 4},
			"ordering=id":         all,
			"content=" + ids[0]:   first,
			"content=" + ids[0] + "&ordering=-updated_at": {2, 1, 0},
			"rater=me":                             {3, 0},
			"rater=" + s.ids[ben]:                  {4, 1},
			"rater=me&content=" + ids[1]:           {3},
			"score=3":                              {1},
			"score=9":                              {},
			"score=3&score__gte=4":                 {},
			"score=4&score__lte=4":                 {2},
			"score__gte=4":                         {2, 0},
			"score__lte=2":                         {4, 3},
			"score__gte=2&score__lte=3":            {4, 1},
			"updated_at__gte=" + at:                {4, 3, 2},
			"updated_at__lt=" + at:                 {1, 0},
			"content=none":                         {},
			"rater=none":                           {},
			"content=" + ids[0] + "&rater=nobody.": {},
		} {
			for _, size := range []string{"", "&page_size=2"} {
				got := []int{}
				for _, id := range s.walk(t, ada, "ratings/?"+query+size, "id") {
					got = append(got, slices.Index(given, id))
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s%s: %v, want %v", query, size, got, want)
				}
			}
		}
	})
}

// TestWalkDuringChanges inserts and deletes between two pages.
func TestWalkDuringChanges(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		for _, ordering := range []string{"created_at", "-created_at", "title", "-title"} {
			s, ids := library(t, open, 10)
			first := s.get(t, nobody, "contents/?page_size=4&ordering="+ordering)
			seen := first.list(t, "id")
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					if _, err := s.app.Contents.Create(t.Context(), s.ids[ada], content.Draft{Title: fmt.Sprintf("film %d and more",
						i%10)}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			gone := seen[3] // where the next page begins
			for _, id := range []string{gone, ids[5]} {
				if err := s.app.Contents.Delete(t.Context(), actor.Actor{User: s.ids[ada]}, id); err != nil {
					t.Fatal(err)
				}
			}
			seen = append(seen, s.walk(t, nobody, first.text(t, "next"), "id")...)
			for _, id := range ids {
				n := 0
				for _, other := range seen {
					if other == id {
						n++
					}
				}
				want := 1
				if id == ids[5] && !slices.Contains(seen[:4], id) {
					want = 0
				}
				if n != want {
					t.Errorf("ordered by %s, %s is seen %d times, want %d", ordering, id, n, want)
				}
			}
		}
	})
}

// TestCursors checks that only our own cursors are taken, and only where they belong.
func TestCursors(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s, ids := library(t, open, 4)
		s.rate(t, ada, ids[0], 4)
		s.rate(t, ben, ids[0], 4)
		cursor := func(path string) string {
			next, err := url.Parse(s.get(t, sam, path).text(t, "next"))
			if err != nil {
				t.Fatal(err)
			}
			c := next.Query().Get("cursor")
			if len(c) > 256 {
				t.Errorf("%s: a cursor of %d bytes", path, len(c))
			}
			return c
		}
		created := cursor("contents/?page_size=1")
		for _, path := range []string{
			"contents/?page_size=1&ordering=created_at", "contents/?page_size=1&ordering=title",
			"contents/?page_size=1&ordering=-title", "contents/?author=" + s.ids[ada],
			"contents/?search=film", "ratings/?page_size=1", "ratings/?page_size=1&content=" +
				ids[0], "users/?page_size=1", "contents/?ratings_count__gte=0",
		} {
			if a := s.get(t, sam, path+"&cursor="+created); a.status != 400 ||
				a.problem() != "cursor_mismatch ?cursor=cursor_mismatch" {
				t.Errorf("%s takes the cursor of another list: %s", path, a)
			}
		}
		s.rate(t, ada, ids[1], 4)
		s.rate(t, ben, ids[1], 4)
		mine, err := url.Parse(s.get(t, ada, "ratings/?rater=me&page_size=1").text(t, "next"))
		if err != nil {
			t.Fatal(err)
		}
		for as, want := range map[string]string{ada: "", ben: "cursor_mismatch ?cursor=cursor_mismatch"} {
			if a := s.get(t, as, mine.String()); a.problem() != want {
				t.Errorf("%s with ada's cursor of her own ratings: %s", as, a)
			}
		}
		for _, path := range []string{"contents/?", "contents/?page_size=2&count=exact&fields=id",
			"contents/?ordering=-created_at"} {
			if a := s.get(t, nobody, path+"&cursor="+created); a.status != 200 {
				t.Errorf("%s does not take its cursor: %s", path, a)
			}
		}
		for _, c := range []string{"", "x", "AAAA", created[:len(created)-1], created + "A", created + "=", created + "%0A",
			created + "%00", strings.Repeat("A", 256), strings.Repeat("A", 5000), "%ff"} {
			if a := s.get(t, nobody, "contents/?cursor="+c); a.status != 400 ||
				a.problem() != "invalid_cursor ?cursor=invalid_cursor" {
				t.Errorf("the cursor %.40q: %s", c, a)
			}
		}
		a := s.get(t, nobody, "contents/?cursor="+created+"&cursor="+created)
		if a.problem() != "validation_failed ?cursor=repeated" {
			t.Errorf("two cursors: %s", a)
		}
		for _, path := range []string{"contents/?page_size=1", "contents/?page_size=1&ordering=title",
			"contents/?page_size=1&ordering=score", "ratings/?page_size=1", "ratings/?page_size=1&content=" +
				ids[0], "users/?page_size=1"} {
			b, err := base64.RawURLEncoding.DecodeString(cursor(path))
			if err != nil {
				t.Fatal(err)
			}
			for bit := 0; bit < 8*len(b); bit += 19 { // FuzzCursor tries the others
				b[bit/8] ^= 1 << (bit % 8)
				a := s.get(t, sam, path+"&cursor="+base64.RawURLEncoding.EncodeToString(b))
				if a.status != 400 {
					t.Errorf("%s with bit %d flipped: %d", path, bit, a.status)
				}
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
	})
}

// TestOwnContents: me is the caller as author, as it is the caller as rater.
func TestOwnContents(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s, ids := library(t, open, 3)
		other, err := s.app.Contents.Create(t.Context(), s.ids[ben], content.Draft{Title: "another"})
		if err != nil {
			t.Fatal(err)
		}
		for as, want := range map[string][]string{ada: {ids[2], ids[1], ids[0]}, ben: {other.ID}, sam: nil} {
			if a := s.get(t, as, "contents/?author=me"); !slices.Equal(a.list(t, "id"), want) {
				t.Errorf("the contents of %s are %s, want %q", as, a, want)
			}
		}
		if a := s.get(t, nobody, "contents/?author=me"); a.status != 401 || a.problem() != "not_authenticated" {
			t.Errorf("nobody's contents: %s", a)
		}
		next := s.get(t, ada, "contents/?author=me&page_size=1").text(t, "next")
		for as, want := range map[string]string{ada: "", ben: "cursor_mismatch ?cursor=cursor_mismatch"} {
			if a := s.get(t, as, next); a.problem() != want {
				t.Errorf("%s with ada's cursor of her own contents: %s", as, a)
			}
		}
	})
}

// TestCursorsAreBoundToFilters uses the cursor of each filter with another value of it, with every
// other filter and with none, in every list.
func TestCursorsAreBoundToFilters(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s, ids := library(t, open, 3)
		for _, id := range ids {
			s.rate(t, ada, id, 4)
			s.rate(t, ben, id, 4)
		}
		const early, earlier = "2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z"
		const late, later = "2101-01-01T00:00:00Z", "2102-01-01T00:00:00Z"
		times := map[string][2]string{
			"created_at__gte": {early, earlier}, "created_at__lt": {late, later},
			"updated_at__gte": {early, earlier}, "updated_at__lt": {late, later},
		}
		// Two values of each filter; several results match the first.
		filters := map[string]map[string][2]string{
			"contents": {
				"author": {s.ids[ada], s.ids[ben]}, "search": {"film", "film 1"},
				"score__gte": {"1", "2"}, "score__lte": {"5", "4"}, "ratings_count__gte": {"1", "2"},
			},
			"ratings": {
				"content": {ids[0], ids[1]}, "rater": {s.ids[ada], s.ids[ben]},
				"score": {"4", "5"}, "score__gte": {"1", "2"}, "score__lte": {"5", "4"},
			},
			"users": {},
		}
		maps.Copy(filters["contents"], times)
		for _, name := range []string{"updated_at__gte", "updated_at__lt"} {
			filters["ratings"][name] = times[name]
		}
		schema := s.get(t, nobody, "schema/")
		for list, of := range filters {
			for _, p := range schema.at(t, "paths./"+list+"/.get.parameters").([]any) {
				p := p.(map[string]any)
				name, _ := p["name"].(string)
				paging := []string{"page_size", "cursor", "fields", "count", "ordering"}
				if _, tried := of[name]; p["in"] == "query" && !tried && !slices.Contains(paging, name) {
					t.Errorf("%s: the filter %q is not tried", list, name)
				}
			}
			first := func(name string) string { return list + "/?page_size=1&" + name + "=" + url.QueryEscape(of[name][0]) }
			for name, values := range of {
				testutil.Eventually(t, 30*time.Second, "several "+list+" match "+name, func() bool { // the score is folded later
					return s.get(t, sam, first(name)).at(t, "next") != nil
				})
				next, err := url.Parse(s.get(t, sam, first(name)).text(t, "next"))
				if err != nil {
					t.Fatal(err)
				}
				cursor := "&cursor=" + next.Query().Get("cursor")
				if a := s.get(t, sam, first(name)+cursor); a.status != 200 {
					t.Errorf("%s does not take its own cursor: %s", first(name), a)
				}
				others := []string{list + "/?page_size=1", list + "/?" + name + "=" + url.QueryEscape(values[1])}
				for other := range of {
					if other != name {
						others = append(others, first(other))
					}
				}
				for _, path := range others {
					if a := s.get(t, sam, path+cursor); a.problem() != "cursor_mismatch ?cursor=cursor_mismatch" {
						t.Errorf("%s takes the cursor of %s: %s", path, first(name), a)
					}
				}
			}
		}
	})
}

// TestLongTitles pages by titles that a cursor does not hold as a whole.
func TestLongTitles(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		var titles []string
		for i := range 6 {
			titles = append(titles, strings.Repeat("آ", 40+i)+strings.Repeat("م", 200-i))
			s.write(t, titles[i])
		}
		for _, ordering := range []string{"title", "-title"} {
			seen := s.walk(t, nobody, "contents/?page_size=1&ordering="+ordering, "title")
			if len(seen) != len(titles) {
				t.Errorf("%s: %d of %d titles", ordering, len(seen), len(titles))
			}
		}
	})
}

// TestUserList checks the list that staff see.
func TestUserList(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		for _, size := range []string{"1", "2", "100"} {
			if got := s.walk(t, sam, "users/?page_size="+size, "username"); !slices.Equal(got, []string{ada, ben, sam}) {
				t.Errorf("pages of %s: %q", size, got)
			}
		}
		if got := s.get(t, sam, "users/").keys(t, "results.0"); !slices.Equal(got, []string{"date_joined", "email", "id",
			"username"}) {
			t.Errorf("a user has %q", got)
		}
		if got := s.get(t, sam, "users/?fields=username").keys(t, "results.0"); !slices.Equal(got, []string{"username"}) {
			t.Errorf("fields=username gives %q", got)
		}
	})
}
