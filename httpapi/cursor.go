package httpapi

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/rating"
)

// A cursor is the place in a list where the next page begins, bound to the list's order and
// filters. It has nothing that the page before did not show. Its layout: format (1 byte), binding
// (8), place, checksum (4), all in base64url.

// maxCursor bounds what is decoded, in bytes. A cursor with identifiers of this module has at most
// 256; two identifiers of a host, of 128 bytes, need more.
const maxCursor = 400

// cursorFormat is the first byte of every cursor. Another layout gets another number.
const cursorFormat = 1

// binding returns a hash of the order and the filters of a list.
func binding(list, order string, values url.Values) uint64 {
	h := fnv.New64a()
	write := func(s string) {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) // a hash never fails
		_, _ = h.Write([]byte(s))
	}
	write(list)
	write(order)
	names := make([]string, 0, len(values))
	for name := range values {
		switch name {
		case "cursor", "page_size", "count", "fields", "ordering":
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		write(name)
		for _, v := range values[name] {
			write(v)
		}
	}
	return h.Sum64()
}

func sealCursor(bound uint64, place []byte) string {
	b := append([]byte{cursorFormat}, binary.BigEndian.AppendUint64(nil, bound)...)
	b = append(b, place...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// openCursor returns the place in a cursor, or the code of its problem.
func openCursor(s string, bound uint64) (place []byte, code string) {
	const invalid = codeInvalidCursor
	if len(s) > maxCursor {
		return nil, invalid
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 13 || b[0] != cursorFormat || strings.ContainsAny(s, "\r\n") { // which the decoder skips
		return nil, invalid
	}
	body := b[:len(b)-4]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return nil, invalid
	}
	if binary.BigEndian.Uint64(body[1:9]) != bound {
		return nil, codeCursorMismatch
	}
	return body[9:], ""
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMicro()))
}

// takeTime takes a time off the front of b.
func takeTime(b []byte) (time.Time, []byte, bool) {
	if len(b) < 8 {
		return time.Time{}, nil, false
	}
	t := time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
	return t, b[8:], t.Year() >= 1 && t.Year() <= 9999
}

// titleFormat comes before the collation key in a place by title. No cursor with bytes of the title
// itself, which were the place before, has it there.
const titleFormat = 1

func contentPlace(o content.Order, p content.Cursor) []byte {
	b := append([]byte{byte(len(p.ID))}, p.ID...)
	switch o.Field {
	case content.ByTitle:
		return append(append(b, titleFormat), p.Text...)
	case content.ByScore, content.ByRatings:
		return binary.BigEndian.AppendUint64(b, math.Float64bits(p.Number))
	}
	return appendTime(b, p.Time)
}

// maxCount is the greatest count that a float64 holds exactly.
const maxCount = 1 << 53

func parseContentPlace(o content.Order, b []byte) (*content.Cursor, bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return nil, false
	}
	n := 1 + int(b[0])
	p := &content.Cursor{ID: string(b[1:n])}
	b = b[n:]
	ok := id.Valid(p.ID)
	switch o.Field {
	case content.ByTitle:
		if len(b) == 0 || b[0] != titleFormat {
			return nil, false
		}
		p.Text = string(b[1:])
		return p, ok && len(p.Text) <= content.TitleKey
	case content.ByScore, content.ByRatings:
		if len(b) != 8 {
			return nil, false
		}
		p.Number = math.Float64frombits(binary.BigEndian.Uint64(b))
		if o.Field == content.ByRatings { // a count, which stores keep as a whole number
			ok = ok && p.Number >= 0 && p.Number <= maxCount && p.Number == math.Trunc(p.Number)
		}
		return p, ok && !math.IsNaN(p.Number) && !math.IsInf(p.Number, 0)
	}
	t, rest, fine := takeTime(b)
	p.Time = t
	return p, ok && fine && len(rest) == 0
}

func ratingPlace(o rating.Order, r rating.Rating) []byte {
	var b []byte
	if o != rating.ByKey {
		b = appendTime(b, r.UpdatedAt)
	}
	return append(b, r.Key.String()...)
}

func parseRatingPlace(o rating.Order, b []byte) (*rating.Cursor, bool) {
	var p rating.Cursor
	if o != rating.ByKey {
		var ok bool
		if p.At, b, ok = takeTime(b); !ok {
			return nil, false
		}
	}
	var ok bool
	p.Key, ok = rating.ParseKey(string(b))
	return &p, ok
}
