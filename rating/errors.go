package rating

import (
	"fmt"

	"github.com/khodnevis/khodnevis/internal/invalid"
)

// ValidationError says that input breaks rules, and names every field that does.
type ValidationError struct {
	Fields []FieldError
}

// FieldError says what is wrong with one field.
type FieldError struct {
	// Name is the field's, in snake_case, as on the wire.
	Name string
	// Code is for programs, such as "blank" or "max_length". Codes do not change.
	Code string
	// Detail is an English sentence for people. It may change.
	Detail string
	// Params are the numbers and names in Detail, for translation.
	Params map[string]any
}

// Error implements error.
func (e *ValidationError) Error() string { return invalid.Message(e.Fields) }

// Problem returns what package httpapi responds: 400, "validation_failed", and a sentence. It passes
// each of Fields to field.
func (e *ValidationError) Problem(
	field func(name, code, detail string, params map[string]any),
) (status int, code, detail string) {
	invalid.Each(e.Fields, field)
	return invalid.Problem(len(e.Fields))
}

func (e *ValidationError) add(f invalid.Field) { e.Fields = append(e.Fields, FieldError(f)) }

// err returns e if a field is wrong and nil otherwise.
func (e *ValidationError) err() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

func invalidField(f invalid.Field) error {
	return &ValidationError{Fields: []FieldError{FieldError(f)}}
}

// Refusal is the error with which a Before function of Hooks refuses. Its texts go to the client as
// they are. Its zero value is usable.
type Refusal struct {
	// Status is that of the response, 400 to 499 but not 401. Default 422.
	Status int
	// Code is for programs: a lower case letter, then up to 63 of [a-z0-9_]. Default "refused".
	Code string
	// Detail is an English sentence for people. Default "This is refused."
	Detail string
	// Fields say what is wrong with which field; see Add. May be empty.
	Fields []FieldError
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("refused: %d %s: %s", r.Status, r.Code, r.Detail)
}

// Add records a field that is wrong: its name in the body, a code and a sentence like the
// Refusal's, and the numbers and names in that sentence.
func (r *Refusal) Add(name, code, detail string, params map[string]any) {
	r.Fields = append(r.Fields, FieldError{Name: name, Code: code, Detail: detail, Params: params})
}

// Problem returns what package httpapi responds: Status, Code and Detail. It passes each of Fields to
// field.
func (r *Refusal) Problem(
	field func(name, code, detail string, params map[string]any),
) (status int, code, detail string) {
	invalid.Each(r.Fields, field)
	return r.Status, r.Code, r.Detail
}

// Complete returns a copy of r with the defaults of its fields, a *Refusal. It returns an error of
// another type if r breaks the rules of its fields.
func (r *Refusal) Complete() error {
	c, err := (*invalid.Refusal[FieldError])(r).Complete()
	if err != nil {
		return err
	}
	return (*Refusal)(c)
}
