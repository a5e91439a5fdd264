package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func TestIfNoneMatch(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		path := "contents/" + contentID + "/"
		tag := s.get(t, nobody, path).header.Get("ETag")
		if tag != `"c1.s0"` {
			t.Errorf("the tag of a fresh content is %q", tag)
		}
		for given, want := range map[string]int{
			tag: 304, "W/" + tag: 304, "*": 304, `"x", ` + tag: 304, `"x",W/` + tag + `,"y"`: 304, " " + tag + " ": 304,
			`"c1.s1"`: 200, `"c2.s0"`: 200, `"c1"`: 200, `"x"`: 200, `c1.s0`: 200, `"c1.s0`: 200, `w/` +
				tag: 200, `"C1.S0"`: 200, `"c01.s0"`: 200,
		} {
			for _, method := range []string{"GET", "HEAD"} {
				a := s.do(t, request{method: method, path: path, header: map[string]string{"If-None-Match": given}})
				if a.status != want || a.header.Get("ETag") != tag ||
					a.header.Get("Cache-Control") != "public, max-age=0, must-revalidate" {
					t.Errorf("%s, If-None-Match %s: %d with ETag %q, Cache-Control %q, want %d", method, given, a.status,
						a.header.Get("ETag"), a.header.Get("Cache-Control"), want)
				}
			}
		}
		s.rate(t, ada, contentID, 4)
		if a := s.do(t, request{path: path, header: map[string]string{"If-None-Match": tag}}); a.status != 200 ||
			a.at(t, "ratings_count") != 1.0 {
			t.Errorf("after a rating: %s", a)
		}
		if a := s.get(t, ada, path); a.header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("Cache-Control for somebody is %q", a.header.Get("Cache-Control"))
		}
	})
}

func TestIfMatch(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			for given, want := range map[string]int{
				`"c1.s0"`: 200, `"c1.s7"`: 200, `*`: 200, `"c7.s0", "c1.s0"`: 200, `"x","c1.s0"`: 200,
				`"c2.s0"`: 412, `W/"c1.s0"`: 412, `"x", W/"c1.s0"`: 412, `W/"c1.s0","c1.s0"`: 200,
				`"c1"`: 412, `"x"`: 412, `"c01.s0"`: 412, `"c+1.s0"`: 412, `"c1.s"`: 412,
				`"c1.s99999999999999999999"`: 412, `"*"`: 412,
				`c1.s0`: 400, `"c1.s0`: 400, `"a" "b"`: 400, `*, "c1.s0"`: 400, `,`: 400,
			} {
				path := "contents/" + s.write(t, "A film") + "/"
				r := request{method: method, path: path, as: ada, header: map[string]string{"If-Match": given}}
				if method != "DELETE" {
					r.body = `{"title":"Another","description":""}`
				} else if want == 200 {
					want = 204
				}
				a := s.do(t, r)
				problem := map[int]string{412: "precondition_failed", 400: "validation_failed If-Match=invalid"}[want]
				if a.status != want || a.problem() != problem {
					t.Errorf("%s, If-Match %s: %s, want %d", method, given, a, want)
				}
				if weak := strings.Contains(given, "W/"); want == 412 && strings.Contains(string(a.body), "weak") != weak {
					t.Errorf("%s, If-Match %s: whether the tag is weak is not what the problem says: %s", method, given, a)
				}
				if want == 200 && a.header.Get("ETag") != `"c2.s0"` {
					t.Errorf("%s: the tag is %s then", method, a.header.Get("ETag"))
				}
				if left := s.get(t, nobody, path); want >= 400 && (left.status != 200 || left.at(t, "version") != 1.0) {
					t.Errorf("%s, If-Match %s changed something: %s", method, given, left)
				}
			}
		}
		path := "contents/" + s.write(t, "A film") + "/"
		for _, name := range []string{"If-None-Match", "If-Unmodified-Since"} {
			a := s.do(t, request{method: "PATCH", path: path, as: ada, body: `{"title":"x"}`,
				header: map[string]string{name: `*`}})
			if a.problem() != "validation_failed "+name+"=unsupported_header" {
				t.Errorf("%s on a write: %s", name, a)
			}
		}
		if a := s.do(t, request{method: "PUT", path: "contents/none/", as: ada, body: `{"title":"t","description":""}`,
			header: map[string]string{"If-Match": "*"}}); a.status != 404 {
			t.Errorf("If-Match * on nothing: %s", a)
		}
	})
}

// TestRequireIfMatch: a host may demand to be told which version is changed.
func TestRequireIfMatch(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) { c.RequireIfMatch = true }})
		path := "contents/" + s.write(t, "A film") + "/"
		now := map[string]string{"If-Match": s.get(t, nobody, path).header.Get("ETag")}
		for method, body := range map[string]string{"PUT": `{"title":"A film","description":"About A film"}`,
			"PATCH": `{"title":"A film"}`, "DELETE": ""} {
			s.runAll(t, []exchange{
				{"", request{method: method, path: path, as: ada, body: body}, 428, "precondition_required"},
				{method + " by somebody else", request{method: method, path: path, as: ben, body: body}, 403,
					"permission_denied"},
				{method + " of nothing", request{method: method, path: "contents/none/", as: ada, body: body}, 404, "not_found"},
			})
		}
		s.runAll(t, []exchange{
			{"of another version", request{method: "PATCH", path: path, as: ada, body: `{"title":"x"}`,
				header: map[string]string{"If-Match": `"c7.s0"`}}, 412, "precondition_failed"},
			{"nothing has changed", request{method: "PATCH", path: path, as: ada, body: `{"title":"A film"}`, header: now},
				200, ""},
			{"of the present one", request{method: "DELETE", path: path, as: ada, header: now}, 204, ""},
		})
	})
}

// TestRatingsDoNotDisturbEdits: who edits a content is not held up by its raters, whichever part of
// what was read is sent back.
func TestRatingsDoNotDisturbEdits(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		path := "contents/" + contentID + "/"
		s.rate(t, ada, contentID, 5)
		read := s.get(t, ada, path)
		match := map[string]string{"If-Match": read.header.Get("ETag")}
		s.rate(t, ben, contentID, 1)
		if a := s.do(t, request{method: "PUT", path: path, as: ada, body: string(read.body),
			header: match}); a.status != 200 || a.at(t, "version") != 1.0 || a.at(t, "ratings_count") != 2.0 {
			t.Errorf("the whole of what was read, before a rating: %s", a)
		}
		if a := s.do(t, request{method: "PATCH", path: path, as: ada, body: `{"title":"Another"}`,
			header: match}); a.status != 200 || a.at(t, "version") != 2.0 {
			t.Errorf("a new title: %s", a)
		}
		// Without a tag nobody knows that the numbers were read before the rating.
		if a := s.do(t, request{method: "PATCH", path: path, as: ada,
			body: `{"ratings_count":1}`}); a.problem() != "validation_failed #/ratings_count=read_only" {
			t.Errorf("an old number without a tag: %s", a)
		}
		s.fold(t, contentID)
		now := s.get(t, ada, path)
		if a := s.do(t, request{method: "PATCH", path: path, as: ada, body: `{"ratings_count":7}`,
			header: map[string]string{"If-Match": now.header.Get("ETag")}}); a.problem() != "validation_failed "+
			"#/ratings_count=read_only" {
			t.Errorf("a made-up number with the present tag: %s", a)
		}
	})
}

// TestUnmodifiedPut sends back what was read.
func TestUnmodifiedPut(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		unrated := s.get(t, ada, "contents/"+contentID+"/")
		if a := s.do(t, request{method: "PUT", path: "contents/" + contentID + "/", as: ada,
			body: string(unrated.body)}); a.status != 200 || !bytes.Equal(a.body, unrated.body) {
			t.Errorf("without ratings: %s", a)
		}
		for i, name := range []string{ada, ben, sam} { // a mean that is no short fraction
			s.rate(t, name, contentID, 5-i/2)
		}
		s.fold(t, contentID)
		read := s.get(t, ada, "contents/"+contentID+"/")
		for _, as := range []string{ada, sam} {
			a := s.do(t, request{method: "PUT", path: "contents/" + contentID + "/", as: as, body: string(read.body)})
			if a.status != 200 || a.at(t, "version") != 1.0 || a.header.Get("ETag") != read.header.Get("ETag") ||
				!bytes.Equal(a.body, read.body) {
				t.Errorf("%s sends back what was read, and gets %s", as, a)
			}
		}
		ratingID := contentID + ":" + s.ids[ben]
		for _, path := range []string{"ratings/" + ratingID + "/", "contents/" + contentID + "/rating/"} {
			read := s.get(t, ben, path)
			for _, method := range []string{"PUT", "PATCH"} {
				if path[0] == 'c' && method == "PATCH" {
					continue
				}
				if a := s.do(t, request{method: method, path: path, as: ben, body: string(read.body),
					prefer: "wait=10"}); a.status != 200 || !bytes.Equal(a.body, read.body) {
					t.Errorf("%s %s: %s\nread %s", method, path, a, read)
				}
			}
		}
	})
}

// statsReads counts the contents whose statistics a store is asked for.
type statsReads struct {
	store.Store
	n *atomic.Int64
}

func (s statsReads) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	s.n.Add(int64(len(ids)))
	return s.Store.StatsByContent(ctx, ids)
}

// TestRefusedEditsReadNoStats: a change of a content that is made up, somebody else's or at another
// version reads and caches no statistics.
func TestRefusedEditsReadNoStats(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	s := serve(t, setup{idle: true, config: func(c *khodnevis.Config) {
		c.Store = statsReads{c.Store.(store.Store), &reads}
	}})
	path := "contents/" + s.write(t, "A film") + "/"
	for _, method := range []string{"PUT", "PATCH"} {
		s.runAll(t, []exchange{
			{"made up", request{method: method, path: "contents/none/", as: ada, body: `{"title":"t","description":""}`}, 404,
				"not_found"},
			{"not hers", request{method: method, path: path, as: ben, body: `{"title":"t","description":""}`}, 403,
				"permission_denied"},
			{"another version", request{method: method, path: path, as: ada, body: `{"title":"t","description":""}`,
				header: map[string]string{"If-Match": `"c7.s0"`}}, 412, "precondition_failed"},
		})
	}
	if n := reads.Load(); n != 0 {
		t.Errorf("%d statistics were read", n)
	}
}

// TestReadOnlyFields sends every output with another value.
func TestReadOnlyFields(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		ratingID := s.rate(t, ada, contentID, 4)
		s.fold(t, contentID)
		for _, x := range []struct {
			path, base string
			writable   []string
			methods    []string
		}{
			{"contents/" + contentID + "/", `"title":"A film","description":"About A film"`, []string{"title", "description"},
				[]string{"PUT", "PATCH"}},
			{"ratings/" + ratingID + "/", `"score":4`, []string{"score"}, []string{"PUT", "PATCH"}},
			{"contents/" + contentID + "/rating/", `"score":4`, []string{"score"}, []string{"PUT"}},
		} {
			read := s.get(t, ada, x.path)
			for _, name := range read.keys(t, "") {
				writable := false
				for _, w := range x.writable {
					writable = writable || w == name
				}
				if writable {
					continue
				}
				for _, value := range []string{`"0198"`, `77`, `null`, `{"a":[]}`, `false`} {
					if value == "null" && read.at(t, name) == nil {
						continue
					}
					for _, method := range x.methods {
						a := s.do(t, request{method: method, path: x.path, as: ada, body: fmt.Sprintf(`{%s,%q:%s}`, x.base, name,
							value)})
						if a.problem() != "validation_failed #/"+name+"=read_only" {
							t.Errorf("%s %s with %s %s: %s", method, x.path, name, value, a)
						}
					}
				}
			}
			if again := s.get(t, ada, x.path); !bytes.Equal(again.body, read.body) {
				t.Errorf("%s is %s now, was %s", x.path, again, read)
			}
		}
		for _, path := range []string{"contents/", "ratings/"} {
			out, base := "contents/"+contentID+"/", `"title":"t"`
			if path == "ratings/" {
				out, base = "ratings/"+ratingID+"/", fmt.Sprintf(`"content":%q`, contentID)
			}
			for _, name := range s.get(t, ada, out).keys(t, "") {
				switch name {
				case "title", "description", "content":
					continue
				case "score":
					if path == "ratings/" {
						continue
					}
				}
				body := fmt.Sprintf(`{%s,%q:null}`, base, name)
				if path == "ratings/" {
					body = fmt.Sprintf(`{%s,"score":4,%q:null}`, base, name)
				}
				if a := s.do(t, request{method: "POST", path: path, as: ada,
					body: body}); a.problem() != "validation_failed #/"+name+"=read_only" {
					t.Errorf("POST %s with %s: %s", path, name, a)
				}
			}
		}
	})
}

// TestRatingPreconditions: ratings go through a log that knows no versions, so that any
// precondition is refused.
func TestRatingPreconditions(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	contentID := s.write(t, "A film")
	ratingID := s.rate(t, ada, contentID, 4)
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
		for _, r := range []request{
			{method: "POST", path: "ratings/", body: fmt.Sprintf(`{"content":%q,"score":5}`, contentID)},
			{method: "PUT", path: "ratings/" + ratingID + "/", body: `{"score":5}`},
			{method: "PATCH", path: "ratings/" + ratingID + "/", body: `{"score":5}`},
			{method: "DELETE", path: "ratings/" + ratingID + "/"},
			{method: "PUT", path: "contents/" + contentID + "/rating/", body: `{"score":5}`},
			{method: "DELETE", path: "contents/" + contentID + "/rating/"},
		} {
			r.as, r.header = ada, map[string]string{name: "*"}
			if a := s.do(t, r); a.problem() != "validation_failed "+name+"=unsupported_header" {
				t.Errorf("%s %s with %s: %s", r.method, r.path, name, a)
			}
		}
	}
	if a := s.get(t, ada, "ratings/"+ratingID+"/"); a.at(t, "score") != 4.0 || a.at(t, "state") != "stored" {
		t.Errorf("the rating is %s", a)
	}
}

// TestParallelEdits: of 50 edits of one version one succeeds, whatever ratings arrive meanwhile,
// and of edits without a tag all do.
func TestParallelEdits(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		path := "contents/" + contentID + "/"
		s.rate(t, ada, contentID, 3)
		tag := s.get(t, ada, path).header.Get("ETag")
		stop := s.keepRating(t, contentID)
		const n = 50
		statuses := s.parallel(t, n, func(i int) request {
			return request{method: "PUT", path: path, as: ada, body: fmt.Sprintf(`{"title":"edit %d","description":""}`, i),
				header: map[string]string{"If-Match": tag}}
		})
		if statuses[200] != 1 || statuses[412] != n-1 || len(statuses) != 2 {
			t.Errorf("with one tag: %v", statuses)
		}
		// One after the other, each with the tag that it read some ratings ago: none is refused.
		for i := range 10 {
			tag := s.get(t, ada, path).header.Get("ETag")
			s.rate(t, ben, contentID, 1+i%5)
			a := s.do(t, request{method: "PUT", path: path, as: ada,
				body: fmt.Sprintf(`{"title":"edit %d again","description":""}`, i), header: map[string]string{"If-Match": tag}})
			if now := a.header.Get("ETag"); a.status != 200 || now == tag {
				t.Errorf("edit %d with the tag %s: %s, tag %s", i, tag, a, now)
			}
		}
		stop()
		if a := s.get(t, nobody, path); a.at(t, "version") != 12.0 || a.at(t, "ratings_count") != 3.0 {
			t.Errorf("the content is %s", a)
		}
		contentID = s.write(t, "Another film")
		path = "contents/" + contentID + "/"
		statuses = s.parallel(t, 4, func(i int) request {
			return request{method: "PATCH", path: path, as: ada, body: fmt.Sprintf(`{"title":"edit number %d"}`, i)}
		})
		if statuses[200] != 4 {
			t.Errorf("without a tag: %v", statuses)
		}
		if a := s.get(t, nobody, path); a.at(t, "version") != 5.0 {
			t.Errorf("the content is %s", a)
		}
	})
}

// keepRating has sam rate a content again and again, from before it returns until what it returns
// is called.
func (s *server) keepRating(t *testing.T, contentID string) (stop func()) {
	t.Helper()
	s.rate(t, sam, contentID, 1)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 1; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			a, err := s.send(t, request{method: "PUT", path: "contents/" + contentID + "/rating/", as: sam,
				body: fmt.Sprintf(`{"score":%d}`, 1+i%5), prefer: "wait=10"})
			if err != nil || a.status != 200 {
				t.Errorf("rating %d: %s, %v", i, a, err)
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// TestDeletesAndEditsMeet: of edits and deletions of one content at once, by its author, staff and
// somebody else, one deletion succeeds, and nothing is written after it. The decision who may is
// taken on the version that is written.
func TestDeletesAndEditsMeet(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		path := "contents/" + s.write(t, "A film") + "/"
		statuses := s.parallel(t, 45, func(i int) request {
			r := request{method: "PATCH", path: path, as: []string{ada, sam, ben}[i%3],
				body: fmt.Sprintf(`{"title":"edit %d"}`, i)}
			if i/3%3 == 0 {
				r.method, r.body = "DELETE", ""
			}
			return r
		})
		sum := 0
		for _, status := range []int{200, 204, 403, 404, 409} {
			sum += statuses[status]
		}
		if statuses[204] != 1 || sum != 45 {
			t.Errorf("at once: %v, want one deletion", statuses)
		}
		for _, as := range []string{nobody, ada, ben, sam} {
			if err := s.want(t, 404, request{path: path, as: as}); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		}
	})
}

// parallel sends n requests at once and counts the statuses.
func (s *server) parallel(t *testing.T, n int, of func(i int) request) map[int]int {
	t.Helper()
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		statuses = map[int]int{}
		start    = make(chan struct{})
	)
	for i := range n {
		wg.Go(func() {
			<-start
			r := of(i)
			a, err := s.send(t, r)
			if err == nil {
				err = sound(r, a)
			}
			if err != nil {
				t.Errorf("%s %s: %s: %v", r.method, r.path, a, err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	close(start)
	wg.Wait()
	return statuses
}

// TestIdempotencyKey repeats the creation of a content.
func TestIdempotencyKey(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		send := func(as, key, body string) answer {
			t.Helper()
			return s.do(t, request{method: "POST", path: "contents/", as: as, body: body,
				header: map[string]string{"Idempotency-Key": key}})
		}
		first := send(ada, "a-1", `{"title":"t","description":"<d>"}`)
		if first.status != 201 || first.header.Get("Idempotency-Replayed") != "" {
			t.Fatalf("the first: %s", first)
		}
		for _, body := range []string{`{"title":"t","description":"<d>"}`,
			"\n{\"description\": \"\\u003cd>\", \"title\": \"t\"}"} {
			again := send(ada, "a-1", body)
			if again.status != 201 || again.header.Get("Idempotency-Replayed") != "true" || !bytes.Equal(again.body,
				first.body) ||
				again.header.Get("Location") != first.header.Get("Location") ||
				again.header.Get("ETag") != first.header.Get("ETag") {
				t.Errorf("again: %s %v", again, again.header)
			}
		}
		if a := send(ada, "a-1", `{"title":"another"}`); a.status != 422 || a.problem() != "idempotency_key_reused" {
			t.Errorf("with another body: %s", a)
		}
		if a := send(ada, "a-2", `{"title":""}`); a.status != 400 {
			t.Errorf("a bad body: %s", a)
		}
		if a := send(ada, "a-2", `{"title":"t"}`); a.status != 201 || a.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("the key of what was refused: %s", a)
		}
		if a := send(ben, "a-1", `{"title":"t","description":"<d>"}`); a.status != 201 ||
			a.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("somebody else's key: %s", a)
		}
		for _, key := range []string{" ", "a b", "é", string(bytes.Repeat([]byte("k"), 129))} {
			if a := send(ada, key, `{"title":"t"}`); a.problem() != "validation_failed Idempotency-Key=invalid" {
				t.Errorf("the key %.10q: %s", key, a)
			}
		}
		if a := send(ada, string(bytes.Repeat([]byte("~"), 128)), `{"title":"t"}`); a.status != 201 {
			t.Errorf("the longest key: %s", a)
		}
		before := s.get(t, nobody, "contents/?count=exact").at(t, "count").(float64)
		statuses := s.parallel(t, 20, func(int) request {
			return request{method: "POST", path: "contents/", as: ada, body: `{"title":"once"}`,
				header: map[string]string{"Idempotency-Key": "p"}}
		})
		if statuses[201] < 1 || statuses[201]+statuses[409] != 20 {
			t.Errorf("20 at once: %v", statuses)
		}
		if after := s.get(t, nobody, "contents/?count=exact").at(t, "count").(float64); after != before+1 {
			t.Errorf("20 at once made %v contents", after-before)
		}
		if a := send(ada, "p", `{"title":"once"}`); a.status != 201 || a.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("after them: %s", a)
		}
		s.clock.Advance(25 * 60 * 60 * 1e9)
		s.login(t, ada)
		if a := send(ada, "a-1", `{"title":"another"}`); a.status != 201 || a.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("a day later: %s", a)
		}
	})
}

// TestIdempotencyKeyInFlight: a request with the key of one that is not answered yet is told to
// come again, also where the cache cannot count.
func TestIdempotencyKeyInFlight(t *testing.T) {
	t.Parallel()
	plain := &forgetful{}
	plain.forget()
	for name, kept := range map[string]cache.Cache{"counts": nil, "does not count": plain} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &faults{creating: make(chan struct{})}
			s := serve(t, setup{config: func(c *khodnevis.Config) {
				c.Cache = kept
				f.into(c)
			}})
			r := request{method: "POST", path: "contents/", as: ada, body: `{"title":"once"}`,
				header: map[string]string{"Idempotency-Key": "k"}}
			first := make(chan answer, 1)
			go func() {
				a, err := s.send(t, r)
				if err != nil {
					t.Error(err)
				}
				first <- a
			}()
			<-f.creating
			second := make(chan answer, 1)
			go func() {
				a, err := s.send(t, r)
				if err != nil {
					t.Error(err)
				}
				second <- a
			}()
			select {
			case a := <-second:
				if a.status != 409 || a.problem() != "idempotency_key_in_flight" || a.header.Get("Retry-After") == "" {
					t.Errorf("while the first is under way: %s", a)
				}
			case <-f.creating:
				t.Error("a second one is made while the first is under way")
				f.creating <- struct{}{}
			}
			f.creating <- struct{}{}
			if a := <-first; a.status != 201 {
				t.Errorf("the first: %s", a)
			}
			if statuses := s.parallel(t, 20, func(int) request { return r }); statuses[201] != 20 {
				t.Errorf("20 at once after it: %v", statuses)
			}
		})
	}
}

// TestConflict: an edit that loses every race is told to try again.
func TestConflict(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into})
	path := "contents/" + s.write(t, "A film") + "/"
	f.update.Store(content.ErrConflict)
	if a := s.do(t, request{method: "PATCH", path: path, as: ada, body: `{"title":"x"}`}); a.status != 409 ||
		a.problem() != "conflict" {
		t.Errorf("%s", a)
	}
}
