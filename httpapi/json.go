package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// Bounds of a body's depth and values: a small body can take much memory.
const (
	maxDepth  = 8
	maxValues = 1_000
)

// malformed is the problem of a body that is not exactly one JSON value that every reader reads alike.
func malformed(format string, args ...any) error {
	return &problem{status: 400, code: "malformed_json", title: "Malformed JSON", detail: fmt.Sprintf(format, args...)}
}

// problemNotObject is the problem of a body that is another JSON value than an object.
var problemNotObject = &problem{status: 400, code: "not_an_object", title: "Not an object",
	detail: "The body must be a JSON object."}

// parseObject reads body as exactly one JSON object. Unlike encoding/json it refuses what two
// readers could read differently: repeated keys, invalid UTF-8, half surrogates, a byte order mark,
// data after the end. Numbers stay json.Number, as they were written.
func parseObject(body []byte) (map[string]any, error) {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return nil, malformed("The body begins with a byte order mark.")
	case !utf8.Valid(body):
		return nil, malformed("The body is not UTF-8.")
	}
	if err := checkEscapes(body); err != nil {
		return nil, err
	}
	d := &decoder{Decoder: json.NewDecoder(bytes.NewReader(body))}
	d.UseNumber()
	v, err := parseValue(d, 1)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("The body has data after the JSON object.")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, problemNotObject
	}
	return object, nil
}

// decoder counts the values that it has read.
type decoder struct {
	*json.Decoder
	values int
}

func parseValue(d *decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, syntax(err, d)
	}
	if d.values++; d.values > maxValues {
		return nil, malformed("The body has more than %d values.", maxValues)
	}
	if _, opens := token.(json.Delim); opens && depth > maxDepth {
		return nil, malformed("The body is nested deeper than %d levels.", maxDepth)
	}
	switch token {
	case json.Delim('{'):
		return parseMembers(d, depth)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, syntax(err, d)
	}
	return token, nil
}

func parseMembers(d *decoder, depth int) (any, error) {
	object := map[string]any{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, syntax(err, d)
		}
		key, ok := token.(string)
		if !ok {
			return nil, malformed("A key must be a string.")
		}
		if _, ok := object[key]; ok {
			return nil, problemInvalid([]fieldProblem{repeated(key)})
		}
		if object[key], err = parseValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, syntax(err, d)
}

// syntax returns where the body stops being JSON, in texts of this package: those of a library are
// not part of the interface.
func syntax(err error, d *decoder) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("The body ends before the JSON object does.")
	}
	return malformed("The body is not JSON, at byte %d or just after.", d.InputOffset())
}

// checkEscapes refuses \u escapes of half a surrogate pair, which encoding/json replaces silently.
func checkEscapes(body []byte) error {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if i++; i >= len(body) || body[i] != 'u' {
			continue
		}
		r, ok := hex4(body, i+1)
		if !ok {
			continue // the parser says what is wrong
		}
		i += 4
		switch {
		case r >= 0xdc00 && r <= 0xdfff:
			return malformed("The escape at byte %d is the second half of a surrogate pair without the first.", i-5)
		case r >= 0xd800 && r <= 0xdbff:
			low, ok := hex4(body, i+3)
			if !ok || body[i+1] != '\\' || body[i+2] != 'u' || low < 0xdc00 || low > 0xdfff {
				return malformed("The escape at byte %d is half a surrogate pair.", i-5)
			}
			i += 6
		}
	}
	return nil
}

func hex4(b []byte, at int) (rune, bool) {
	if at+4 > len(b) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[at:at+4]), 16, 32)
	return rune(n), err == nil
}
