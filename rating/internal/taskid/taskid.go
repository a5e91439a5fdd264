// Package taskid is the codec of the identifiers of tasks. An identifier carries the position of
// the message, its subject and who asked. So the state of a task follows from the store alone when
// the cache has lost it, and a worker needs no table of identifiers.
package taskid

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/task"
)

// Ticket is what the identifier of a task says.
type Ticket struct {
	Op       event.Op
	Position queue.Position
	At       time.Time
	Content  string
	Rater    string // empty for event.Recalculate
	// By is the identifier of the user who asked, unless the ticket is forged.
	By string
}

// Of returns the ticket of an event that was published at a position. rater is empty for
// event.Recalculate.
func Of(e event.Event, at queue.Position, content, rater string) Ticket {
	t := Ticket{Op: e.Op, Position: at, At: e.At, Content: content, Rater: rater, By: e.By}
	if e.Op == event.Rate {
		t.By = rater
	}
	return t
}

// Task returns what the ticket alone says about the task.
func (t Ticket) Task() task.Task {
	name := task.Apply
	if t.Op == event.Recalculate {
		name = task.Recalculate
	}
	return task.Task{ID: t.ID(), Name: name, State: task.Pending, Creator: t.By, CreatedAt: t.At,
		ExpiresAt: t.At.Add(task.Retention)}
}

// MessageKey returns the key of the message that the ticket is for.
func (t Ticket) MessageKey() string {
	if t.Op == event.Recalculate {
		return t.Content
	}
	return t.Content + ":" + t.Rater
}

// kinds gives each operation a byte. A byte is never used again for something else.
var kinds = map[event.Op]byte{event.Rate: 1, event.Withdraw: 2, event.Recalculate: 3}

// ID returns the identifier of the task.
func (t Ticket) ID() string {
	b := []byte{kinds[t.Op]}
	b = binary.AppendUvarint(b, uint64(t.At.UnixMicro()))
	b = binary.AppendUvarint(b, uint64(t.Position.Offset))
	b = append(b, byte(len(t.Position.Stream)))
	b = append(b, t.Position.Stream...)
	b = appendID(b, t.Content)
	if t.Op != event.Recalculate {
		b = appendID(b, t.Rater)
	}
	if t.Op != event.Rate { // only the rater rates
		b = appendID(b, t.By)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// Parse is the strict inverse of Ticket.ID: it returns true only if s is the ID of the ticket that
// it returns. The checksum finds mistyped identifiers and no more: anybody can forge a ticket, so a
// ticket gives nobody any right.
func Parse(s string) (Ticket, bool) {
	if len(s) > task.MaxID {
		return Ticket{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 5 || crc32.ChecksumIEEE(b[:len(b)-4]) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return Ticket{}, false
	}
	r := reader{b: b[:len(b)-4], ok: true}
	var t Ticket
	kind := r.byte()
	for o, k := range kinds {
		if k == kind {
			t.Op = o
		}
	}
	t.At = time.UnixMicro(int64(r.uvarint())).UTC()
	t.Position.Offset = int64(r.uvarint())
	t.Position.Stream = string(r.take(int(r.byte())))
	t.Content = r.id()
	if t.Op != event.Recalculate {
		t.Rater = r.id()
		t.By = t.Rater
	}
	if t.Op != event.Rate {
		t.By = r.id()
	}
	if !r.ok || len(r.b) > 0 || t.Op == "" || t.Position.Offset < 0 || !validStream(t.Position.Stream) ||
		!event.InRange(t.At) || t.ID() != s {
		return Ticket{}, false
	}
	return t, true
}

// validStream reports whether a queue may use s as the name of a stream; see queue.Position.
func validStream(s string) bool {
	return s != "" && len(s) <= queue.MaxStream && !strings.ContainsFunc(s,
		func(r rune) bool { return r <= ' ' || r > '~' })
}

// appendID appends an identifier: a UUID in canonical form as a zero and its 16 bytes, any other
// identifier after its length.
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

// reader takes values off the front of b. ok becomes false when a value is missing.
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
