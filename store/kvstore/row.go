package kvstore

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// layout is the version of the rows' layout, and the first byte of each row. A field that a later
// layout adds is written last and read only from rows of that layout.
const layout = 1

var errRow = errors.New("kvstore: a row is cut off, or of a later layout")

// codec writes the fields of a row, or reads them in the same order: one function describes both.
type codec struct {
	row     []byte // what is written, or what is left to be read
	reading bool
	err     error
}

// encode returns v as a row.
func encode[T any](v T, fields func(*codec, *T)) []byte {
	c := codec{row: append(make([]byte, 0, 64), layout)}
	fields(&c, &v)
	return c.row
}

// decode is the inverse of encode. The result shares no memory with row.
func decode[T any](row []byte, fields func(*codec, *T)) (v T, err error) {
	if len(row) == 0 || row[0] != layout {
		return v, errRow
	}
	c := codec{row: row[1:], reading: true}
	fields(&c, &v)
	return v, c.err
}

// take returns the next n bytes, or fewer if the row is cut off.
func (c *codec) take(n uint64) []byte {
	if n > uint64(len(c.row)) {
		c.err, n = errRow, uint64(len(c.row))
	}
	taken := c.row[:n]
	c.row = c.row[n:]
	return taken
}

func (c *codec) length(n int) uint64 {
	if !c.reading {
		c.row = binary.AppendUvarint(c.row, uint64(n))
		return uint64(n)
	}
	v, size := binary.Uvarint(c.row)
	c.take(uint64(max(size, 0)))
	if size <= 0 {
		c.err = errRow
	}
	return v
}

func text[T ~string](c *codec, s *T) {
	n := c.length(len(*s))
	if c.reading {
		*s = T(c.take(n))
		return
	}
	c.row = append(c.row, *s...)
}

func blob(c *codec, b *[]byte) {
	s := string(*b)
	if text(c, &s); c.reading {
		*b = []byte(s)
	}
}

func integer[T ~int | ~int64](c *codec, n *T) {
	if !c.reading {
		c.row = binary.AppendVarint(c.row, int64(*n))
		return
	}
	v, size := binary.Varint(c.row)
	c.take(uint64(max(size, 0)))
	if size <= 0 {
		c.err = errRow
	}
	*n = T(v)
}

func instant(c *codec, t *time.Time) {
	n := t.UnixMicro()
	if integer(c, &n); c.reading {
		*t = time.UnixMicro(n).UTC()
	}
}

func float(c *codec, f *float64) {
	if !c.reading {
		c.row = binary.LittleEndian.AppendUint64(c.row, math.Float64bits(*f))
		return
	}
	var b [8]byte
	copy(b[:], c.take(8))
	*f = math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
}

func flag(c *codec, b *bool) {
	n := 0
	if *b {
		n = 1
	}
	integer(c, &n)
	*b = n == 1
}

func hash[T ~[32]byte](c *codec, h *T) {
	if !c.reading {
		for _, b := range *h {
			c.row = append(c.row, b)
		}
		return
	}
	var b [32]byte
	copy(b[:], c.take(32))
	*h = T(b)
}
