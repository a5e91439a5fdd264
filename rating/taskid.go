package rating

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/queue"
)

// MaxTaskID is the greatest length of a task's identifier, in bytes.
const MaxTaskID = 512

// ticket is what the identifier of a task carries: where its message stands, what it is about and
// who asked. So the state of a task can be told from the store alone when the cache has forgotten
// it, and the worker needs no table of identifiers.
type ticket struct {
	Op       op
	Position queue.Position
	At       time.Time
	// Key is the rating's; for opRecalculate only Key.Content is set.
	Key Key
	// By is who asked, if the ticket is genuine.
	By string
}

// ticketKinds gives each operation a byte. Bytes are never used again for something else.
var ticketKinds = map[op]byte{opRate: 1, opWithdraw: 2, opRecalculate: 3}

func (t ticket) id() string {
	b := []byte{ticketKinds[t.Op]}
	b = binary.AppendUvarint(b, uint64(t.At.UnixMicro()))
	b = binary.AppendUvarint(b, uint64(t.Position.Offset))
	b = append(b, byte(len(t.Position.Stream)))
	b = append(b, t.Position.Stream...)
	b = appendID(b, t.Key.Content)
	if t.Op != opRecalculate {
		b = appendID(b, t.Key.Rater)
	}
	if t.Op != opRate { // a rating is always the rater's own doing
		b = appendID(b, t.By)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseTicket is the strict inverse of id: every accepted string is the id of what is returned. The
// checksum only tells mistyped identifiers: anybody can make a ticket that says whatever he likes,
// so what it says gives nobody any right. See readableBy.
func parseTicket(s string) (ticket, bool) {
	if len(s) > MaxTaskID {
		return ticket{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 5 || crc32.ChecksumIEEE(b[:len(b)-4]) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return ticket{}, false
	}
	r := reader{b: b[:len(b)-4], ok: true}
	var t ticket
	kind := r.byte()
	for o, k := range ticketKinds {
		if k == kind {
			t.Op = o
		}
	}
	t.At = time.UnixMicro(int64(r.uvarint())).UTC()
	t.Position.Offset = int64(r.uvarint())
	t.Position.Stream = string(r.take(int(r.byte())))
	t.Key.Content = r.id()
	if t.Op != opRecalculate {
		t.Key.Rater = r.id()
		t.By = t.Key.Rater
	}
	if t.Op != opRate {
		t.By = r.id()
	}
	if !r.ok || len(r.b) > 0 || t.Op == "" || t.Position.Offset < 0 || !namesStream(t.Position.Stream) || t.At.Before(earliest) || t.At.After(latest) || t.id() != s {
		return ticket{}, false
	}
	return t, true
}

// namesStream reports whether a queue may have named a stream so; see queue.Position.
func namesStream(s string) bool {
	return s != "" && len(s) <= queue.MaxStream && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// readableBy reports whether a may ask for the task: who asked for it, if it is about a rating of
// his own, and staff. That he asked is not enough, since By may be made up: a withdrawal of another
// one's rating would tell whoever makes one whether that rating exists, even after its rater has
// left. Of his own ratings it tells him nothing new. What is about others' ratings only staff can
// have asked for, and so recalculations, which have no rater; what Erase asks for is in the name of
// one who has left.
func (t ticket) readableBy(a actor.Actor) bool {
	return a.Staff || t.Key.Rater == a.User && t.By == a.User
}

// appendID appends an identifier: a UUID in canonical form as a zero and its 16 bytes, any other
// behind its length.
func appendID(b []byte, s string) []byte {
	if u, ok := packUUID(s); ok {
		return append(append(b, 0), u...)
	}
	return append(append(b, byte(len(s))), s...)
}

func packUUID(s string) ([]byte, bool) {
	if len(s) != 36 || s != strings.ToLower(s) || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return nil, false
	}
	u, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	return u, err == nil
}

func unpackUUID(u []byte) string {
	h := hex.EncodeToString(u)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// reader takes values off the front of b until one is not there.
type reader struct {
	b  []byte
	ok bool
}

func (r *reader) take(n int) []byte {
	if !r.ok || n > len(r.b) {
		r.ok = false
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.ok = false
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) id() string {
	n := int(r.byte())
	if n == 0 {
		if u := r.take(16); u != nil {
			return unpackUUID(u)
		}
		return ""
	}
	s := string(r.take(n))
	if !id.Valid(s) {
		r.ok = false
	}
	return s
}
