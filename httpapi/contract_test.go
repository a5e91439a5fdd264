package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract is a server's schema, with which every exchange of the tests must agree.
type contract struct {
	operations []operation
	problem    *jsonschema.Schema
}

// operation is what the schema says of a method on a path.
type operation struct {
	Name       string `json:"operationId"`
	method     string
	path       []string // segments; the one of an identifier is {id}
	Security   []map[string][]string
	Parameters []described
	Responses  map[string]struct {
		Ref         string `json:"$ref"`
		Description string
		Headers     map[string]described
		Content     map[string]any
	}
	RequestBody *struct{ Content map[string]any }
	body        *jsonschema.Schema
	answers     map[int]described
}

// described is a parameter, a header or the body of an answer.
type described struct {
	Name, In  string
	Required  bool
	Schema    map[string]any
	mediaType string
	compiled  *jsonschema.Schema
	headers   map[string]described
	codes     []string // of the problems that it may be
}

// quotedCode matches the codes in the description of a response.
var quotedCode = regexp.MustCompile("`([a-z_]+)`")

// contracts has one contract for each schema, by its text: most servers of the tests have the same.
var contracts sync.Map

// contractOf compiles a schema.
func contractOf(document []byte) (*contract, error) {
	once, _ := contracts.LoadOrStore(string(document),
		sync.OnceValues(func() (*contract, error) { return compileContract(document) }))
	return once.(func() (*contract, error))()
}

func compileContract(document []byte) (*contract, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	var outline struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Responses map[string]json.RawMessage }
	}
	if err := json.Unmarshal(document, &outline); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const at = "mem:///schema.json"
	if err := c.AddResource(at, doc); err != nil {
		return nil, err
	}
	var failed error
	compile := func(steps ...string) *jsonschema.Schema {
		pointer := "#"
		for _, s := range steps {
			pointer += "/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
		}
		s, err := c.Compile(at + pointer)
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", pointer, err)
		}
		return s
	}
	result := &contract{problem: compile("components", "schemas", "Problem")}
	for path, item := range outline.Paths {
		var ofPath []described
		if raw, ok := item["parameters"]; ok {
			if err := json.Unmarshal(raw, &ofPath); err != nil {
				return nil, err
			}
		}
		for i := range ofPath {
			ofPath[i].compiled = compile("paths", path, "parameters", strconv.Itoa(i), "schema")
		}
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			op := operation{method: strings.ToUpper(method), path: strings.Split(strings.Trim(path, "/"), "/"),
				answers: map[int]described{}}
			if err := json.Unmarshal(raw, &op); err != nil {
				return nil, err
			}
			for i := range op.Parameters {
				op.Parameters[i].compiled = compile("paths", path, method, "parameters", strconv.Itoa(i), "schema")
			}
			op.Parameters = append(op.Parameters, ofPath...)
			if op.RequestBody != nil {
				op.body = compile("paths", path, method, "requestBody", "content", "application/json", "schema")
			}
			for status, response := range op.Responses {
				where, own := []string{"paths", path, method, "responses", status}, response.Description
				if name, ok := strings.CutPrefix(response.Ref, "#/components/responses/"); ok {
					where = []string{"components", "responses", name}
					if err := json.Unmarshal(outline.Components.Responses[name], &response); err != nil {
						return nil, err
					}
				}
				a := described{headers: response.Headers}
				for _, code := range quotedCode.FindAllStringSubmatch(own, -1) {
					a.codes = append(a.codes, code[1])
				}
				for name, h := range a.headers {
					h.compiled = compile(append(slices.Clone(where), "headers", name, "schema")...)
					a.headers[name] = h
				}
				for mediaType := range response.Content {
					a.mediaType = mediaType
					a.compiled = compile(append(slices.Clone(where), "content", mediaType, "schema")...)
				}
				n, err := strconv.Atoi(status)
				if err != nil {
					return nil, err
				}
				op.answers[n] = a
			}
			result.operations = append(result.operations, op)
		}
	}
	slices.SortFunc(result.operations, func(a, b operation) int { return strings.Compare(a.Name, b.Name) })
	return result, failed
}

// find returns the operation of a request.
func (c *contract) find(method, path string) *operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	segments := strings.Split(strings.TrimSuffix(path, "/"), "/")
	for i := range c.operations {
		o := &c.operations[i]
		if o.method != method || !slices.EqualFunc(o.path, segments, func(template, segment string) bool {
			decoded, err := url.PathUnescape(segment)
			return err == nil && (template == decoded || template == "{id}")
		}) {
			continue
		}
		return o
	}
	return nil
}

// check compares an exchange with the schema. Requests that are refused need not be valid; hosts
// know their users by other signs than bearer tokens.
func (c *contract) check(prefix string, hostUsers bool, r *http.Request, body string, a answer) error {
	op := c.find(r.Method, strings.TrimPrefix(r.URL.EscapedPath(), prefix))
	if op == nil {
		switch {
		case r.Method == http.MethodOptions && a.status == http.StatusNoContent, strings.Contains(r.URL.Path, "/docs") &&
			a.status < 400:
			return nil
		case a.status < 400:
			return fmt.Errorf("the schema does not describe that")
		case r.Method == http.MethodHead:
			return nil
		}
		return validate(c.problem, a.body)
	}
	if err := op.checkAnswer(r.Method, a); err != nil {
		return fmt.Errorf("%s: answer %d: %w", op.Name, a.status, err)
	}
	if a.status < 400 {
		if err := op.checkRequest(r, body, hostUsers); err != nil {
			return fmt.Errorf("%s: the request is accepted, but is not what the schema wants: %w", op.Name, err)
		}
	}
	return nil
}

func (o *operation) checkAnswer(method string, a answer) error {
	want, ok := o.answers[a.status]
	if !ok {
		return fmt.Errorf("the schema does not have the status")
	}
	for name, h := range want.headers {
		values := a.header.Values(name)
		switch {
		case len(values) == 0 && h.Required:
			return fmt.Errorf("there is no header %s", name)
		case len(values) > 0:
			if err := h.validateText(values[0]); err != nil {
				return fmt.Errorf("header %s: %w", name, err)
			}
		}
	}
	for _, name := range []string{"ETag", "Location", "Link", "Retry-After", "Idempotency-Replayed", "Allow",
		"Www-Authenticate", "Accept", "Preference-Applied", "Ratelimit", "Ratelimit-Policy"} {
		described := slices.ContainsFunc(slices.Collect(maps.Keys(want.headers)),
			func(h string) bool { return strings.EqualFold(h, name) })
		if a.header.Get(name) != "" && !described {
			return fmt.Errorf("the schema does not have the header %s", name)
		}
	}
	switch {
	case method == http.MethodHead:
		return nil
	case want.compiled == nil:
		if len(a.body) > 0 {
			return fmt.Errorf("there is a body")
		}
		return nil
	case a.header.Get("Content-Type") != want.mediaType:
		return fmt.Errorf("the media type is %q", a.header.Get("Content-Type"))
	case a.status >= 400:
		var p problemShape
		if err := json.Unmarshal(a.body, &p); err != nil || !slices.Contains(want.codes, p.Code) {
			return fmt.Errorf("the code %q is none of %q (%v)", p.Code, want.codes, err)
		}
	}
	return validate(want.compiled, a.body)
}

func (o *operation) checkRequest(r *http.Request, body string, hostUsers bool) error {
	lenient := strings.Contains(r.Header.Get("Prefer"), "lenient")
	for name, values := range r.URL.Query() {
		p, ok := o.parameter("query", name)
		switch {
		case !ok && lenient:
			continue
		case !ok:
			return fmt.Errorf("there is no parameter %q", name)
		case len(values) > 1:
			return fmt.Errorf("the parameter %q is repeated", name)
		}
		if err := p.validateText(values[0]); err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	for name, values := range r.Header {
		p, ok := o.parameter("header", name)
		if !ok {
			if slices.Contains([]string{"If-Match", "Idempotency-Key"}, name) {
				return fmt.Errorf("there is no header %q", name)
			}
			continue
		}
		if err := p.validateText(values[0]); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	if !hostUsers && len(o.Security) > 0 && !slices.ContainsFunc(o.Security,
		func(m map[string][]string) bool { return len(m) == 0 }) && r.Header.Get("Authorization") == "" {
		return fmt.Errorf("there are no credentials")
	}
	if o.body == nil {
		if s := strings.TrimSpace(body); s != "" && s != "{}" {
			return fmt.Errorf("there is a body")
		}
		return nil
	}
	return validate(o.body, []byte(body))
}

func (o *operation) parameter(in, name string) (described, bool) {
	i := slices.IndexFunc(o.Parameters, func(p described) bool { return p.In == in && strings.EqualFold(p.Name, name) })
	if i < 0 {
		return described{}, false
	}
	return o.Parameters[i], true
}

// validateText checks the text of a parameter or a header.
func (d described) validateText(s string) error {
	var v any = s
	switch d.Schema["type"] {
	case "integer", "number":
		v = json.Number(s)
		if !json.Valid([]byte(s)) {
			return fmt.Errorf("%q is no number", s)
		}
	case "array":
		list := []any{}
		for item := range strings.SplitSeq(s, ",") {
			list = append(list, item)
		}
		v = list
	}
	return d.compiled.Validate(v)
}

func validate(s *jsonschema.Schema, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(v)
}
