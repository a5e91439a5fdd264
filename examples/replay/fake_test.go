package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fake is the few routes that a replay uses, in memory. Accepted ratings are applied some at each
// read, as by a worker that is behind. A plant makes it wrong in one way; accidents make it a
// server that is always being restarted.
type fake struct {
	plant     string
	accidents bool
	noKeys    bool // ignores Idempotency-Key
	pace      int  // ratings applied at a read, 20 when 0

	mu        sync.Mutex
	requests  int
	accepted  int
	users     map[string]string // name → password
	calls     map[string]int    // name → requests with a good token
	refreshes map[string]string // token → name
	tokens    map[string]string
	contents  map[string]*fakeContent
	keys      map[string]string // Idempotency-Key → content
	backlog   []fakeRating
	loses     fakeRating      // the tenth: with "lost", it and every other change of the same rating
	tasks     map[string]bool // done
}

type fakeContent struct {
	title   string
	ratings map[string]int
	extra   int // counted but not there
}

type fakeRating struct {
	task, content, user string
	score               int
}

func serve(t *testing.T, f *fake) string {
	t.Helper()
	f.users, f.refreshes, f.tokens, f.calls = map[string]string{}, map[string]string{}, map[string]string{},
		map[string]int{}
	f.contents, f.keys, f.tasks = map[string]*fakeContent{}, map[string]string{}, map[string]bool{}
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(*http.Request, map[string]any) (int, any){
		"POST /api/users/{$}":               f.register,
		"POST /api/users/login/{$}":         f.login,
		"POST /api/users/token/refresh/{$}": f.refresh,
		"POST /api/contents/{$}":            f.create,
		"GET /api/contents/{id}/{$}":        f.content,
		"GET /api/contents/{id}/stats/{$}":  f.content,
		"POST /api/ratings/{$}":             f.rate,
		"GET /api/tasks/{id}/{$}":           f.task,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { f.answer(w, r, h) })
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request, h func(*http.Request, map[string]any) (int, any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	every := func(n int) bool { return f.accidents && f.requests%n == 0 }
	w.Header().Set("Retry-After", "0")
	switch {
	case every(37):
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"outcome":"not_accepted"}`)
		return
	case every(43):
		panic(http.ErrAbortHandler) // not carried out, and nobody knows
	case every(47):
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case every(53):
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	body := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&body) // a GET has none
	status, v := h(r, body)
	if every(41) {
		panic(http.ErrAbortHandler) // carried out, and nobody knows
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fake) register(_ *http.Request, b map[string]any) (int, any) {
	name := b["username"].(string)
	if _, ok := f.users[name]; ok {
		return 400, map[string]any{"errors": []any{map[string]any{"field": "username", "code": "unique"}}}
	}
	f.users[name] = b["password"].(string)
	return 201, map[string]any{"id": "u-" + name}
}

func (f *fake) login(_ *http.Request, b map[string]any) (int, any) {
	name := b["username"].(string)
	if password, ok := f.users[name]; !ok || password != b["password"] {
		return 401, nil
	}
	return f.session(name)
}

func (f *fake) refresh(_ *http.Request, b map[string]any) (int, any) {
	name, ok := f.refreshes[b["refresh"].(string)]
	if !ok {
		return 401, nil
	}
	delete(f.refreshes, b["refresh"].(string))
	return f.session(name)
}

func (f *fake) session(name string) (int, any) {
	access, refresh := fmt.Sprint("a", f.requests), fmt.Sprint("r", f.requests)
	f.tokens[access], f.refreshes[refresh] = name, name
	return 200, map[string]any{"access": access, "refresh": refresh, "user": map[string]any{"id": "u-" + name}}
}

// caller is who sends r, empty when the token is not good. With accidents, each user's token
// expires once.
func (f *fake) caller(r *http.Request) string {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	name := f.tokens[token]
	if f.calls[name]++; f.accidents && f.calls[name] == 3 {
		delete(f.tokens, token)
		return ""
	}
	return name
}

func (f *fake) create(r *http.Request, b map[string]any) (int, any) {
	key := r.Header.Get("Idempotency-Key")
	if f.caller(r) == "" {
		return 401, nil
	}
	id, seen := f.keys[key]
	if !seen || f.noKeys {
		id = fmt.Sprintf("c%03d", len(f.contents))
		f.contents[id], f.keys[key] = &fakeContent{title: b["title"].(string), ratings: map[string]int{}}, id
	}
	return 201, map[string]any{"id": id, "title": f.contents[id].title}
}

func (f *fake) rate(r *http.Request, b map[string]any) (int, any) {
	name := f.caller(r)
	if name == "" {
		return 401, nil
	}
	f.accepted++
	content, score := b["content"].(string), int(b["score"].(float64))
	if f.contents[content] == nil || f.plant == "refused" && f.accepted == 10 {
		return 400, map[string]any{"code": "validation_failed"}
	}
	rt := fakeRating{fmt.Sprint("t", f.accepted), content, "u-" + name, score}
	f.tasks[rt.task] = false
	f.backlog = append(f.backlog, rt)
	if f.accepted == 10 {
		f.loses = rt
	}
	if f.plant == "mixed up" && f.accepted == 10 {
		rt.user = "u-another"
	}
	return 202, map[string]any{"task": rt.task,
		"rating": map[string]any{"content": content, "rater": rt.user, "score": score}}
}

func (f *fake) work() {
	for range min(cmp.Or(f.pace, 20), len(f.backlog)) {
		rt := f.backlog[0]
		f.backlog = f.backlog[1:]
		f.tasks[rt.task] = true
		c := f.contents[rt.content]
		_, again := c.ratings[rt.user]
		switch {
		case f.plant == "lost" && rt.content == f.loses.content && rt.user == f.loses.user:
			continue
		case f.plant == "stale" && again:
			continue
		case f.plant == "doubled" && rt.task == "t10":
			c.extra = 1
		}
		c.ratings[rt.user] = rt.score
	}
}

func (f *fake) task(r *http.Request, _ map[string]any) (int, any) {
	f.work()
	done, ok := f.tasks[r.PathValue("id")]
	switch {
	case f.caller(r) == "":
		return 401, nil
	case !ok:
		return 404, nil
	case f.plant == "failed":
		return 200, map[string]any{"state": "FAILURE"}
	case !done:
		return 200, map[string]any{"state": "PENDING"}
	}
	return 200, map[string]any{"state": "SUCCESS"}
}

func (f *fake) content(r *http.Request, _ map[string]any) (int, any) {
	f.work()
	id := r.PathValue("id")
	c := f.contents[id]
	if c == nil || f.plant == "gone" && id == "c000" {
		return 404, nil
	}
	h, sum := map[string]int{}, 0
	for score := range maps.Values(c.ratings) {
		h[fmt.Sprint(score)]++
		sum += score
	}
	var average any
	if n := len(c.ratings); n > 0 {
		average = float64(sum) / float64(n)
		if f.plant == "average" {
			average = float64(sum)/float64(n) + 1e-6
		}
	}
	if f.plant == "histogram" && h["2"] > 0 && h["4"] > 0 { // the same count and sum
		h["2"], h["3"], h["4"] = h["2"]-1, h["3"]+2, h["4"]-1
	}
	return 200, map[string]any{"ratings_count": len(c.ratings) + c.extra, "average_score": average, "sum": sum,
		"histogram": h}
}
