// Package invalid has what the ValidationError and the Refusal of the domain packages share. Each
// domain package declares these types itself, so that hosts see their fields and never need this
// package; the code behind their methods is here once, generic over the package's FieldError.
package invalid

import (
	"fmt"
	"strings"
)

// Codes are API: clients switch on them, texts may change.
const (
	Required     = "required"       // the field is missing
	Null         = "null"           // the field is null and must not be
	Type         = "invalid"        // the value has another type or form than the documented one
	Blank        = "blank"          // the text is empty or only white space
	MaxLength    = "max_length"     // the text is too long; params: max
	MinLength    = "min_length"     // the text is too short; params: min
	MaxValue     = "max_value"      // the number is too great; params: max
	MinValue     = "min_value"      // the number is too small; params: min
	BadCharacter = "bad_character"  // the text has a character that is not allowed
	Choice       = "invalid_choice" // the value is not one of the allowed ones; params: choices
	Unknown      = "unknown_field"  // there is no such field
	ReadOnly     = "read_only"      // the field cannot be set to another value
	NotExist     = "does_not_exist" // the thing referred to does not exist
	Unique       = "unique"         // the value is taken
	Repeated     = "repeated"       // the parameter or key is given twice
)

// Field has the fields of each domain package's FieldError; the two convert into each other.
type Field struct {
	Name   string
	Code   string
	Detail string
	Params map[string]any
}

// FieldError is any domain package's FieldError.
type FieldError interface {
	~struct {
		Name   string
		Code   string
		Detail string
		Params map[string]any
	}
}

// Message returns the text of an error about fields, for logs.
func Message[F FieldError](fields []F) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = Field(f).Name + ": " + Field(f).Detail
	}
	return "invalid: " + strings.Join(parts, "; ")
}

// Problem returns what a client is told of n invalid fields.
func Problem(n int) (status int, code, detail string) {
	detail = "1 field is invalid."
	if n != 1 {
		detail = fmt.Sprintf("%d fields are invalid.", n)
	}
	return 400, "validation_failed", detail
}

// Each calls yield for each field.
func Each[F FieldError](fields []F, yield func(name, code, detail string, params map[string]any)) {
	for _, f := range fields {
		yield(Field(f).Name, Field(f).Code, Field(f).Detail, Field(f).Params)
	}
}

// IsBlank is a text that is empty or only white space.
func IsBlank(name string) Field {
	return Field{name, Blank, "This field may not be blank.", nil}
}

// TooLong is a text of more than limit characters.
func TooLong(name string, limit int) Field {
	detail := fmt.Sprintf("Ensure this field has no more than %d characters.", limit)
	return Field{name, MaxLength, detail, map[string]any{"max": limit}}
}

// TooShort is a text of less than limit characters.
func TooShort(name string, limit int) Field {
	detail := fmt.Sprintf("Ensure this field has at least %d characters.", limit)
	return Field{name, MinLength, detail, map[string]any{"min": limit}}
}

// TooGreat is a number above limit.
func TooGreat(name string, limit any) Field {
	detail := fmt.Sprintf("Ensure this value is less than or equal to %v.", limit)
	return Field{name, MaxValue, detail, map[string]any{"max": limit}}
}

// TooSmall is a number below limit.
func TooSmall(name string, limit any) Field {
	detail := fmt.Sprintf("Ensure this value is greater than or equal to %v.", limit)
	return Field{name, MinValue, detail, map[string]any{"min": limit}}
}

// HasCharacter is a text whose character at position is not allowed, because of why.
func HasCharacter(name string, position int, why string) Field {
	detail := fmt.Sprintf("The character at position %d is not allowed: %s.", position, why)
	return Field{name, BadCharacter, detail, map[string]any{"position": position}}
}

// NotAmong is a value that is not one of choices.
func NotAmong[T ~string](name string, choices ...T) Field {
	texts := make([]string, len(choices))
	for i, c := range choices {
		texts[i] = string(c)
	}
	detail := fmt.Sprintf("Choose one of: %s.", strings.Join(texts, ", "))
	return Field{name, Choice, detail, map[string]any{"choices": texts}}
}
