package httpapi

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
)

// parameter is one parameter of a query string: how it is read, and its schema.
type parameter struct {
	name        string
	description string
	schema      object
	// me: the word me stands for the caller, who must be signed in.
	me   bool
	read func(string) (any, *fieldProblem)
}

func parameterProblem(f invalid.Field) *fieldProblem {
	return &fieldProblem{Code: fieldCode(f.Code), Detail: f.Detail, Params: f.Params}
}

// misread is the problem of a value that has not the type of its parameter.
func misread(want string) *fieldProblem { return &fieldProblem{Code: invalid.Type, Detail: want} }

// timeParameter is read as a time.Time.
func timeParameter(name, description string) parameter {
	return parameter{name: name, description: description, schema: object{{"type", "string"}, {"format", "date-time"}},
		read: func(s string) (any, *fieldProblem) {
			t, err := time.Parse(time.RFC3339Nano, s)
			t = t.UTC().Truncate(time.Microsecond)
			if err != nil || t.Year() < 1 || t.Year() > 9999 || t.IsZero() { // the zero time means no filter at all
				return nil, misread("Give a time such as 2026-01-31T12:00:00Z (RFC 3339).")
			}
			return t, nil
		}}
}

// idParameter is read as a string.
func idParameter(name, description string) parameter {
	return parameter{name: name, description: description, schema: idSchema, read: func(s string) (any, *fieldProblem) {
		if !id.Valid(s) {
			return nil, misread("Give an identifier.")
		}
		return s, nil
	}}
}

// Numbers in the forms that are accepted; strconv accepts others.
var (
	decimal = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	whole   = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
)

// numberParameter is read as a float64.
func numberParameter(name, description string) parameter {
	return parameter{name: name, description: description, schema: object{{"type", "number"}},
		read: func(s string) (any, *fieldProblem) {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil || !decimal.MatchString(s) || math.IsInf(f, 0) {
				return nil, misread("Give a number.")
			}
			return f, nil
		}}
}

// integerParameter is read as an int.
func integerParameter(name, description string, least, greatest int) parameter {
	return parameter{name: name, description: description, schema: object{{"type", "integer"}, {"minimum", least},
		{"maximum", greatest}},
		read: func(s string) (any, *fieldProblem) {
			n, _ := strconv.ParseInt(s, 10, 64) // beyond its bounds it is the nearest of them
			switch {
			case !whole.MatchString(s):
				return nil, misread("Give a whole number.")
			case n < int64(least):
				return nil, parameterProblem(invalid.TooSmall("", least))
			case n > int64(greatest):
				return nil, parameterProblem(invalid.TooGreat("", greatest))
			}
			return int(n), nil
		}}
}

// choiceParameter is read as a string.
func choiceParameter(name, description string, choices ...string) parameter {
	return parameter{name: name, description: description, schema: object{{"type", "string"}, {"enum", choices}},
		read: func(s string) (any, *fieldProblem) {
			if !slices.Contains(choices, s) {
				return nil, parameterProblem(invalid.NotAmong("", choices...))
			}
			return s, nil
		}}
}

// textParameter is read as a string of limited length, in code points.
func textParameter(name, description string, longest int) parameter {
	return parameter{name: name, description: description, schema: object{{"type", "string"}, {"maxLength", longest}},
		read: func(s string) (any, *fieldProblem) {
			switch {
			case !utf8.ValidString(s):
				return nil, &fieldProblem{Code: invalid.BadCharacter, Detail: "The text is not UTF-8."}
			case utf8.RuneCountInString(s) > longest:
				return nil, &fieldProblem{Code: invalid.MaxLength, Detail: fmt.Sprintf("Give at most %d characters.", longest),
					Params: map[string]any{"max": longest}}
			}
			return s, nil
		}}
}

// fieldsParameter selects members of the response. It is read as a []string.
func fieldsParameter(s schemaType) parameter {
	known := s.names()
	item := object{{"type", "string"}, {"enum", known}}
	return parameter{name: "fields", description: "The members of the response, separated by commas. Default: all.",
		schema: object{{"type", "array"}, {"items", item}, {"minItems", 1}, {"uniqueItems", true}},
		read: func(s string) (any, *fieldProblem) {
			picked := strings.Split(s, ",")
			for i, f := range picked {
				if slices.Contains(picked[:i], f) {
					return nil, &fieldProblem{Code: invalid.Repeated, Detail: "Each field may be given once."}
				}
				if !slices.Contains(known, f) {
					return nil, &fieldProblem{Code: invalid.Choice, Detail: fmt.Sprintf("Unknown field %q. Choose among: %s.",
						shorten(f), strings.Join(known, ", ")),
						Params: map[string]any{"choices": known}}
				}
			}
			return picked, nil
		}}
}

// cursorParameter is read as a string; page.place decodes it.
var cursorParameter = parameter{name: "cursor",
	description: "The cursor in `next` of the page before. It belongs to the same list, order and filters.",
	schema:      object{{"type", "string"}, {"pattern", `^[A-Za-z0-9_-]+$`}, {"maxLength", maxCursor}},
	read:        func(s string) (any, *fieldProblem) { return s, nil }}
