package httpapi_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

func configOf(kept cache.Cache) func(*khodnevis.Config) {
	return func(c *khodnevis.Config) { c.Cache = kept }
}

// opened is when the contents of long lists were created, some at the same moment.
var opened = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

// draw returns a content by ada with one of few titles and times, so that there are ties.
func (s *server) draw(r *rand.Rand, many int) content.Content {
	at := opened.Add(time.Duration(r.IntN(many)) * time.Millisecond)
	return content.Content{ID: fmt.Sprintf("%016x", r.Uint64()), Title: fmt.Sprintf("film %d", r.IntN(many)),
		Author: s.ids[ada], Version: 1, CreatedAt: at, UpdatedAt: at}
}

// keep stores contents, some at a time.
func (s *server) keep(t testing.TB, contents []content.Content) {
	t.Helper()
	next := make(chan content.Content)
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for c := range next {
				if err := s.store.CreateContent(t.Context(), c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, c := range contents {
		next <- c
	}
	close(next)
	wg.Wait()
}

// shelve stores n contents and returns the identifier of one.
func (s *server) shelve(t testing.TB, n int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	contents := make([]content.Content, n)
	for i := range contents {
		contents[i] = s.draw(r, n)
	}
	s.keep(t, contents)
	return contents[0].ID
}

// rateAll stores a rating by ada of every content, and as many of the one named.
func (s *server) rateAll(t testing.TB, hot string) {
	t.Helper()
	listed, err := s.store.ListContents(t.Context(), content.Query{Order: content.Order{Field: content.ByCreated},
		Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var batch rating.Batch
	for i, l := range listed {
		for _, k := range []rating.Key{{Content: l.ID, Rater: s.ids[ada]}, {Content: hot, Rater: fmt.Sprintf("rater-%d",
			i)}} {
			batch.Changes = append(batch.Changes, rating.Change{Key: k, Version: rating.Version{Epoch: 1, Offset: 1},
				Score: 1 + i%5, At: opened})
		}
	}
	if _, err := s.store.ApplyRatings(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// TestCursorWalk goes through 10,000 contents while others come and go before, behind and at the
// cursor. Every page must be what follows the page before in the list as it stands at that moment:
// so nothing comes twice and nothing is left out.
func TestCursorWalk(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, idle: true})
		const n, size, changes = 10_000, 100, 3
		r := rand.New(rand.NewPCG(7, 7))
		shelf := make([]content.Content, n)
		for i := range shelf {
			shelf[i] = s.draw(r, n/2)
		}
		s.keep(t, shelf)
		compare := func(a, b content.Content) int { // the other way round, as the list is ordered
			return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
		}
		slices.SortFunc(shelf, compare)
		seen, steady := map[string]bool{}, map[string]bool{}
		for _, c := range shelf {
			steady[c.ID] = true
		}
		var last content.Content // of the page before
		path := fmt.Sprintf("contents/?fields=id&page_size=%d", size)
		for page := 1; path != ""; page++ {
			from := 0
			if page > 1 {
				var there bool
				if from, there = slices.BinarySearchFunc(shelf, last, compare); there {
					from++
				}
			}
			want := shelf[from:min(from+size, len(shelf))]
			got, next := s.page(t, path)
			if !slices.EqualFunc(got, want, func(id string, c content.Content) bool { return id == c.ID }) {
				t.Fatalf("page %d is not the %d contents from place %d on", page, len(want), from)
			}
			for _, id := range got {
				if seen[id] {
					t.Fatalf("%s comes twice", id)
				}
				seen[id] = true
			}
			if path = next; path == "" {
				break
			}
			last = want[len(want)-1]
			gone := []string{last.ID}
			for range changes {
				gone = append(gone, shelf[r.IntN(len(shelf))].ID)
			}
			for _, id := range gone {
				if i := slices.IndexFunc(shelf, func(c content.Content) bool { return c.ID == id }); i >= 0 {
					if err := s.store.DeleteContent(t.Context(), id, 0); err != nil {
						t.Fatal(err)
					}
					shelf = slices.Delete(shelf, i, i+1)
					delete(steady, id)
				}
			}
			for range changes + 1 {
				c := s.draw(r, n/2)
				if err := s.store.CreateContent(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				i, _ := slices.BinarySearchFunc(shelf, c, compare)
				shelf = slices.Insert(shelf, i, c)
			}
		}
		for id := range steady {
			if !seen[id] {
				t.Errorf("%s was there all the time and is not seen", id)
			}
		}
	})
}

// page returns the identifiers of a page and the path of the next one.
func (s *server) page(t testing.TB, path string) (ids []string, next string) {
	t.Helper()
	a, err := s.send(t, request{path: path})
	var list struct {
		Next    string
		Results []struct{ ID string }
	}
	if err == nil {
		err = json.Unmarshal(a.body, &list)
	}
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, a, err)
	}
	for _, r := range list.Results {
		ids = append(ids, r.ID)
	}
	return ids, list.Next
}

// BenchmarkPage compares the first page of a list with the 500th, in turns, so that whatever else
// the machine does weighs on both. The metric p500/p1 is the ratio of what they cost.
func BenchmarkPage(b *testing.B) {
	for _, name := range []string{"sqlitestore", "pgstore"} {
		b.Run(name, func(b *testing.B) {
			s := serve(b, setup{open: stores()[name], idle: true})
			const size, pages = 20, 500
			s.shelve(b, size*pages)
			first := fmt.Sprintf("/api/contents/?page_size=%d", size)
			late := s.after(b, size*(pages-1), first)
			var cost [2]time.Duration
			for b.Loop() {
				for i, path := range []string{first, late} {
					req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, path, nil)
					w := httptest.NewRecorder()
					began := time.Now()
					s.app.Handler().ServeHTTP(w, req)
					cost[i] += time.Since(began)
					if w.Code != http.StatusOK {
						b.Fatalf("%s: %d %s", path, w.Code, w.Body)
					}
				}
			}
			b.ReportMetric(float64(cost[0].Nanoseconds())/float64(b.N), "ns/p1")
			b.ReportMetric(float64(cost[1].Nanoseconds())/float64(b.N), "ns/p500")
			b.ReportMetric(float64(cost[1])/float64(cost[0]), "p500/p1")
		})
	}
}

// after returns the path of the page that begins after n results.
func (s *server) after(t testing.TB, n int, path string) string {
	t.Helper()
	for path != "" {
		ids, next := s.page(t, path)
		if n -= len(ids); n <= 0 {
			return next
		}
		path = next
	}
	t.Fatal("the list is shorter")
	return ""
}
