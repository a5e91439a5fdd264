package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/khodnevis/khodnevis/internal/invalid"
)

// kind is the JSON type of a member.
type kind int

const (
	textKind kind = iota
	integerKind
	anyKind
)

// member is one key that a body may have.
type member struct {
	name     string
	kind     kind
	required bool
	// readOnly members may be sent back as they were read; another value is refused.
	readOnly bool
	// schema has what the services check beyond the kind: bounds, a pattern, a description.
	schema object
}

// body is what a route takes.
type body struct {
	name  string // of the schema
	limit int64  // bytes
	// creates: the body creates a resource, so read-only members are refused.
	creates bool
	members []member
}

const (
	smallBody = 4 << 10
	largeBody = 1 << 20
)

// input is a body that was received, and what is wrong with it so far.
type input struct {
	*body
	values map[string]any
	bad    []fieldProblem
}

// text returns a member and whether it was sent as a string.
func (in *input) text(name string) (string, bool) {
	s, ok := in.values[name].(string)
	return s, ok
}

// patch returns a text member, or nil if it was not sent.
func (in *input) patch(name string) *string {
	if s, ok := in.text(name); ok {
		return &s
	}
	return nil
}

// integer returns a member and whether it was sent as an integer.
func (in *input) integer(name string) (int, bool) {
	n, ok := in.values[name].(int)
	return n, ok
}

func (in *input) refuse(name, code, detail string) {
	in.bad = append(in.bad, fieldProblem{Pointer: pointer(name), Field: name, Code: fieldCode(code), Detail: detail})
}

func repeated(key string) fieldProblem {
	return fieldProblem{Pointer: pointer(shorten(key)), Field: shorten(key), Code: invalid.Repeated,
		Detail: "This key is given twice."}
}

// pointer is the JSON pointer to a member, as a URI fragment (RFC 6901, section 6).
func pointer(name string) string {
	return "#/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
}

// shorten bounds a name from the client, so that the response is not as long as the request.
func shorten(name string) string {
	const longest = 100
	if r := []rune(name); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return name
}

// check adds the fields that a domain's ValidationError names, unless they are known to be wrong
// already. It returns one problem for all of them, err if it is another error, or nil.
func (in *input) check(err error) error {
	var domain clientError
	if err != nil && !errors.As(err, &domain) {
		return err
	}
	if domain != nil {
		for _, f := range problemOfClient(domain).errors {
			if !slices.ContainsFunc(in.bad, func(p fieldProblem) bool { return p.Field == f.Field }) {
				in.bad = append(in.bad, f)
			}
		}
	}
	if len(in.bad) > 0 {
		return problemInvalid(in.bad)
	}
	return err
}

// hasReadOnly reports whether a read-only member was sent.
func (in *input) hasReadOnly() bool {
	return slices.ContainsFunc(in.members, func(m member) bool {
		_, sent := in.values[m.name]
		return sent && m.readOnly
	})
}

// unchanged refuses a read-only member whose value differs from the resource's. The members in free
// may differ.
func (in *input) unchanged(resource any, free ...string) error {
	if !in.hasReadOnly() {
		return in.check(nil)
	}
	encoded, err := json.Marshal(resource)
	if err != nil {
		return fmt.Errorf("httpapi: encode %T: %w", resource, err)
	}
	current, err := parseObject(encoded)
	if err != nil {
		return fmt.Errorf("httpapi: %T: %w", resource, err)
	}
	for _, m := range in.members {
		if sent, ok := in.values[m.name]; ok && m.readOnly && !slices.Contains(free, m.name) &&
			!same(sent, current[m.name]) {
			in.refuse(m.name, invalid.ReadOnly, "This field cannot be set to another value.")
		}
	}
	return in.check(nil)
}

// same compares values as JSON does: 4.50 is 4.5.
func same(a, b any) bool {
	x, ok := a.(json.Number)
	y, also := b.(json.Number)
	if !ok || !also {
		return reflect.DeepEqual(a, b)
	}
	f, err1 := x.Float64()
	g, err2 := y.Float64()
	return x == y || err1 == nil && err2 == nil && f == g
}

// decodeBody reads the body as the route describes it.
func (c *call) decodeBody(b *body) error {
	if b == nil {
		return c.refuseBody()
	}
	if err := checkMediaType(c.r.Header); err != nil {
		return err
	}
	raw, err := c.receive(b.limit)
	if err != nil {
		return bodyProblem(err, b.limit)
	}
	values, err := parseObject(raw)
	if err != nil {
		return err
	}
	c.input = &input{body: b, values: values}
	c.input.checkMembers()
	return nil
}

// checkMembers checks which members were sent and their types, and turns integers into int.
func (in *input) checkMembers() {
	for _, m := range in.members {
		v, sent := in.values[m.name]
		switch {
		case !sent && m.required:
			in.refuse(m.name, invalid.Required, "This field is required.")
		case m.readOnly && sent && in.creates:
			in.refuse(m.name, invalid.ReadOnly, "This field is set by the server.")
		case !sent || m.readOnly:
		case v == nil:
			in.refuse(m.name, invalid.Null, "This field may not be null.")
		case m.kind == textKind:
			if _, ok := v.(string); !ok {
				in.refuse(m.name, invalid.Type, "Not a valid string.")
			}
		case m.kind == integerKind:
			if n, ok := integer(v); ok {
				in.values[m.name] = n
			} else {
				in.refuse(m.name, invalid.Type, "A valid integer is required.")
			}
		}
	}
	var unknown []string
	for name := range in.values {
		if !slices.ContainsFunc(in.members, func(m member) bool { return m.name == name }) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown[:min(len(unknown), 20)] {
		in.refuse(shorten(name), invalid.Unknown, "Unknown field.")
	}
}

// integer returns a number that is whole, however it is written: 5, 5.0 and 50e-1 are one number
// (JSON Schema). It compares digits, because a float64 would round. A number too great for an int
// becomes the greatest or the least int, which is refused for its value.
func integer(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	unsigned, negative := strings.CutPrefix(strings.ToLower(string(n)), "-")
	mantissa, power, _ := strings.Cut(unsigned, "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimRight(whole+fraction, "0")
	// The number is digits without the zeros at their end, times ten to the power of zeros.
	zeros := int64(len(whole) - len(digits))
	if power != "" {
		n, _ := strconv.ParseInt(power, 10, 32) // beyond its bounds it is the nearest of them
		zeros += n
	}
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		return 0, true
	}
	if zeros < 0 {
		return 0, false
	}
	if negative {
		digits = "-" + digits
	}
	i, _ := strconv.Atoi(digits + strings.Repeat("0", int(min(zeros, 20)))) // beyond its bounds it is the nearest of them
	return i, true
}

// checkMediaType accepts uncompressed application/json in UTF-8.
func checkMediaType(h http.Header) error {
	refuse := func(detail string) error {
		return &problem{status: 415, code: "unsupported_media_type", title: "Unsupported media type", detail: detail,
			header: http.Header{"Accept": {"application/json"}}}
	}
	if e := strings.Join(h.Values("Content-Encoding"), ","); e != "" && !strings.EqualFold(e, "identity") {
		return refuse("The body must not be compressed.")
	}
	name, params, err := mime.ParseMediaType(strings.Join(h.Values("Content-Type"), ","))
	if err != nil || name != "application/json" {
		return refuse("Send Content-Type: application/json.")
	}
	for key, value := range params {
		if key != "charset" || !strings.EqualFold(value, "utf-8") {
			return refuse("The only parameter of the media type is charset=utf-8.")
		}
	}
	return nil
}

// bodyProblem returns why a body of at most limit bytes was not received.
func bodyProblem(err error, limit int64) error {
	var (
		over    *http.MaxBytesError
		refused *problem
	)
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &over):
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{status: 408, code: "timeout", title: "Timeout", detail: "The body did not arrive in time.",
			header: http.Header{"Connection": {"close"}}}
	}
	return &problem{status: 400, code: "incomplete_body", title: "Incomplete body", detail: "The body ended early."}
}

func tooLarge(limit int64) error {
	return &problem{status: 413, code: "too_large", title: "Too large",
		detail: fmt.Sprintf("The body may have at most %d bytes.", limit)}
}

// refuseBody refuses a body that the route would ignore. An empty object counts as no body.
func (c *call) refuseBody() error {
	if c.received {
		return nil
	}
	raw, err := c.receive(smallBody)
	if err != nil {
		return bodyProblem(err, 0)
	}
	if s := strings.TrimSpace(string(raw)); s == "" || s == "{}" {
		return nil
	}
	return &problem{status: 400, code: "body_not_allowed", title: "Body not allowed",
		detail: "This request takes no body."}
}
