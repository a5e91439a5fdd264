package invalid

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// Refusal has the fields of each domain package's Refusal; pointers to the two convert into each
// other.
type Refusal[F FieldError] struct {
	Status int
	Code   string
	Detail string
	Fields []F
}

var refusalCode = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Complete returns a copy of r with the defaults of its fields. It returns an error that is not a
// Refusal if r is nil or breaks the rules of its fields.
func (r *Refusal[F]) Complete() (*Refusal[F], error) {
	if r == nil {
		return nil, errors.New("a refusal is a nil pointer, which is not a nil error")
	}
	c := *r
	if c.Status == 0 {
		c.Status = 422
	}
	if c.Code == "" {
		c.Code = "refused"
	}
	if c.Detail == "" {
		c.Detail = "This is refused."
	}
	if c.Status < 400 || c.Status > 499 || c.Status == 401 {
		return nil, fmt.Errorf("a refusal has the status %d", c.Status)
	}
	if !refusalCode.MatchString(c.Code) {
		return nil, fmt.Errorf("a refusal has the code %q", c.Code)
	}
	for _, v := range c.Fields {
		f := Field(v)
		if f.Name == "" || f.Detail == "" || !refusalCode.MatchString(f.Code) {
			return nil, fmt.Errorf("a refusal has the field %+v", f)
		}
		if _, err := json.Marshal(f.Params); err != nil {
			return nil, fmt.Errorf("a refusal has a field %s that cannot be encoded: %s", f.Name, err.Error())
		}
	}
	return &c, nil
}
