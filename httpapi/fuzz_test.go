package httpapi_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/rating"
)

// FuzzDecodeStrict: what is accepted as a body is one JSON object for encoding/json too, means the
// same to it, and does so again when it is encoded and read once more.
func FuzzDecodeStrict(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"title":"t"}`, ` {"a":1,"b":[true,false,null,-0,1e400,1.50]} `, `{"a":{"b":{"c":"\ud83d\ude00\u0000"}}}`,
		`{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"ſ":1,"s":2}`,
		`{"\u0061":1,"a":1}`, `{"a":"\ud800"}`, `{"a":"\\ud800"}`, `{"a":"\udc00\ud800"}`, `{"a" 1}`, `{"a":1,}`, `{,}`,
		`{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `[]`, `null`, `{}{}`, `{}x`,
		"\ufeff{}", "{\"a\":\"\xff\"}", `{"a":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) +
			`}`, `{"":0}`, `{"a":01}`, `{1:2}`, `{"a":1]`, `{"a":[}]`, `{"a"::1}`, `{"a":1:2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		object, err := httpapi.ParseObject(body)
		if err != nil {
			if s := err.Error(); s == "" || !utf8.ValidString(s) {
				t.Fatalf("the error is %q", s)
			}
			return
		}
		if !utf8.Valid(body) || !json.Valid(body) {
			t.Fatalf("%q is accepted", body)
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(object, want) {
			t.Fatalf("%q is %v, for encoding/json %v, %v", body, object, want, err)
		}
		if strings.ContainsRune(string(body), utf8.RuneError) {
			return // written out, it cannot be told from one that stands for half a surrogate
		}
		again, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if reread, err := httpapi.ParseObject(again); err != nil || !reflect.DeepEqual(object, reread) {
			t.Fatalf("%q, encoded as %q, is %v, %v", body, again, reread, err)
		}
		if bytes.ContainsRune(again, utf8.RuneError) {
			if !strings.Contains(strings.ToLower(string(body)), `\ufffd`) {
				t.Fatalf("%q: something was replaced: %q", body, again)
			}
		}
		if depth(object) > httpapi.MaxDepth {
			t.Fatalf("%q is nested %d deep", body, depth(object))
		}
	})
}

// depth counts the objects and lists around the innermost value.
func depth(v any) int {
	deepest := 0
	switch x := v.(type) {
	case map[string]any:
		for _, e := range x {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range x {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}

// A place by title of before, which had the bytes of the title, is none.
func TestFormerTitlePlaces(t *testing.T) {
	t.Parallel()
	byTitle := content.Order{Field: content.ByTitle}
	for place, want := range map[string]bool{"\x03abctitle": false, "\x03abc": false, "\x03abc\x01": true,
		"\x03abc\x01\x17\xf3\x00\x00": true, "\x03abc\x01" + strings.Repeat("x", content.TitleKey): true,
		"\x03abc\x01" + strings.Repeat("x", content.TitleKey+1): false} {
		if again, ok := httpapi.ReopenContentPlace(byTitle, []byte(place)); ok != want || ok && string(again) != place {
			t.Errorf("%q: %t, %q", place, ok, again)
		}
	}
}

// FuzzCursor: a cursor that is accepted is exactly what would be handed out for its place, and the
// place is one.
func FuzzCursor(f *testing.F) {
	contentOrders := []content.Order{{Field: content.ByCreated}, {Field: content.ByTitle, Desc: true},
		{Field: content.ByScore}, {Field: content.ByRatings, Desc: true}}
	ratingOrders := []rating.Order{rating.ByKey, rating.NewestFirst}
	at := binary.BigEndian.AppendUint64(nil, uint64(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()))
	for _, place := range [][]byte{
		append([]byte("\x03abc"), at...), []byte("\x03abc\x01\x17\xf3\x00\x00"), []byte("\x03abctitle"),
		append([]byte("\x01a"), binary.BigEndian.AppendUint64(nil,
			math.Float64bits(4.5))...),
		append([]byte("\x01a"), binary.BigEndian.AppendUint64(nil,
			math.Float64bits(math.Inf(-1)))...), []byte("a:b"), append(at, "a:b"...), {}, {0}, {255}, []byte("\x02.."),
	} {
		f.Add(httpapi.SealCursor(7, place), uint64(7))
	}
	f.Add("", uint64(0))
	f.Add("AQ==", uint64(0))
	f.Add(httpapi.SealCursor(7, []byte("a:b"))+"\n", uint64(7))
	f.Fuzz(func(t *testing.T, s string, bound uint64) {
		place, code := httpapi.OpenCursor(s, bound)
		if code != "" {
			if place != nil || code != "invalid_cursor" && code != "cursor_mismatch" {
				t.Fatalf("%q: %q, %q", s, place, code)
			}
			// What would be found in it, if only its checksum were right?
			place = []byte(s)
		} else if httpapi.SealCursor(bound, place) != s {
			t.Fatalf("%q is accepted, but would be sealed as %q", s, httpapi.SealCursor(bound, place))
		}
		for _, o := range contentOrders {
			if again, ok := httpapi.ReopenContentPlace(o, place); ok && !bytes.Equal(again, place) {
				t.Fatalf("by %s, %q is the place %q", o.Field, place, again)
			}
		}
		for _, o := range ratingOrders {
			if again, ok := httpapi.ReopenRatingPlace(o, place); ok && !bytes.Equal(again, place) {
				t.Fatalf("order %d: %q is the place %q", o, place, again)
			}
		}
	})
}

// FuzzIfMatch: a change is let through by * or by the strong tag of the version, and by nothing
// else.
func FuzzIfMatch(f *testing.F) {
	for _, seed := range []string{`*`, `"c1.s0"`, `W/"c1.s0"`, `"a", "c1.s5"`, `"c1.s0`, `"c01.s0"`, `"c1.s-1"`, ``, `,`,
		`"a",,"c1.s0"`, `"a" "c1.s0"`, `""`, ` "c1.s0" `, `"c1.s0",`, `"*"`, `*,*`} {
		f.Add(seed, int64(1), int64(0))
	}
	f.Fuzz(func(t *testing.T, value string, version, revision int64) {
		matches, ok := httpapi.IfMatch([]string{value}, version)
		named := false
		for part := range strings.SplitSeq(value, `"`) {
			named = named || strings.HasPrefix(`"`+part+`"`, strings.SplitAfter(httpapi.ETag(version, 0), ".s")[0])
		}
		star := strings.TrimSpace(value) == "*"
		if matches && (!ok || !star && !named) {
			t.Fatalf("If-Match: %s lets a change of version %d through", value, version)
		}
		if star && !matches {
			t.Fatal("* does not match")
		}
		own := httpapi.ETag(version, revision)
		for _, with := range []string{own, own + ", " + value} {
			if m, ok := httpapi.IfMatch([]string{with}, version); ok && !m || with == own && !ok {
				t.Fatalf("If-Match: %s does not let its own version through", with)
			}
		}
		if m, _ := httpapi.IfMatch([]string{"W/" + own}, version); m {
			t.Fatal("a weak tag matches")
		}
		if httpapi.NotModified([]string{value}, version, revision) && !star && !strings.Contains(value, own) {
			t.Fatalf("If-None-Match: %s finds %s", value, own)
		}
		if !httpapi.NotModified([]string{own}, version, revision) || !httpapi.NotModified([]string{"W/" + own}, version,
			revision) {
			t.Fatalf("If-None-Match does not find %s", own)
		}
	})
}

// FuzzPrefer: whatever a client prefers, it waits within the bounds, and only if it says so.
func FuzzPrefer(f *testing.F) {
	for _, seed := range []string{"respond-async", "wait=5", `wait="5"`, "Wait=5; x", "respond-async, wait=100",
		"handling=lenient", "handling=strict, handling=lenient", "wait=-1", "wait=99999999999999999999",
		"wait=1, wait=9", ",,;=", `x="a,wait=5"`, "wait=5,return=minimal"} {
		f.Add(seed, "wait=3")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		async, waiting, lenient, wait := httpapi.Prefer([]string{one, two})
		lower := strings.ToLower(one + "," + two)
		switch {
		case wait < 0 || wait > httpapi.MaxWait || wait%time.Second != 0, wait != 0 && !waiting:
			t.Fatalf("waits %v", wait)
		case async && !strings.Contains(lower, "respond-async"), waiting && !strings.Contains(lower, "wait"), lenient &&
			!strings.Contains(lower, "lenient"):
			t.Fatalf("%q, %q: async %v, waiting %v, lenient %v", one, two, async, waiting, lenient)
		}
		a, w, l, d := httpapi.Prefer([]string{one + "," + two})
		if a != async || w != waiting || l != lenient || d != wait {
			t.Fatalf("%q, %q: in one line it is something else", one, two)
		}
	})
}

// FuzzProblem: whatever names clients make up, they get a problem document of the right shape, and
// a short one.
func FuzzProblem(f *testing.F) {
	for _, seed := range []string{"", "score", "a/b~c", "a b", "é", "\x00", "\xff", `"`, "<script>",
		strings.Repeat("x", 9000), "\u2028", "%41", "#", "?a=b", "..", "\r\nX: y"} {
		f.Add("GET", "/api/"+seed, seed, seed)
		f.Add(seed, seed, "id", "name")
	}
	f.Fuzz(func(t *testing.T, method, path, id, name string) {
		w := httpapi.Problem(method, path, id, name)
		h := w.Header()
		h.Set("X-Request-Id", requestIDOf(w.Body.Bytes()))
		a := answer{w.Code, h, w.Body.Bytes()}
		if !strings.HasPrefix(path, "/") {
			return // no server gets such a path
		}
		if err := soundProblem(request{path: path, body: name + id + method}, a); err != nil && method != "HEAD" {
			t.Fatalf("%v: %s", err, a)
		}
		if w.Body.Len() > 16<<10 || !sane.MatchString(h.Get("X-Request-Id")) {
			t.Fatalf("%d bytes, request id %q", w.Body.Len(), h.Get("X-Request-Id"))
		}
	})
}

// FuzzFields: what is picked is what was asked for, once each, and nothing that is not there.
func FuzzFields(f *testing.F) {
	for _, seed := range []string{"id", "id,title", "", ",", "id,", "id,id", "ID", " id", "id,nonsense",
		strings.Repeat("id,", 5000), "\x00", "\xff", "description", "id;title"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		picked, there, accepted := httpapi.Fields(value)
		if !accepted {
			if picked != nil {
				t.Fatalf("%q picks %q and is refused", value, picked)
			}
			return
		}
		if strings.Join(picked, ",") != value {
			t.Fatalf("%q picks %q", value, picked)
		}
		seen := map[string]bool{}
		for _, name := range picked {
			if !slices.Contains(there, name) || seen[name] {
				t.Fatalf("%q picks %q", value, picked)
			}
			seen[name] = true
		}
	})
}

func requestIDOf(body []byte) string {
	var p problemShape
	_ = json.Unmarshal(body, &p)
	return p.RequestID
}
