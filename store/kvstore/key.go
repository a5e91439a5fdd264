package kvstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// key returns a key of a table or an index: its name, and the encodings of parts, which sort
// bytewise as the parts do, the first one first.
//
//	string     its bytes, with 00 written as 00 02, and 00 01 as its end
//	int64      8 bytes, big-endian, with the sign bit flipped
//	time.Time  its microseconds since 1970, as an int64
//	float64    its bits, big-endian: all flipped if it is negative, else the sign bit. -0 is 0
//	[32]byte   as it is
func key(name byte, parts ...any) []byte {
	return extend(append(make([]byte, 0, 16+24*len(parts)), name), parts...)
}

// extend appends the encodings of parts to a key.
func extend(k []byte, parts ...any) []byte {
	for _, part := range parts {
		switch v := part.(type) {
		case string:
			for i := range len(v) {
				if k = append(k, v[i]); v[i] == 0 {
					k = append(k, 2)
				}
			}
			k = append(k, 0, 1)
		case int64:
			k = binary.BigEndian.AppendUint64(k, uint64(v)^1<<63)
		case time.Time:
			k = binary.BigEndian.AppendUint64(k, uint64(v.UnixMicro())^1<<63)
		case float64:
			bits := math.Float64bits(v + 0) // -0 + 0 is 0
			if bits>>63 == 1 {
				bits = ^bits
			} else {
				bits ^= 1 << 63
			}
			k = binary.BigEndian.AppendUint64(k, bits)
		case [32]byte:
			k = append(k, v[:]...)
		default:
			panic(fmt.Sprintf("kvstore: a key of a %T", part))
		}
	}
	return k
}

// parts reads a key, or the rest of one, part by part.
type parts []byte

func (p *parts) text() string {
	end := bytes.Index(*p, []byte{0, 1})
	s := string((*p)[:end])
	*p = (*p)[end+2:]
	if bytes.IndexByte([]byte(s), 0) >= 0 {
		return string(bytes.ReplaceAll([]byte(s), []byte{0, 2}, []byte{0}))
	}
	return s
}

func (p *parts) integer() int64 {
	n := int64(binary.BigEndian.Uint64(*p) ^ 1<<63)
	*p = (*p)[8:]
	return n
}

func (p *parts) time() time.Time { return time.UnixMicro(p.integer()).UTC() }

func (p *parts) hash() (h [32]byte) {
	*p = (*p)[copy(h[:], *p):]
	return h
}

// after returns the least key that is greater than all keys that begin with prefix, which begins
// with the name of a table.
func after(prefix []byte) []byte {
	k := bytes.Clone(prefix)
	for k[len(k)-1] == 0xff {
		k = k[:len(k)-1]
	}
	k[len(k)-1]++
	return k
}
