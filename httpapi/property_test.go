package httpapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var schemaSeed = flag.Uint64("schema-seed", 0, "seed of TestSchemaProperties; 0 takes a new one")

// TestSchemaProperties makes requests from the schema: valid ones are never refused for what they
// look like, those with one mistake are never accepted, and nothing makes the server fail. The
// exchanges as such are checked by send.
func TestSchemaProperties(t *testing.T) {
	t.Parallel()
	seed := *schemaSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test -run '^TestSchemaProperties$' ./httpapi -schema-seed %d", seed)
	s := serve(t, setup{})
	g := newGenerator(t, s, seed)
	tried := map[string]int{}
	for range 6 {
		for _, op := range g.contract.operations {
			if op.Name == "logout" { // what follows needs the token
				continue
			}
			r := g.valid(op)
			a := g.do(t, r)
			if why := refusedForItsLooks(a); why != "" {
				t.Errorf("%s is valid, but refused for %s\n%+v\n%s", op.Name, why, r, a)
			}
			tried[op.Name]++
			bad, mistake := g.broken(op, g.valid(op))
			if mistake == "" {
				continue
			}
			if a := g.do(t, bad); a.status < 400 {
				t.Errorf("%s is accepted with %s\n%+v\n%s", op.Name, mistake, bad, a)
			}
		}
	}
	if len(tried) < 30 {
		t.Errorf("only %d operations are tried: %v", len(tried), slices.Sorted(maps.Keys(tried)))
	}
}

// refusedForItsLooks returns the code with which a request was refused that the schema could have
// foreseen, or nothing.
func refusedForItsLooks(a answer) string {
	// What depends on what is stored, or cannot be said in a schema.
	known := []string{"does_not_exist", "unique", "reserved", "password_blocked", "invalid_cursor", "cursor_mismatch",
		"query_too_broad"}
	if a.status != 400 {
		if slices.Contains([]int{405, 406, 408, 413, 414, 415}, a.status) {
			return strconv.Itoa(a.status)
		}
		return ""
	}
	var p problemShape
	if err := json.Unmarshal(a.body, &p); err != nil {
		return err.Error()
	}
	for _, e := range p.Errors {
		if !slices.Contains(known, e.Code) {
			return e.Code
		}
	}
	if len(p.Errors) == 0 && !slices.Contains(known, p.Code) {
		return p.Code
	}
	return ""
}

// generator makes requests from a schema.
type generator struct {
	*rand.Rand
	server   *server
	contract *contract
	document map[string]any
	ids      map[string][]string // that exist, by what stands before them in a path
	made     int
}

func newGenerator(t *testing.T, s *server, seed uint64) *generator {
	t.Helper()
	document := s.get(t, nobody, "schema/").body
	c, err := contractOf(document)
	if err != nil {
		t.Fatal(err)
	}
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), server: s, contract: c, ids: map[string][]string{}}
	if err := json.Unmarshal(document, &g.document); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		content := s.write(t, fmt.Sprintf("A film %d", i))
		rating := s.rate(t, []string{ada, ben, sam}[i%3], content, 4)
		g.ids["contents"], g.ids["ratings"] = append(g.ids["contents"], content), append(g.ids["ratings"], rating)
	}
	task := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: `{"content":"` + g.ids["contents"][0] +
		`","score":3}`})
	g.ids["tasks"] = []string{task.text(t, "task")}
	return g
}

// do sends a request, as somebody whose token is good.
func (g *generator) do(t *testing.T, r request) answer {
	t.Helper()
	a := g.server.do(t, r)
	if a.status == http.StatusUnauthorized && r.as != nobody {
		g.server.login(t, r.as) // the sessions were ended by an earlier request
	}
	return a
}

func pickOne[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// valid makes a request that the schema allows.
func (g *generator) valid(op operation) request {
	r := request{method: op.method, path: strings.Join(op.path, "/") + "/", as: pickOne(g, sam, sam, ada, ben),
		header: map[string]string{}}
	query := url.Values{}
	for _, p := range op.Parameters {
		switch p.In {
		case "path":
			known := g.ids[op.path[0]]
			id := pickOne(g, "none", "a.b", "x|y", "0")
			if op.path[0] == "ratings" {
				id = "none:none"
			}
			if len(known) > 0 && g.IntN(4) > 0 {
				id = pickOne(g, known...)
			}
			r.path = strings.Replace(r.path, "{id}", url.PathEscape(id), 1)
		case "query":
			if g.IntN(3) == 0 {
				query.Set(p.Name, text(g.value(p.Schema, p.Name)))
			}
		case "header":
			if g.IntN(3) == 0 {
				r.header[p.Name] = pickOne(g, map[string][]string{"Prefer": {"respond-async", "wait=1", "nothing"},
					"If-Match":      {"*", `"c1.s0"`, `W/"c1.s0", "x"`},
					"If-None-Match": {"*", `"c1.s0"`}, "Idempotency-Key": {fmt.Sprintf("key-%d", g.made)}}[p.Name]...)
			}
		}
	}
	if op.RequestBody != nil {
		body, err := json.Marshal(
			g.value(op.RequestBody.Content["application/json"].(map[string]any)["schema"].(map[string]any), ""),
		)
		if err != nil {
			panic(err)
		}
		r.body = string(body)
	}
	if len(query) > 0 {
		r.path += "?" + query.Encode()
	}
	return r
}

func text(v any) string {
	switch x := v.(type) {
	case []any:
		parts := make([]string, len(x))
		for i, e := range x {
			parts[i] = text(e)
		}
		return strings.Join(parts, ",")
	case time.Time:
		return x.Format(time.RFC3339)
	}
	return fmt.Sprint(v)
}

func (g *generator) resolve(schema map[string]any) map[string]any {
	for {
		ref, ok := schema["$ref"].(string)
		if !ok {
			return schema
		}
		schema = g.document["components"].(map[string]any)["schemas"].(map[string]any)[strings.TrimPrefix(ref,
			"#/components/schemas/")].(map[string]any)
	}
}

func bound(schema map[string]any, name string, otherwise int) int {
	if n, ok := schema[name].(float64); ok {
		return int(n)
	}
	return otherwise
}

// value makes a value that a schema allows. name is that of the member or parameter.
func (g *generator) value(schema map[string]any, name string) any {
	g.made++
	s := g.resolve(schema)
	if all, ok := s["enum"].([]any); ok {
		return pickOne(g, all...)
	}
	switch s["type"] {
	case "object":
		required, _ := s["required"].([]any)
		object := map[string]any{}
		properties := s["properties"].(map[string]any)
		for _, member := range slices.Sorted(maps.Keys(properties)) {
			p := g.resolve(properties[member].(map[string]any))
			if p["readOnly"] == true || !slices.Contains(required, any(member)) && g.IntN(2) == 0 {
				continue
			}
			object[member] = g.value(p, member)
		}
		return object
	case "array":
		all := slices.Clone(g.resolve(s["items"].(map[string]any))["enum"].([]any))
		g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return all[:1+g.IntN(len(all))]
	case "integer":
		least, greatest := bound(s, "minimum", -1000), bound(s, "maximum", 1000)
		return pickOne(g, least, greatest, least+int(g.Int64N(int64(greatest)-int64(least)+1)))
	case "number":
		return pickOne(g, 0, 4.5, -1, 1e3)
	case "boolean":
		return g.IntN(2) == 0
	}
	return g.text(s, name)
}

// text makes a string that a schema allows.
func (g *generator) text(s map[string]any, name string) string {
	switch {
	case s["format"] == "date-time":
		return time.Date(2001, 1, 1, 0, 0, g.made*100, 0, time.UTC).Format(time.RFC3339) // later ones are later
	case s["format"] == "username":
		return fmt.Sprintf("u%d-%s", g.made, strconv.FormatUint(g.Uint64()>>20, 36))
	case name == "email":
		return pickOne(g, "", "forough@example.org", "ali.reza+films@mail.example")
	case name == "content" || name == "id" || name == "author" || name == "rater":
		return pickOne(g, append(slices.Clone(g.ids["contents"]), g.server.ids[ada], "none", "me")...)
	case name == "cursor":
		return "AAAA"
	}
	const letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJ 0123456789 <&>'\"\\/%;+- «خودنویس» ß 🎬 \u200c"
	alphabet := []rune(letters)
	least, greatest := bound(s, "minLength", 0), bound(s, "maxLength", 60)
	n := pickOne(g, least, min(greatest, 300), least+g.IntN(min(greatest, 60)-least+1))
	if n == 0 {
		return ""
	}
	runes := make([]rune, n)
	for i := range runes {
		runes[i] = alphabet[g.IntN(len(alphabet))]
	}
	runes[0] = 'a' // not blank
	return string(runes)
}

// broken makes one mistake in a valid request, and names it.
func (g *generator) broken(op operation, r request) (request, string) {
	delete(r.header, "Prefer") // that could ask for lenience
	if op.RequestBody != nil && g.IntN(4) > 0 {
		return g.brokenBody(op, r)
	}
	var in []described
	for _, p := range op.Parameters {
		if p.In == "query" {
			in = append(in, p)
		}
	}
	path, search, _ := strings.Cut(r.path, "?")
	query, err := url.ParseQuery(search)
	if err != nil {
		panic(err)
	}
	mistake := "an unknown parameter"
	if len(in) == 0 || g.IntN(4) == 0 {
		query.Set("nonsense", "1")
	} else {
		p := pickOne(g, in...)
		bad := map[any][]string{"integer": {"", "x", "1.5", "99999999999999999999", "-2000000"}, "number": {"", "x", "NaN",
			"0x1p1", "1e999"}, "array": {"", "nonsense", "id,id"}}[p.Schema["type"]]
		switch {
		case p.Schema["enum"] != nil:
			bad = []string{"", "nonsense"}
		case p.Schema["format"] == "date-time":
			bad = []string{"", "yesterday", "2026-02-30T00:00:00Z", "2026-01-31"}
		case p.Schema["pattern"] != nil:
			bad = []string{"", "a b", strings.Repeat("a", 500)}
		case p.Schema["maxLength"] != nil:
			bad = []string{strings.Repeat("a", bound(p.Schema, "maxLength", 0)+1)}
		}
		if len(bad) == 0 || g.IntN(4) == 0 {
			query[p.Name] = []string{text(g.value(p.Schema, p.Name)), text(g.value(p.Schema, p.Name))}
			mistake = "a repeated " + p.Name
		} else {
			query.Set(p.Name, pickOne(g, bad...))
			mistake = fmt.Sprintf("%s=%s", p.Name, query.Get(p.Name))
		}
	}
	r.path = path + "?" + query.Encode()
	return r, mistake
}

func (g *generator) brokenBody(op operation, r request) (request, string) {
	schema := g.resolve(op.RequestBody.Content["application/json"].(map[string]any)["schema"].(map[string]any))
	properties := schema["properties"].(map[string]any)
	var writable []string
	for name, p := range properties {
		if g.resolve(p.(map[string]any))["readOnly"] != true {
			writable = append(writable, name)
		}
	}
	slices.Sort(writable)
	var body map[string]any
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		panic(err)
	}
	name := pickOne(g, writable...)
	p := g.resolve(properties[name].(map[string]any))
	required, _ := schema["required"].([]any)
	mistakes := map[string]func(){
		"an unknown member": func() { body["nonsense"] = 1 },
		name + " null":      func() { body[name] = nil },
		name + " a list":    func() { body[name] = []any{} },
	}
	if slices.Contains(required, any(name)) {
		mistakes["no "+name] = func() { delete(body, name) }
	}
	if p["type"] == "integer" {
		mistakes[name+" a text"] = func() { body[name] = "1" }
		mistakes[name+" too great"] = func() { body[name] = bound(p, "maximum", 0) + 1 }
		mistakes[name+" no integer"] = func() { body[name] = 1.5 }
	} else {
		mistakes[name+" a number"] = func() { body[name] = 1 }
		if most := bound(p, "maxLength", 0); most > 0 {
			mistakes[name+" too long"] = func() { body[name] = strings.Repeat("a", most+1) }
		}
		if least := bound(p, "minLength", 0); least > 0 {
			mistakes[name+" too short"] = func() { body[name] = strings.Repeat("a", least-1) }
		}
		if p["pattern"] != nil {
			mistakes[name+" with NUL"] = func() { body[name] = "a\x00" }
		}
		if p["enum"] != nil {
			mistakes[name+" another choice"] = func() { body[name] = "nonsense" }
		}
	}
	mistake := pickOne(g, slices.Sorted(maps.Keys(mistakes))...)
	mistakes[mistake]()
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	r.body = string(raw)
	return r, mistake
}
