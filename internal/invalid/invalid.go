// Package invalid holds the error with which services refuse input: which fields, under which
// stable code, and why. The domain packages export it under their own names, so that hosts never
// need this package.
package invalid

import (
	"fmt"
	"strings"
)

// Codes are API: clients switch on them, texts may change.
const (
	Required     = "required"       // the field is missing
	Null         = "null"           // the field is null and must not be
	Type         = "invalid"        // the field has another type than the documented one
	Blank        = "blank"          // the text is empty or only white space
	MaxLength    = "max_length"     // the text is too long; params: max
	MinLength    = "min_length"     // the text is too short; params: min
	MaxValue     = "max_value"      // the number is too great; params: max
	MinValue     = "min_value"      // the number is too small; params: min
	BadCharacter = "bad_character"  // the text holds a character that is not allowed
	Choice       = "invalid_choice" // the value is none of the allowed ones; params: choices
	Unknown      = "unknown_field"  // there is no such field
	ReadOnly     = "read_only"      // the field cannot be set to another value
	NotExist     = "does_not_exist" // the thing referred to does not exist
	Unique       = "unique"         // the value is taken
	Repeated     = "repeated"       // the parameter or key is given twice
)

// Field is one thing that is wrong with the input.
type Field struct {
	Name   string         // the field's name in snake_case, as on the wire
	Code   string         // one of the constants of this package, or a package's own
	Detail string         // an English sentence for people
	Params map[string]any // the numbers and names in Detail, for translation
}

// Error refuses input and names every field that is wrong.
type Error struct{ Fields []Field }

// Error implements error.
func (e *Error) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Name + ": " + f.Detail
	}
	return "invalid: " + strings.Join(parts, "; ")
}

// Add records a field that is wrong.
func (e *Error) Add(name, code, detail string, params map[string]any) {
	e.Fields = append(e.Fields, Field{Name: name, Code: code, Detail: detail, Params: params})
}

// Err returns e if a field is wrong and nil otherwise.
func (e *Error) Err() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

// One returns an Error about a single field.
func One(name, code, detail string, params map[string]any) *Error {
	return &Error{Fields: []Field{{Name: name, Code: code, Detail: detail, Params: params}}}
}

// AtMost returns the detail and the parameters of a MaxValue.
func AtMost(limit any) (string, map[string]any) {
	return fmt.Sprintf("Ensure this value is less than or equal to %v.", limit), map[string]any{"max": limit}
}

// AtLeast returns the detail and the parameters of a MinValue.
func AtLeast(limit any) (string, map[string]any) {
	return fmt.Sprintf("Ensure this value is greater than or equal to %v.", limit), map[string]any{"min": limit}
}
