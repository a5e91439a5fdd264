package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/rating/task"
)

// object is a JSON object whose members keep their order.
type object []entry

type entry struct {
	key   string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(e.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(e.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// with returns o and another member.
func (o object) with(key string, value any) object { return append(slices.Clone(o), entry{key, value}) }

// Patterns of the schema, in the syntax that JavaScript, Python and Go share.
const (
	idLetters = `[A-Za-z0-9_.@|=+-]`
	idNoDot   = `[A-Za-z0-9_@|=+-]`
	// controls are the characters that text.Check refuses everywhere, without tab, line feed and
	// carriage return. turns change the direction of a line.
	controls     = `\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f`
	turns        = "\u202a-\u202e\u2066-\u2069"
	spaces       = " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
	inLine       = controls + `\t\n\r` + turns
	linePattern  = "^[^" + inLine + "]*[^" + inLine + spaces + "][^" + inLine + "]*$"
	linesPattern = "^[^" + controls + "]*$"
)

var (
	// idSchema is that of identifiers, see id.Valid. Neither "." nor ".." is one.
	idSchema = object{{"type", "string"}, {"minLength", 1}, {"maxLength", id.MaxLen},
		{"pattern", `^(` + idNoDot + idLetters + `*|\.` + idNoDot + idLetters + `*|\.\.` + idLetters + `+)$`}}
	ratingID = object{{"type", "string"}, {"maxLength", 2*id.MaxLen + 1},
		{"pattern", `^` + idLetters + `{1,128}:` + idLetters + `{1,128}$`}}
	taskID = object{{"type", "string"}, {"maxLength", task.MaxID}, {"pattern", `^[A-Za-z0-9_-]+$`}}
)

// names returns the names of the members of a schema type.
func (s schemaType) names() []string {
	var names []string
	for f := range members(s) {
		names = append(names, f.name)
	}
	return names
}

// readOnly returns the members that cannot be written, as members of a body: a client may send back
// what it read.
func (s schemaType) readOnly(writable ...string) []member {
	var fixed []member
	d := describer{}
	for f := range members(s) {
		if !slices.Contains(writable, f.name) {
			fixed = append(fixed, member{name: f.name, kind: anyKind, readOnly: true,
				schema: append(d.member(f), entry{"readOnly", true})})
		}
	}
	return fixed
}

// field is a field of a struct, as JSON has it.
type field struct {
	reflect.StructField
	name     string
	optional bool
}

// members yields the fields of a schema type.
func members(s schemaType) func(func(field) bool) {
	return func(yield func(field) bool) {
		t := reflect.TypeOf(s.of)
		for i := range t.NumField() {
			name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name == s.omit {
				continue
			}
			if !yield(field{t.Field(i), name, options == "omitempty" && name != s.require || s.partial}) {
				return
			}
		}
	}
}

// describer makes schemas of Go types, and keeps those with a name as components.
type describer struct {
	scale      score.Scale
	scheme     scheme
	components map[string]object
}

func refer(kind, name string) object { return object{{"$ref", "#/components/" + kind + "/" + name}} }

// refer returns a reference to the schema of a type, which becomes a component.
func (d describer) refer(s schemaType) object {
	name := s.name
	if s.list {
		name += "List"
	}
	if _, known := d.components[name]; !known {
		d.components[name] = object{} // for types that refer to themselves
		if s.list {
			item := s
			item.list = false
			list := schemaType{of: envelope{}}
			d.components[name] = d.object(list, map[string]object{"results": {{"type", "array"}, {"items", d.refer(item)}}})
		} else {
			d.components[name] = d.object(s, nil)
		}
	}
	return refer("schemas", name)
}

// object describes the members of a type. own has the schemas of those whose Go type does not say
// enough.
func (d describer) object(s schemaType, own map[string]object) object {
	properties, required := object{}, []string{}
	for f := range members(s) {
		schema, ok := own[f.name]
		if !ok {
			schema = d.member(f)
		}
		properties = append(properties, entry{f.name, schema})
		if !f.optional {
			required = append(required, f.name)
		}
	}
	o := object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		o = append(o, entry{"required", required})
	}
	if s.partial {
		o = append(o, entry{"minProperties", 1})
	}
	return append(o, entry{"additionalProperties", false})
}

// member describes one field.
func (d describer) member(f field) object {
	t, null := f.Type, f.Tag.Get("null") != ""
	if t.Kind() == reflect.Pointer {
		t, null = t.Elem(), null || !strings.Contains(f.Tag.Get("json"), "omitempty")
	}
	schema := d.typed(t)
	if values := f.Tag.Get("enum"); values != "" {
		schema = append(schema, entry{"enum", strings.Fields(values)})
	}
	if null {
		schema = nullable(schema)
	}
	if doc := f.Tag.Get("doc"); doc != "" {
		schema = append(schema, entry{"description", doc})
	}
	return schema
}

// nullable returns a schema that also allows null.
func nullable(schema object) object {
	if schema[0].key != "type" {
		return object{{"anyOf", []object{schema, {{"type", "null"}}}}}
	}
	return append(object{{"type", []any{schema[0].value, "null"}}}, schema[1:]...)
}

// enumerations are the values of types that have few.
var enumerations = map[reflect.Type]any{
	reflect.TypeFor[taskName](): []string{
		task.Apply, task.Recalculate, task.Recount, task.Sweep, task.Erase},
	reflect.TypeFor[task.State](): []task.State{
		task.Pending, task.Started, task.Retry, task.Success, task.Failure},
	reflect.TypeFor[rating.Result](): []rating.Result{
		rating.Created, rating.Updated, rating.Unchanged, rating.Superseded, rating.Withdrawn},
	reflect.TypeFor[score.Verdict](): []score.Verdict{score.VerdictCounted, score.VerdictHeld, score.VerdictExcluded,
		score.VerdictCleared},
	reflect.TypeFor[score.Ruling](): rulings,
	reflect.TypeFor[ratingState]():  []ratingState{stateStored, statePending},
	reflect.TypeFor[problemCode]():  allProblemCodes(),
	reflect.TypeFor[fieldCode]():    fieldCodes,
}

var rulings = []score.Ruling{score.Excluded, score.Cleared}

// typed describes a Go type.
func (d describer) typed(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[stamp]():
		return object{{"type", "string"}, {"format", "date-time"}}
	case reflect.TypeFor[link]():
		return slices.Clone(linkSchema)
	case reflect.TypeFor[scoreValue]():
		return object{{"type", "integer"}, {"minimum", d.scale.Min}, {"maximum", d.scale.Max}}
	case reflect.TypeFor[histogram]():
		var scores []string
		for s := d.scale.Min; s <= d.scale.Max; s++ {
			scores = append(scores, strconv.Itoa(s))
		}
		return object{{"type", "object"}, {"propertyNames", object{{"enum", scores}}},
			{"additionalProperties", object{{"type", "integer"}, {"format", "int64"}, {"minimum", 0}}},
			{"minProperties", len(scores)}}
	case reflect.TypeFor[taskResult]():
		return object{{"anyOf", []object{d.refer(schemaType{name: "RatingApplied", of: applied{}}),
			d.refer(schemaType{name: "StatsRecalculated", of: recalculated{}}),
			d.refer(schemaType{name: "RanRecalculation", of: ranRecalculation{}}),
			d.refer(schemaType{name: "RanRecount", of: ranRecount{}}),
			d.refer(schemaType{name: "RanSweep", of: ranSweep{}}),
			d.refer(schemaType{name: "RanForgetting", of: ranForgetting{}}), {{"type", "null"}}}}}
	}
	if values, ok := enumerations[t]; ok {
		return object{{"type", "string"}, {"enum", values}}
	}
	switch t.Kind() {
	case reflect.String:
		return object{{"type", "string"}}
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Int:
		return object{{"type", "integer"}}
	case reflect.Int64:
		return object{{"type", "integer"}, {"format", "int64"}}
	case reflect.Float64:
		return object{{"type", "number"}, {"format", "double"}}
	case reflect.Slice:
		return object{{"type", "array"}, {"items", d.typed(t.Elem())}}
	case reflect.Map:
		return object{{"type", "object"}, {"additionalProperties", true}}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		return d.refer(schemaType{name: strings.ToUpper(t.Name()[:1]) + t.Name()[1:], of: reflect.Zero(t).Interface()})
	}
	panic(fmt.Sprintf("httpapi: no schema for %v", t))
}
