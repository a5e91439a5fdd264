// Package content keeps what people rate: titled texts with an author.
//
// A Service holds every rule (who may change what, which text is legal, identifiers, times,
// versions) above a Store, the port that adapters implement. Callers pass the acting user; the
// package knows nothing of HTTP or of sessions.
//
// # Errors
//
// ErrNotFound, ErrConflict, ErrForbidden, ErrKeyReused, ErrDeleted and ErrTooBroad are compared
// with errors.Is. Input that breaks a rule is a *ValidationError, which names each wrong field;
// what a hook of the host refuses is a *Refusal. Everything else is a failure of the store or a
// hook.
//
// # Concurrency
//
// A Service may be used concurrently.
package content

import (
	"errors"
	"time"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/internal/text"
)

// Bounds of a content's texts, in Unicode code points.
const (
	MaxTitle       = 255
	MaxDescription = 65_536
)

var (
	// ErrNotFound says that no such content exists, or no longer.
	ErrNotFound = errors.New("content: not found")
	// ErrConflict says that the content was changed since the version that the change was made
	// from, or that an identifier is taken.
	ErrConflict = errors.New("content: conflict")
	// ErrForbidden says that the acting user may not do this to the content.
	ErrForbidden = errors.New("content: forbidden")
	// ErrKeyReused says that the author used the same IdempotencyKey.Key for another request, no
	// longer than IdempotencyTTL ago.
	ErrKeyReused = errors.New("content: the key was used for another request")
	// ErrDeleted says that the request of an IdempotencyKey created a content before, which has been
	// deleted since.
	ErrDeleted = errors.New("content: created before, and deleted since")
	// ErrTooBroad says that the answer to a query would cost too much. It is the same value as
	// package rating's.
	ErrTooBroad = errs.ErrTooBroad
	// ErrUnavailable says that the store does not answer or has no room. It is the same value as
	// the other packages' ErrUnavailable.
	ErrUnavailable = errs.ErrUnavailable
	// ErrUnstorable says that the store will never take what it was given, however often it is
	// tried: it breaks a rule of the database that no rule of this package covers. It is the same
	// value as the other packages' ErrUnstorable.
	ErrUnstorable = errs.ErrUnstorable
)

// Content is one thing that people rate.
type Content struct {
	// ID is a UUIDv7 in text form, set by the Service.
	ID string
	// Title is one line of 1 to MaxTitle code points, not blank.
	Title string
	// Description is up to MaxDescription code points, may be empty and may have lines and tabs.
	Description string
	// Author is the identifier of the user who created it; it never changes.
	Author string
	// Version starts at 1 and grows by 1 with every change.
	Version int64
	// CreatedAt and UpdatedAt are UTC, cut to microseconds.
	CreatedAt, UpdatedAt time.Time
}

// ChangeableBy reports whether a user may change and delete the content: its author and staff may.
func (c Content) ChangeableBy(a actor.Actor) bool { return c.Author == a.User || a.Staff }

// Draft is what a user writes.
type Draft struct {
	Title       string
	Description string
}

// Validate reports every rule that the draft breaks, as a *ValidationError, or nil.
func (d Draft) Validate() error {
	var bad ValidationError
	if text.Blank(d.Title) {
		bad.add(invalid.IsBlank("title"))
	} else {
		checkText(&bad, "title", d.Title, MaxTitle, text.Line)
	}
	checkText(&bad, "description", d.Description, MaxDescription, text.Lines)
	return bad.err()
}

func checkText(bad *ValidationError, field, value string, limit int, kind text.Kind) {
	if n := utf8.RuneCountInString(value); n > limit {
		bad.add(invalid.TooLong(field, limit))
		return
	}
	if at, why := text.Check(value, kind); why != "" {
		bad.add(invalid.HasCharacter(field, at, why))
	}
}

// ValidID reports whether s can be the identifier of a content.
func ValidID(s string) bool { return id.Valid(s) }
