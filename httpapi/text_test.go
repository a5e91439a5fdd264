package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// I6: every field that takes text, and every character that may not be in it or that must, on every
// store. None gets as far as a database that would refuse it.
func TestRunes(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		var log testutil.Log
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log,
				nil))
		}})
		contentID := s.write(t, "A film")
		var controls, bidi []rune
		for r := rune(0); r < 0xa0; r++ {
			if r < 0x20 || r >= 0x7f {
				controls = append(controls, r)
			}
		}
		bidi = append(bidi, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069)
		persian := []rune{0x200c, 0x200d, 0x200e, 0x200f, 'ی', '😀'}
		n := 0
		send := func(field, value string) answer {
			n++
			switch field {
			case "title":
				return s.do(t, request{method: "POST", path: "contents/", as: ada, body: say("title", value)})
			case "description":
				return s.do(t, request{method: "PATCH", path: "contents/" + contentID + "/", as: ada, body: say("description",
					value)})
			case "username":
				return s.do(t, request{method: "POST", path: "users/", body: say("username", value, "password", password)})
			case "email":
				return s.do(t, request{method: "POST", path: "users/", body: say("username", fmt.Sprint("user", n), "password",
					password, "email", value+"@example.org")})
			case "rated content":
				return s.do(t, request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%s,"score":4}`,
					quoted(value))})
			default:
				return s.do(t, request{path: "contents/?" + url.Values{field: {value}}.Encode()})
			}
		}
		for _, field := range []string{"title", "description", "username", "email", "rated content", "author", "search"} {
			allowed := "" // beside what is allowed in every field
			switch field {
			case "description":
				allowed = "\t\n\r" + string(bidi)
			case "search":
				allowed = string(controls) + string(bidi) // what is no part of a word ends it
			}
			for _, r := range append(controls, bidi...) {
				if a := send(field, "abc"+string(r)+"def"); (a.status == 400) == strings.ContainsRune(allowed, r) ||
					a.status >= 500 {
					t.Errorf("%U in the %s: %s", r, field, a)
				}
			}
			if field == "title" || field == "description" || field == "search" {
				for _, r := range persian {
					if a := send(field, "می"+string(r)+"خواهم"); a.status >= 300 {
						t.Errorf("%U in the %s: %s", r, field, a)
					}
				}
			}
		}
		if strings.Contains(log.String(), "request failed") {
			t.Errorf("something got as far as the store: %s", log.String())
		}
	})
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// I2: what a compressed body holds is not looked at, however much it is.
func TestBomb(t *testing.T) { // not parallel: it looks at the memory that is taken
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	for range 100 {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	_ = w.Close()
	s := serve(t, setup{})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/contents/", bytes.NewReader(bomb.Bytes()))
	for name, value := range map[string]string{"Content-Type": "application/json", "Content-Encoding": "gzip",
		"Authorization": "Bearer " + s.tokens[ada]} {
		r.Header.Set(name, value)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a := httptest.NewRecorder()
	s.app.Handler().ServeHTTP(a, r)
	runtime.ReadMemStats(&after)
	if a.Code != http.StatusUnsupportedMediaType {
		t.Errorf("%d bytes that are 100 MiB: %d", bomb.Len(), a.Code)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 8<<20 {
		t.Errorf("it took %d bytes", taken)
	}
}

// Z7: other origins are told nothing that would let their pages read answers, and a cookie is not
// looked at.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	for path, methods := range s.app.Handler().(*httpapi.API).Routes() {
		path := "/api" + strings.ReplaceAll(path, ":id", "none")
		for _, method := range append(methods, "OPTIONS") { // do looks for Access-Control-* in every answer
			s.do(t, request{method: method, path: path, as: ada, body: `{}`, header: map[string]string{
				"Origin": "https://evil.example", "Access-Control-Request-Method": method,
				"Access-Control-Request-Headers": "authorization", "Sec-Fetch-Site": "cross-site"}})
		}
	}
	token := s.tokens[ada]
	for _, cookie := range []string{"access=" + token, "Authorization=Bearer " + token, "token=" + token, "session=" +
		token} {
		if err := s.want(t, 401, request{path: "users/me/", header: map[string]string{"Cookie": cookie}}); err != nil {
			t.Errorf("with a cookie: %v", err)
		}
	}
}

// I15: text that would be markup in a page leaves escaped, and comes back as it was.
func TestMarkup(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		const title = `</script><script>alert(1)</script>&<!--` + "\u2028"
		made := s.do(t, request{method: "POST", path: "contents/", as: ada, body: say("title", title, "description",
			title)})
		for _, a := range []answer{made, s.get(t, nobody, "contents/"+made.text(t, "id")+"/"),
			s.get(t, nobody, "contents/")} {
			if bytes.ContainsAny(a.body, "<>&\u2028") {
				t.Errorf("markup leaves as it is: %s", a)
			}
		}
		if got := s.get(t, nobody, "contents/"+made.text(t, "id")+"/"); got.text(t, "title") != title ||
			got.text(t, "description") != title {
			t.Errorf("it came back as %s", got)
		}
	})
}
