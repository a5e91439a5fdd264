package httpapi_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
)

// TestScores tries every spelling of a score, and checks that what is refused changes nothing.
func TestScores(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		ratingID := s.rate(t, ada, contentID, 3)
		for score, want := range map[string]string{
			`0`:                      "validation_failed #/score=min_value",
			`-1`:                     "validation_failed #/score=min_value",
			`6`:                      "validation_failed #/score=max_value",
			`99999999999999999999`:   "validation_failed #/score=max_value",
			`-99999999999999999999`:  "validation_failed #/score=min_value",
			`4.5`:                    "validation_failed #/score=invalid",
			`5.00000000000000000001`: "validation_failed #/score=invalid", // a float64 would make it 5
			`45e-1`:                  "validation_failed #/score=invalid",
			`5e-400`:                 "validation_failed #/score=invalid",
			`0.0`:                    "validation_failed #/score=min_value",
			`-0`:                     "validation_failed #/score=min_value",
			`0e99999999999999999999`: "validation_failed #/score=min_value",
			`60e-1`:                  "validation_failed #/score=max_value",
			`1e400`:                  "validation_failed #/score=max_value",
			`-1e400`:                 "validation_failed #/score=min_value",
			`1e99999999999999999999`: "validation_failed #/score=max_value",
			`9007199254740993`:       "validation_failed #/score=max_value",
			`"5"`:                    "validation_failed #/score=invalid",
			`true`:                   "validation_failed #/score=invalid",
			`[5]`:                    "validation_failed #/score=invalid",
			`{"a":5}`:                "validation_failed #/score=invalid",
			`null`:                   "validation_failed #/score=null",
			`05`:                     "malformed_json",
			`+5`:                     "malformed_json",
			`0x5`:                    "malformed_json",
			`NaN`:                    "malformed_json",
			`5,"score":5`:            "validation_failed #/score=repeated",
			`5,"Score":5`:            "validation_failed #/Score=unknown_field",
			`5,"ſcore":5`:            "validation_failed #/%C5%BFcore=unknown_field",
			`5,"\u0073core":1`:       "validation_failed #/score=repeated",
			`5,"id":"x"`:             "validation_failed #/id=read_only",
			`5,"a b":1,"a/b~":1`:     "validation_failed #/a%20b=unknown_field #/a~1b~0=unknown_field",
			`9,"":1,"x":{"y":[1,2]}`: "validation_failed #/=unknown_field #/x=unknown_field #/score=max_value",
		} {
			for _, r := range []request{
				{method: "POST", path: "ratings/", body: fmt.Sprintf(`{"content":%q,"score":%s}`, contentID, score)},
				{method: "PUT", path: "ratings/" + ratingID + "/", body: fmt.Sprintf(`{"score":%s}`, score)},
				{method: "PATCH", path: "ratings/" + ratingID + "/", body: fmt.Sprintf(`{"score":%s}`, score)},
				{method: "PUT", path: "contents/" + contentID + "/rating/", body: fmt.Sprintf(`{"score":%s}`, score)},
			} {
				r.as = ada
				if a := s.do(t, r); a.status != 400 || a.problem() != want {
					t.Errorf("%s %s with score %s: %s\n got %q\nwant %q", r.method, r.path, score, a, a.problem(), want)
				}
			}
		}
		s.runAll(t, []exchange{
			{"no score", request{method: "POST", path: "ratings/", as: ada, body: `{"content":"` + contentID + `"}`}, 400,
				"validation_failed #/score=required"},
			{"no content", request{method: "POST", path: "ratings/", as: ada, body: `{"score":5}`}, 400,
				"validation_failed #/content=required"},
			{"nothing", request{method: "POST", path: "ratings/", as: ada, body: `{}`}, 400,
				"validation_failed #/content=required #/score=required"},
			{"a number for the content", request{method: "POST", path: "ratings/", as: ada, body: `{"content":7,"score":0}`},
				400, "validation_failed #/content=invalid #/score=min_value"},
			{"an unknown content", request{method: "POST", path: "ratings/", as: ada, body: `{"content":"none","score":5}`},
				400, "validation_failed #/content=does_not_exist"},
			{"no identifier", request{method: "POST", path: "ratings/", as: ada, body: `{"content":"..","score":5}`}, 400,
				"validation_failed #/content=does_not_exist"},
			{"a NUL", request{method: "POST", path: "ratings/", as: ada, body: `{"content":"a\u0000","score":5}`}, 400,
				"validation_failed #/content=does_not_exist"},
			{"somebody else as rater", request{method: "POST", path: "ratings/", as: sam, body: `{"content":"` + contentID +
				`","score":5,"rater":"` + s.ids[ada] + `"}`}, 400, "validation_failed #/rater=read_only"},
			{"PUT without a score", request{method: "PUT", path: "ratings/" + ratingID + "/", as: ada, body: `{}`}, 400,
				"validation_failed #/score=required"},
			{"PATCH of nothing", request{method: "PATCH", path: "ratings/" + ratingID + "/", as: ada, body: `{}`}, 200, ""},
		})
		if a := s.get(t, ada, "ratings/"+ratingID+"/"); a.at(t, "score") != 3.0 || a.at(t, "state") != "stored" {
			t.Errorf("after all that was refused the rating is %s", a)
		}
	})
}

// TestWholeNumbers: a whole number is a score however it is written, as JSON Schema has it.
func TestWholeNumbers(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	contentID := s.write(t, "A film")
	ratingID := s.rate(t, ada, contentID, 3)
	for score, want := range map[string]float64{`5.0`: 5, `5.000`: 5, `5e0`: 5, `4E0`: 4, `40e-1`: 4, `0.4e1`: 4,
		`4e+00`: 4, `200.00E-2`: 2, `0.002e3`: 2} {
		for _, r := range []request{
			{method: "POST", path: "ratings/", prefer: "wait=10",
				body: fmt.Sprintf(`{"content":%q,"score":%s}`, contentID, score)},
			{method: "PUT", path: "ratings/" + ratingID + "/", body: fmt.Sprintf(`{"score":%s}`, score)},
			{method: "PATCH", path: "ratings/" + ratingID + "/", body: fmt.Sprintf(`{"score":%s}`, score)},
			{method: "PUT", path: "contents/" + contentID + "/rating/", body: fmt.Sprintf(`{"score":%s}`, score)},
		} {
			r.as = ada
			if a := s.insist(t, r); a.status != 200 || a.at(t, "score") != want {
				t.Errorf("%s %s with score %s: %s", r.method, r.path, score, a)
			}
		}
	}
}

// TestMalformedBodies sends what two readers of JSON could understand differently, and what none
// understands.
func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	nested := func(depth int) string {
		return `{"title":"t","x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
	}
	many := func(values int) string { // beside the object, the title and the list
		return `{"title":"t","x":[1` + strings.Repeat(",1", values-4) + `]}`
	}
	for body, want := range map[string]string{
		many(1_000):                       "validation_failed #/x=unknown_field",
		many(1_001):                       "malformed_json",
		`{`:                               "malformed_json",
		`}`:                               "malformed_json",
		` `:                               "malformed_json",
		`{"title":"t"`:                    "malformed_json",
		`{"title":"t"}}`:                  "malformed_json",
		`{"title":"t"} x`:                 "malformed_json",
		`{"title":"t"}{}`:                 "malformed_json",
		`{"title":"t",}`:                  "malformed_json",
		`{,"title":"t"}`:                  "malformed_json",
		`{"title" "t"}`:                   "malformed_json",
		`{"title":"t" "description":"d"}`: "malformed_json",
		`{title:"t"}`:                     "malformed_json",
		`{'title':'t'}`:                   "malformed_json",
		`{"title":"t"/**/}`:               "malformed_json",
		"{\"title\":\"a\nb\"}":            "malformed_json",
		`{"title":"\x41"}`:                "malformed_json",
		`{"title":"\ud800"}`:              "malformed_json",
		`{"title":"\ud800\ud800"}`:        "malformed_json",
		`{"title":"\udc00\ud800"}`:        "malformed_json",
		`{"title":"\ud83dx\ude00"}`:       "malformed_json",
		`{"\udead":1}`:                    "malformed_json",
		`{"title":"\u12"}`:                "malformed_json",
		"{\"title\":\"\xff\"}":            "malformed_json",
		"{\"title\":\"\xed\xa0\x80\"}":    "malformed_json", // a surrogate in UTF-8
		"{\"title\":\"\xc0\xaf\"}":        "malformed_json", // an overlong slash
		"\ufeff{\"title\":\"t\"}":         "malformed_json",
		"{\x00}":                          "malformed_json",
		`null`:                            "not_an_object",
		`[]`:                              "not_an_object",
		`[{"title":"t"}]`:                 "not_an_object",
		`"title"`:                         "not_an_object",
		`5`:                               "not_an_object",
		`false`:                           "not_an_object",
		`5 5`:                             "malformed_json",
		nested(8):                         "validation_failed #/x=unknown_field",
		nested(9):                         "malformed_json",
		strings.Repeat("[", 100_000):      "malformed_json",
		strings.Replace(nested(8), "[]", `[1,"a"]`, 1): "validation_failed #/x=unknown_field",
		`{"title":"a","title":"a"}`:                    "validation_failed #/title=repeated",
		`{"title":"a","Title":"a"}`:                    "validation_failed #/Title=unknown_field",
		`{"title":"a","x":{"y":1,"y":2}}`:              "validation_failed #/y=repeated",
		`{"title":null}`:                               "validation_failed #/title=null",
		`{"title":"t","description":null}`:             "validation_failed #/description=null",
		`{"title":5}`:                                  "validation_failed #/title=invalid",
		`{}`:                                           "validation_failed #/title=required",
		`{"title":""}`:                                 "validation_failed #/title=blank",
		`{"title":" \u00a0\t"}`:                        "validation_failed #/title=blank",
		`{"title":"a\u0000b"}`:                         "validation_failed #/title=bad_character",
		`{"title":"a\nb"}`:                             "validation_failed #/title=bad_character",
		`{"title":"a\u202eb"}`:                         "validation_failed #/title=bad_character",
		`{"title":"t","description":"\u0085"}`:         "validation_failed #/description=bad_character",
		`{"title":"` + strings.Repeat("آ", 256) + `"}`: "validation_failed #/title=max_length",
		`{"title":"","description":"\u0000"}`:          "validation_failed #/title=blank #/description=bad_character",
		`{"description":7,"nonsense":1}`: "validation_failed #/title=required #/description=invalid " +
			"#/nonsense=unknown_field",
	} {
		a := s.do(t, request{method: "POST", path: "contents/", as: ada, body: body})
		if a.status != 400 || a.problem() != want {
			t.Errorf("%.80q: %s\n got %q\nwant %q", body, a, a.problem(), want)
		}
	}
	if a := s.get(t, nobody, "contents/?count=exact"); a.at(t, "count") != 0.0 {
		t.Errorf("after all that was refused there are contents: %s", a)
	}
	for _, body := range []string{
		"\t{ \"title\" : \"t\" }\r\n",
		`{"title":"\ud83d\ude00 \u00e9 <script> \\ud800"}`,
		`{"title":"` + strings.Repeat("آ", 255) + `","description":"a\tb\r\nc\u202e"}`,
		"{\"title\":\"می\u200cخواهم\u200d\u200e\u200f\"}",
		`{"t\u0069tle":"t"}`,
	} {
		if a := s.do(t, request{method: "POST", path: "contents/", as: ada, body: body}); a.status != 201 {
			t.Errorf("%.80q: %s", body, a)
		}
	}
}

// TestManyUnknownFields checks that an answer does not grow with what was made up.
func TestManyUnknownFields(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	var b strings.Builder
	b.WriteString(`{"title":"t"`)
	for i := range 2000 {
		fmt.Fprintf(&b, `,"%s%d":1`, strings.Repeat("x", 200), i)
	}
	b.WriteString(`}`)
	a := s.do(t, request{method: "POST", path: "contents/", as: ada, body: b.String()})
	if a.status != 400 || len(a.body) > 16<<10 {
		t.Errorf("%d with %d bytes", a.status, len(a.body))
	}
	a = s.get(t, nobody, "contents/?"+strings.Repeat("y", 4000)+"=1&fields="+strings.Repeat("z", 3000))
	if a.status != 400 || len(a.body) > 4<<10 {
		t.Errorf("%d with %d bytes", a.status, len(a.body))
	}
}

// TestSizes sends bodies of exactly the greatest size and one byte more, with and without saying so
// in front.
func TestSizes(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	contentID := s.write(t, "A film")
	pad := func(body string, size int) string { return body + strings.Repeat(" ", size-len(body)) }
	rating := fmt.Sprintf(`{"content":%q,"score":5}`, contentID)
	for _, chunked := range []bool{false, true} {
		for _, x := range []struct {
			path, body string
			limit, ok  int
		}{
			{"contents/", `{"title":"t"}`, 1 << 20, 201},
			{"ratings/", rating, 4 << 10, 202},
			{"users/login/", `{"username":"ada","password":"` + password + `"}`, 4 << 10, 200},
		} {
			r := request{method: "POST", path: x.path, as: ada, chunked: chunked}
			r.body = pad(x.body, x.limit)
			if a := s.do(t, r); a.status != x.ok {
				t.Errorf("%s, %d bytes, chunked %v: %s", x.path, x.limit, chunked, a)
			}
			r.body = pad(x.body, x.limit+1)
			if a := s.do(t, r); a.status != 413 || a.problem() != "too_large" {
				t.Errorf("%s, %d bytes, chunked %v: %s", x.path, x.limit+1, chunked, a)
			}
		}
		a := s.do(t, request{method: "POST", path: "contents/", as: ada, chunked: chunked,
			body: `{"title":"t","description":"` + strings.Repeat(`\ud83d\ude00`, 65_536) + `"}`})
		if a.status != 201 {
			t.Errorf("the longest description, escaped: %d", a.status)
		}
	}
	for _, x := range []exchange{
		{"where there is no body", request{method: "GET", path: "contents/", body: `{"title":"t"}`}, 400,
			"body_not_allowed"},
		{"where there is none, at length", request{method: "DELETE", path: "contents/" + contentID + "/", as: ada,
			body: strings.Repeat("a", 1<<20)}, 413, "too_large"},
		{"an empty object is no body", request{method: "POST", path: "contents/" + contentID + "/stats/recalculate/",
			as: sam, body: " {} "}, 202, ""},
		{"an empty body, chunked", request{method: "DELETE", path: "contents/" + contentID + "/", as: ada, body: " ",
			chunked: true}, 204, ""},
	} {
		s.runAll(t, []exchange{x})
	}
	// 2 MB may be cut off while they are sent, but never taken.
	if a, err := s.send(t, request{method: "POST", path: "contents/", as: ada, body: pad(`{"title":"t"}`,
		2<<20)}); err == nil && a.status != 413 {
		t.Errorf("2 MB: %s", a)
	}
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	for _, x := range []struct {
		contentType string
		status      int
	}{
		{"application/json", 201},
		{"Application/JSON", 201},
		{"application/json; charset=utf-8", 201},
		{`application/json;charset="UTF-8"`, 201},
		{"application/json; charset=utf-16", 415},
		{"application/json; charset=iso-8859-1", 415},
		{"application/json; boundary=x", 415},
		{"application/merge-patch+json", 415},
		{"application/x-www-form-urlencoded", 415},
		{"multipart/form-data; boundary=x", 415},
		{"text/plain", 415},
		{"text/json", 415},
		{"application/json, text/plain", 415},
		{"json", 415},
		{";", 415},
		{"", 415},
	} {
		a := s.do(t, request{method: "POST", path: "contents/", as: ada, body: `{"title":"t"}`,
			header: map[string]string{"Content-Type": x.contentType}})
		if a.status != x.status {
			t.Errorf("Content-Type %q: %s", x.contentType, a)
		}
	}
	for encoding, status := range map[string]int{"identity": 201, "Identity": 201, "gzip": 415, "br": 415,
		"identity, gzip": 415, "x": 415} {
		var body bytes.Buffer
		w := gzip.NewWriter(&body)
		_, _ = w.Write([]byte(`{"title":"t"}`))
		_ = w.Close()
		if status == 201 {
			body.Reset()
			body.WriteString(`{"title":"t"}`)
		}
		a := s.do(t, request{method: "POST", path: "contents/", as: ada, body: body.String(),
			header: map[string]string{"Content-Encoding": encoding}})
		if a.status != status {
			t.Errorf("Content-Encoding %q: %s", encoding, a)
		}
	}
	for accept, status := range map[string]int{
		"*/*": 200, "application/json": 200, "application/*": 200, "text/html, */*;q=0.1": 200,
		"application/json; q=0.2": 200, " ": 200,
		"application/problem+json": 200, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": 200,
		"text/html": 406, "application/json;q=0": 406, "application/json;q=0, */*": 406, "text/*": 406,
		"application/xml": 406,
	} {
		if a := s.do(t, request{path: "contents/", header: map[string]string{"Accept": accept}}); a.status != status {
			t.Errorf("Accept %q: %s", accept, a)
		}
	}
}

// TestBrokenBodies sends bodies that end too early, or not in time.
func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	patient := serve(t, setup{})
	hasty := serve(t, setup{config: func(c *khodnevis.Config) { c.Limits.ReadTimeout = 50 * time.Millisecond }})
	for _, x := range []struct {
		target, problem string
		hangUp          bool
		token           string
	}{
		{"POST /api/contents/", "incomplete_body", true, ada}, {"POST /api/contents/", "timeout", false,
			ada}, {"POST /api/users/login/", "timeout", false, ada},
		{"POST /api/users/logout/", "timeout", false, ada}, {"GET /api/contents/", "timeout", false, ada},
		// Before the body is waited for.
		{"POST /api/ratings/", "invalid_token", false, nobody}, {"POST /api/ratings/", "invalid_token", true, nobody},
	} {
		s := hasty
		if x.hangUp {
			s = patient
		}
		conn := s.dial(t)
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer "+
			"%s\r\nContent-Length: 100\r\n\r\n{", x.target, s.tokens[x.token])
		if x.hangUp {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", x.problem, err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		got := answer{resp.StatusCode, resp.Header, body}
		if got.problem() != x.problem || got.status == 408 && !resp.Close {
			t.Errorf("%s: %s, want %s", x.target, got, x.problem)
		}
	}
}
