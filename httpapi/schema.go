package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// file is a static response, made once.
type file struct {
	mediaType string
	body      []byte
	etag      string
}

func newFile(mediaType string, body []byte) *file {
	sum := sha256.Sum256(body)
	return &file{mediaType, body, `"` + hex.EncodeToString(sum[:16]) + `"`}
}

// file responds with a file. Everybody may cache it and must revalidate it.
func (c *call) file(f *file) error {
	c.cacheable()
	c.w.Header().Set("ETag", f.etag)
	if c.notModified(f.etag) {
		return c.empty(http.StatusNotModified)
	}
	c.write(http.StatusOK, f.mediaType, f.body)
	return nil
}

// addSchema adds the route of the schema.
func (a *API) addSchema(t map[string]methods) {
	t["/schema/"] = methods{http.MethodGet: {
		name: "getSchema", summary: "Read this schema", description: "OpenAPI 3.1, as JSON.", policy: public,
		header:    []header{ifNoneMatchHeader},
		responses: []response{ok("The schema.", schemaDocType, etagHeader), notModified},
		run:       func(c *call) error { return c.file(c.schema) },
	}}
}

// schemaDocument is the schema as a whole. OpenAPI describes its parts.
type schemaDocument struct {
	OpenAPI    string         `json:"openapi"`
	Info       map[string]any `json:"info"`
	Servers    []any          `json:"servers"`
	Tags       []any          `json:"tags"`
	Paths      map[string]any `json:"paths"`
	Components map[string]any `json:"components"`
}

var schemaDocType = schemaType{name: "Schema", of: schemaDocument{}}

const schemaIntro = `Contents, ratings of them, and accounts.

Times are RFC 3339 in UTC. Identifiers are opaque. Unknown members, parameters and values are errors that name them.
Paths work with and without the slash at the end. HEAD works wherever GET does. OPTIONS lists the methods in Allow;
other methods are 405.

Errors are problem documents (RFC 9457), with a code for programs. 429 and 503 have Retry-After. Every response has an
X-Request-Id: the client's own if it is valid. With Prefer: handling=lenient unknown parameters are ignored.

Ratings are written asynchronously: 202 means that the rating is durable, and the task in Location says when it is
stored.`

// openAPI makes the schema of the routes.
func (a *API) openAPI(table map[string]methods) *file {
	d := describer{scale: a.cfg.Ratings.Scale(), scheme: a.scheme, components: map[string]object{}}
	responses := object{}
	for _, status := range slices.Sorted(maps.Keys(problemCodes)) {
		responses = append(responses, entry{problemName(status), d.problem(status)})
	}
	paths, tags := object{}, []string{}
	for _, path := range slices.Sorted(maps.Keys(table)) {
		item := object{}
		if name, schema, found := pathID(path); found {
			item = append(item, entry{"parameters", []object{{{"name", name}, {"in", "path"}, {"required", true},
				{"schema", schema}}}})
		}
		tag := strings.Split(path, "/")[1]
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch,
			http.MethodDelete} {
			if rt, ok := table[path][method]; ok && rt.name != "" {
				item = append(item, entry{strings.ToLower(method), a.operation(d, rt, path, tag)})
			}
		}
		if len(item) == 0 || item[len(item)-1].key == "parameters" {
			continue
		}
		paths = append(paths, entry{templated(path), item})
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	schemas := object{}
	for _, name := range slices.Sorted(maps.Keys(d.components)) {
		schemas = append(schemas, entry{name, d.components[name]})
	}
	server := strings.TrimSuffix(a.cfg.Prefix, "/")
	if server == "" {
		server = "/"
	}
	named := make([]object, len(tags))
	for i, tag := range tags {
		named[i] = object{{"name", tag}}
	}
	body, err := json.Marshal(object{
		{"openapi", "3.1.0"},
		{"info", object{{"title", "Khodnevis"}, {"version", "1"}, {"description", schemaIntro},
			{"license", object{{"name", "MIT"}, {"identifier", "MIT"}}}}},
		{"servers", []object{{{"url", server}}}},
		{"tags", named},
		{"paths", paths},
		{"components", object{
			{"schemas", schemas},
			{"responses", responses},
			{"securitySchemes", object{{a.scheme.name, a.scheme.schema}}},
		}},
	})
	if err != nil {
		panic(err) // it consists of texts, numbers, and lists and objects of them
	}
	return newFile("application/json", body)
}

// templated returns a path in OpenAPI's syntax.
func templated(path string) string { return strings.ReplaceAll(path, ":id", "{id}") }

// pathID returns the parameter in a path.
func pathID(path string) (name string, schema object, found bool) {
	before, _, found := strings.Cut(path, "/:id/")
	switch {
	case strings.HasSuffix(before, "/ratings"):
		return "id", ratingID, found
	case strings.HasSuffix(before, "/tasks"):
		return "id", taskID, found
	}
	return "id", idSchema, found
}

func (a *API) operation(d describer, rt route, path, tag string) object {
	o := object{{"operationId", rt.name}, {"summary", rt.summary}}
	if rt.description != "" {
		o = append(o, entry{"description", rt.description})
	}
	o = append(o, entry{"tags", []string{tag}})
	some := object{{d.scheme.name, []string{}}}
	switch rt.policy {
	case public:
		o = append(o, entry{"security", []object{{}, some}})
	case credential:
		o = append(o, entry{"security", []object{}})
	default:
		o = append(o, entry{"security", []object{some}})
	}
	var parameters []object
	for _, p := range rt.query {
		described := object{{"name", p.name}, {"in", "query"}, {"description", p.description}}
		if p.schema[0].value == "array" {
			described = append(described, entry{"style", "form"}, entry{"explode", false})
		}
		parameters = append(parameters, described.with("schema", p.schema))
	}
	for _, h := range rt.header {
		parameters = append(parameters, object{{"name", h.name}, {"in", "header"}, {"description", h.description},
			{"schema", h.schema}})
	}
	if parameters != nil {
		o = append(o, entry{"parameters", parameters})
	}
	if rt.body != nil {
		o = append(o, entry{"requestBody", object{{"required", true},
			{"content", object{{"application/json", object{{"schema", d.body(rt.body)}}}}}}})
	}
	responses := object{}
	for _, r := range rt.responses {
		responses = append(responses, entry{strconv.Itoa(r.status), d.response(r)})
	}
	given := a.problemsOf(rt, strings.Contains(path, ":id"))
	for _, status := range slices.Sorted(maps.Keys(problemCodes)) {
		codes := slices.DeleteFunc(slices.Clone(given), func(c problemCode) bool {
			return !slices.Contains(problemCodes[status], c)
		})
		if len(codes) > 0 {
			responses = append(responses, entry{strconv.Itoa(status), refer("responses", problemName(status)).
				with("description", problemDescription(status, codes))})
		}
	}
	return append(o, entry{"responses", responses})
}

// body describes a body, as a component.
func (d describer) body(b *body) object {
	properties, required := object{}, []string{}
	for _, m := range b.members {
		if m.readOnly && b.creates {
			continue
		}
		schema := m.schema
		switch m.kind {
		case textKind:
			schema = append(object{{"type", "string"}}, withoutType(schema)...)
		case integerKind:
			schema = append(object{{"type", "integer"}}, withoutType(schema)...)
		case anyKind: // the schema says it all
		}
		properties = append(properties, entry{m.name, schema})
		if m.required {
			required = append(required, m.name)
		}
	}
	o := object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		o = append(o, entry{"required", required})
	}
	d.components[b.name] = append(o, entry{"additionalProperties", false},
		entry{"description", fmt.Sprintf("At most %d bytes.", b.limit)})
	return refer("schemas", b.name)
}

// withoutType returns a schema without the type, which the kind of a member gives.
func withoutType(schema object) object {
	return slices.DeleteFunc(slices.Clone(schema), func(e entry) bool { return e.key == "type" })
}

func (d describer) response(r response) object {
	headers := describeHeaders(append(slices.Clone(everyResponse), r.header...))
	o := object{{"description", r.description}, {"headers", headers}}
	if r.body != nil {
		o = append(o, entry{"content", object{{"application/json", object{{"schema", d.refer(*r.body)}}}}})
	}
	if made := r.status == http.StatusCreated || r.status == http.StatusAccepted; made && r.body.next != "" {
		link := object{{"operationId", r.body.next}, {"parameters", object{{"path.id", "$response.body#/" + r.body.by}}}}
		o = append(o, entry{"links", object{{r.body.next, link}}})
	}
	return o
}

// describeHeaders describes headers. Of two with one name it takes the last.
func describeHeaders(all []header) object {
	o := object{}
	for i, h := range all {
		if slices.ContainsFunc(all[i+1:], func(later header) bool { return later.name == h.name }) {
			continue
		}
		described := object{{"description", h.description}}
		if h.always {
			described = append(described, entry{"required", true})
		}
		o = append(o, entry{h.name, described.with("schema", h.schema)})
	}
	return o
}

// problemName returns the name of the component for the problems of a status.
func problemName(status int) string {
	return strings.NewReplacer(" ", "", "-", "", "'", "").Replace(http.StatusText(status))
}

// problemDescription names the problems of a status.
func problemDescription(status int, codes []problemCode) string {
	quoted := make([]string, len(codes))
	for i, code := range codes {
		quoted[i] = "`" + string(code) + "`"
	}
	return http.StatusText(status) + ": " + strings.Join(quoted, ", ") + "."
}

// problem describes the problems of a status.
func (d describer) problem(status int) object {
	headers := slices.Clone(everyResponse)
	switch status {
	case http.StatusUnauthorized:
		headers = append(headers, header{name: "WWW-Authenticate", always: true, description: d.scheme.challenge,
			schema: textSchema})
	case http.StatusMethodNotAllowed:
		headers = append(headers, allowHeader)
	case http.StatusUnsupportedMediaType:
		headers = append(headers, acceptHeader)
	case http.StatusConflict:
		headers = append(headers, retryAfterHeader)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		headers = append(headers, retryAfterHeader.required())
	}
	return object{
		{"description", problemDescription(status, problemCodes[status])},
		{"headers", describeHeaders(headers)},
		{"content", object{{"application/problem+json", object{{"schema", d.refer(problemType)}}}}},
	}
}
