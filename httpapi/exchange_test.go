package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// request is what a test sends.
type request struct {
	method string // GET if empty
	path   string // below the prefix, or with a slash in front as it is
	as     string // one of the people
	body   string
	prefer string
	header map[string]string
	// faulty allows an answer of 500 and above.
	faulty bool
	// refused expects the refusal of a hook, whose statuses and codes are the host's and in no schema.
	refused bool
	// chunked sends the body without saying how long it is.
	chunked bool
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

var client = &http.Client{
	Timeout:       20 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends a request and checks what holds for every answer.
func (s *server) do(t *testing.T, r request) answer {
	t.Helper()
	a, err := s.send(t, r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	if err := sound(r, a); err != nil {
		t.Errorf("%s %s as %q answers %s\n%v\n%v", r.method, r.path, r.as, a, a.header, err)
	}
	return a
}

// insist is do for what a test only prepares: a server on a busy machine may answer 503 or 202, and
// is asked again.
func (s *server) insist(t *testing.T, r request) (a answer) {
	t.Helper()
	r.faulty = true
	testutil.Eventually(t, 30*time.Second, r.method+" "+r.path+" is done", func() bool {
		a = s.do(t, r)
		return a.status != http.StatusServiceUnavailable && a.status != http.StatusAccepted
	})
	return a
}

func (s *server) get(t *testing.T, as, path string) answer {
	t.Helper()
	return s.do(t, request{path: path, as: as})
}

// send sends a request and compares what happens with the schema. It may be called from any
// goroutine.
func (s *server) send(t testing.TB, r request) (answer, error) {
	if r.method == "" {
		r.method = http.MethodGet
	}
	target := s.url + r.path
	if !strings.HasPrefix(r.path, "/") {
		target = s.url + s.prefix + r.path
	}
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	if r.chunked {
		body = io.MultiReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), r.method, target, body)
	if err != nil {
		return answer{}, err
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.as != nobody {
		req.Header.Set("Authorization", "Bearer "+s.tokens[r.as])
	}
	if r.prefer != "" {
		req.Header.Set("Prefer", r.prefer)
	}
	for name, value := range r.header {
		if value == "" {
			req.Header.Del(name)
		} else {
			req.Header.Set(name, value)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	a := answer{resp.StatusCode, resp.Header, raw}
	if err == nil && !r.refused {
		if wrong := s.agrees(req, r.body, a); wrong != nil {
			t.Errorf("%s %s as %q with %.200q answers %s\n%v", r.method, r.path, r.as, r.body, a, wrong)
		}
	}
	return a, err
}

// agrees compares an exchange with the server's schema.
func (s *server) agrees(r *http.Request, body string, a answer) error {
	c, err := contractOf(s.app.Handler().(*httpapi.API).Schema())
	if err != nil {
		return err
	}
	return c.check(s.prefix, s.app.Users == nil, r, body, a)
}

// at returns a value of a JSON answer by its path, such as "results.0.id".
func (a answer) at(t *testing.T, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	for step := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[step]; !ok {
				t.Fatalf("%s has no %s", a, path)
			}
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(x) {
				t.Fatalf("%s has no %s", a, path)
			}
			v = x[i]
		default:
			t.Fatalf("%s has no %s", a, path)
		}
	}
	return v
}

func (a answer) text(t *testing.T, path string) string {
	t.Helper()
	s, ok := a.at(t, path).(string)
	if !ok {
		t.Fatalf("%s: %s is no string", a, path)
	}
	return s
}

// list returns one member of all results.
func (a answer) list(t *testing.T, member string) []string {
	t.Helper()
	var got []string
	for i := range a.at(t, "results").([]any) {
		got = append(got, fmt.Sprint(a.at(t, fmt.Sprintf("results.%d.%s", i, member))))
	}
	return got
}

// problem sums up an error: its code, then what is wrong with which field, parameter or header. For
// other answers it is empty.
func (a answer) problem() string {
	if a.status < 400 {
		return ""
	}
	var p problemShape
	if json.Unmarshal(a.body, &p) != nil {
		return string(a.body)
	}
	s := p.Code
	for _, e := range p.Errors {
		where := e.Header
		switch {
		case e.Parameter != nil:
			where = "?" + *e.Parameter
		case e.Pointer != nil:
			where = *e.Pointer
		}
		s += " " + where + "=" + e.Code
	}
	return s
}

// problemShape has every member that a problem document may have.
type problemShape struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance"`
	RequestID string `json:"request_id"`
	Outcome   string `json:"outcome"`
	Errors    []struct {
		Pointer   *string        `json:"pointer"`
		Field     string         `json:"field"`
		Parameter *string        `json:"parameter"`
		Header    string         `json:"header"`
		Code      string         `json:"code"`
		Detail    string         `json:"detail"`
		Params    map[string]any `json:"params"`
	} `json:"errors"`
}

var (
	sane   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	word   = regexp.MustCompile(`^[a-z][a-z_]*$`)
	number = regexp.MustCompile(`^[1-9][0-9]*$`)
	// leaks are signs of the inside in what goes out.
	leaks = regexp.MustCompile(
		`(?i)\bpq:|\bsql|goroutine|127\.0\.0\.1|panic|\.go:|memstore|httpapi:|/tmp/|runtime|\binvalid character\b`,
	)
)

// sound checks what holds for every answer.
func sound(r request, a answer) error {
	h := a.header
	policy := "default-src 'none'; frame-ancestors 'none'"
	page := strings.Contains(r.path, "docs") && a.status < 400 && r.method != http.MethodOptions
	if page {
		policy = pagePolicy
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "no-referrer",
		"Content-Security-Policy": policy,
		"Vary":                    "Authorization, Accept-Encoding",
	} {
		if got := h.Get(name); got != want {
			return fmt.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if !sane.MatchString(h.Get("X-Request-Id")) {
		return fmt.Errorf("the X-Request-Id is %q", h.Get("X-Request-Id"))
	}
	for name := range h {
		if name == "Server" || strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" ||
			name == "X-Powered-By" {
			return fmt.Errorf("there is a header %s", name)
		}
	}
	if c := h.Get("Cache-Control"); !slices.Contains([]string{"no-store", "private, no-cache",
		"public, max-age=0, must-revalidate"}, c) {
		return fmt.Errorf("Cache-Control is %q", c)
	}
	if r.as != nobody && strings.HasPrefix(h.Get("Cache-Control"), "public") {
		return fmt.Errorf("an answer to somebody is public")
	}
	if a.status >= 300 && a.status < 304 || a.status == 307 || a.status == 308 {
		return fmt.Errorf("it redirects to %q", h.Get("Location"))
	}
	switch {
	case a.status >= 500 && !r.faulty:
		return fmt.Errorf("the server failed")
	case a.status == 204 || a.status == 304:
		if len(a.body) > 0 || h.Get("Content-Type") != "" {
			return fmt.Errorf("there is a body of type %q", h.Get("Content-Type"))
		}
		return nil
	case r.method == http.MethodHead:
		return nil
	case a.status >= 400:
		return soundProblem(r, a)
	case page:
		return nil
	}
	if h.Get("Content-Type") != "application/json" || !json.Valid(a.body) {
		return fmt.Errorf("the body is no JSON of type application/json")
	}
	return nil
}

// soundProblem checks the shape of a problem document.
func soundProblem(r request, a answer) error {
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		return fmt.Errorf("a problem has the type %q", got)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		return fmt.Errorf("a problem has Cache-Control %q", got)
	}
	if at := leaks.FindString(string(a.body)); at != "" && !strings.Contains(r.path+r.body, at) {
		return fmt.Errorf("the problem tells %q", at)
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	var p problemShape
	if err := d.Decode(&p); err != nil {
		return fmt.Errorf("not the shape of a problem: %w", err)
	}
	switch {
	case p.Status != a.status,
		p.Type != "urn:khodnevis:problem:"+p.Code,
		!word.MatchString(p.Code),
		p.Title == "",
		p.Detail == "":
		return fmt.Errorf("type, title, status, code and detail do not agree")
	case p.RequestID != a.header.Get("X-Request-Id"):
		return fmt.Errorf("the request_id is not that of the header")
	case !strings.HasPrefix(p.Instance, "/"):
		return fmt.Errorf("the instance is %q", p.Instance)
	case p.Code == "validation_failed" != (len(p.Errors) > 0) && !strings.HasSuffix(p.Code, "cursor") &&
		p.Code != "cursor_mismatch" && p.Code != "query_too_broad" && !r.refused:
		return fmt.Errorf("errors and code do not agree")
	case p.Outcome != "" && p.Outcome != "unknown" && p.Outcome != "not_accepted":
		return fmt.Errorf("the outcome is %q", p.Outcome)
	}
	needs := map[int]string{401: "Www-Authenticate", 405: "Allow", 415: "Accept", 429: "Retry-After", 503: "Retry-After"}
	if name := needs[a.status]; name != "" && a.header.Get(name) == "" {
		return fmt.Errorf("there is no %s", name)
	}
	if v := a.header.Get("Retry-After"); v != "" && !number.MatchString(v) {
		return fmt.Errorf("Retry-After is %q", v)
	}
	for _, e := range p.Errors {
		places := 0
		if e.Pointer != nil {
			places++
			token, ok := strings.CutPrefix(*e.Pointer, "#/")
			token, err := url.PathUnescape(token)
			if name := strings.NewReplacer("~1", "/", "~0", "~").Replace(token); !ok || err != nil || name != e.Field {
				return fmt.Errorf("the pointer %q does not point to the field %q", *e.Pointer, e.Field)
			}
			if u, err := url.Parse(*e.Pointer); err != nil || u.String() != *e.Pointer {
				return fmt.Errorf("the pointer %q is no URI reference", *e.Pointer)
			}
		}
		if e.Parameter != nil {
			places++
		}
		if e.Header != "" {
			places++
		}
		if places != 1 || e.Pointer == nil && e.Field != "" || !word.MatchString(e.Code) || e.Detail == "" {
			return fmt.Errorf("the error %+v does not say what is wrong where", e)
		}
	}
	return nil
}

// exchange is a request and the answer that it must get.
type exchange struct {
	name string
	request
	status int
	// problem is what answer.problem returns.
	problem string
}

// run does exchanges one after the other.
func (s *server) runAll(t *testing.T, all []exchange) {
	t.Helper()
	for _, x := range all {
		a := s.do(t, x.request)
		if a.status != x.status || a.problem() != x.problem {
			name := x.name
			if name == "" {
				name = strings.TrimSpace(x.method + " " + x.path)
			}
			t.Errorf("%s:\n got %d %q\nwant %d %q\nbody %s", name, a.status, a.problem(), x.status, x.problem, a.body)
		}
	}
}

// keys returns the members of the JSON object at path, sorted.
func (a answer) keys(t *testing.T, path string) []string {
	t.Helper()
	var v any
	if path == "" {
		if err := json.Unmarshal(a.body, &v); err != nil {
			t.Fatal(err)
		}
	} else {
		v = a.at(t, path)
	}
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s: %s is no object", a, path)
	}
	return slices.Sorted(maps.Keys(m))
}
