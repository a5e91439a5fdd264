package kvstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"
)

// layout is the version of the rows' layout, and the first byte of each row. It grows with every
// change of a type that a table has rows of; TestLayout says which types those are.
const layout = 3

var errRow = errors.New("kvstore: a row is cut off, or of another layout")

// codec writes a row, or reads one in the same order: the fields of a struct one after the other,
// integers as varints, times as microseconds since 1970, texts and maps after their lengths.
type codec struct {
	row     []byte // what is written, or what is left to be read
	reading bool
	err     error
}

// encode returns v as a row.
func encode[T any](v T) []byte {
	c := codec{row: append(make([]byte, 0, 64), layout)}
	c.value(reflect.ValueOf(&v).Elem())
	return c.row
}

// decode is the inverse of encode. The result shares no memory with row.
func decode[T any](row []byte) (v T, err error) {
	if len(row) == 0 || row[0] != layout {
		return v, errRow
	}
	c := codec{row: row[1:], reading: true}
	c.value(reflect.ValueOf(&v).Elem())
	return v, c.err
}

// value writes v, or reads it.
func (c *codec) value(v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		if n := c.integer(p.UnixMicro()); c.reading {
			*p = time.UnixMicro(n).UTC()
		}
		return
	case *[]byte:
		*p = c.bytes(*p)
		return
	}
	switch v.Kind() {
	case reflect.String:
		if text := c.bytes([]byte(v.String())); c.reading {
			v.SetString(string(text))
		}
	case reflect.Int, reflect.Int64:
		v.SetInt(c.integer(v.Int()))
	case reflect.Bool:
		n := int64(0)
		if v.Bool() {
			n = 1
		}
		v.SetBool(c.integer(n) == 1)
	case reflect.Float64:
		v.SetFloat(math.Float64frombits(uint64(c.integer(int64(math.Float64bits(v.Float()))))))
	case reflect.Array: // a hash
		if hash := c.bytes(v.Bytes()); c.reading && len(hash) == v.Len() {
			reflect.Copy(v, reflect.ValueOf(hash))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			c.value(v.Field(i))
		}
	case reflect.Map:
		c.histogram(v.Addr().Interface().(*map[int]int64))
	default:
		panic(fmt.Sprintf("kvstore: a row with a %s", v.Type()))
	}
}

func (c *codec) integer(n int64) int64 {
	if !c.reading {
		c.row = binary.AppendVarint(c.row, n)
		return n
	}
	n, size := binary.Varint(c.row)
	if size <= 0 {
		c.err, size = errRow, 0
	}
	c.row = c.row[size:]
	return n
}

func (c *codec) bytes(b []byte) []byte {
	n := c.integer(int64(len(b)))
	if !c.reading {
		c.row = append(c.row, b...)
		return b
	}
	if n < 0 || n > int64(len(c.row)) {
		c.err, n = errRow, 0
	}
	b, c.row = slices.Clone(c.row[:n]), c.row[n:]
	return b
}

func (c *codec) histogram(m *map[int]int64) {
	keys := slices.Sorted(maps.Keys(*m))
	n := c.integer(int64(len(keys)))
	if !c.reading {
		for _, k := range keys {
			c.integer(int64(k))
			c.integer((*m)[k])
		}
		return
	}
	*m = map[int]int64{}
	for ; n > 0 && c.err == nil; n-- {
		k := int(c.integer(0))
		(*m)[k] = c.integer(0)
	}
}
