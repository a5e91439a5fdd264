package auth

import (
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
