package content

import (
	"context"
	"time"
)

// A Store is what a Service needs of a database: ContentStore and IdempotencyStore. Methods may be
// called concurrently and share no memory with the caller. Deleted contents are gone for every
// method. Times come and go as UTC with microseconds; texts
// come and go unchanged, byte by byte. What a database never takes, such as texts with NUL, it
// refuses with ErrUnstorable and keeps nothing of it; a store that does take it returns it
// unchanged.
type Store interface {
	ContentStore
	IdempotencyStore
}

// ContentStore keeps contents, each with a version for optimistic concurrency control, and lists them
// by a filter and an order. What a list may cost is bounded.
type ContentStore interface {
	// CreateContent keeps c. ErrConflict: the identifier is taken, or was by a content now deleted.
	CreateContent(ctx context.Context, c Content) error
	// ContentsByID returns those of ids that exist, each once, in any order. A missing one is no
	// error.
	ContentsByID(ctx context.Context, ids []string) ([]Content, error)
	// ListContents returns at most q.Limit contents that match q.Filter, in q.Order, after q.After.
	// ErrTooBroad: to find them it would have to look at many more than q.MaxRows rows. It never
	// leaves a match out instead. A list without a filter is never too broad, in any order, and
	// neither is one whose author, one of whose words, or one of whose spans of time (created,
	// updated) at most q.MaxRows contents have.
	ListContents(ctx context.Context, q Query) ([]Listed, error)
	// CountContents returns how many contents match f, and maxRows+1 if more than maxRows do.
	// ErrTooBroad: to count them it would have to look at many more than maxRows rows. A count is
	// never too broad without a filter, with an author, a word or a span of time alone, or where at
	// most maxRows contents have one of these. A maxRows of 0 bounds nothing.
	CountContents(ctx context.Context, f Filter, maxRows int) (int64, error)
	// UpdateContent replaces title, description and time of change of the content with c's
	// identifier if it still has the version c.Version-1, and leaves it with c.Version.
	// ErrNotFound: there is none. ErrConflict: it has another version.
	UpdateContent(ctx context.Context, c Content) error
	// DeleteContent removes the content and every rating of it; ratings of it that are applied
	// later are refused. It holds nobody up, however many ratings that are: they are gone at once
	// for every method, and their rows may be removed in pieces, by SweepRatings of a rating.Store.
	// ErrNotFound: there is none. ErrConflict: it has another version than the given one. Version
	// 0: whatever it is.
	DeleteContent(ctx context.Context, id string, version int64) error
}

// IdempotencyStore keeps what each idempotency key has created, so that a request that a client
// repeats creates nothing twice. The records are in the same database as the contents: a content
// and its record are kept in one transaction.
type IdempotencyStore interface {
	// CreateContentIdempotent keeps c, as CreateContent does, and r together with it, and returns
	// r: both are kept or neither. If there is an IdempotencyRecord with r's author and key that is
	// not from before since, it keeps nothing and returns that record. An older record is replaced
	// by r.
	CreateContentIdempotent(
		ctx context.Context, c Content, r IdempotencyRecord, since time.Time,
	) (IdempotencyRecord, error)
	// IdempotencyRecordByKey returns the IdempotencyRecord with this author and key, also when its
	// content is deleted. ErrNotFound: there is none.
	IdempotencyRecordByKey(ctx context.Context, author string, key Hash) (IdempotencyRecord, error)
	// SweepIdempotencyRecords removes at most limit IdempotencyRecords from before the given time
	// and returns how many. Their contents stay.
	SweepIdempotencyRecords(ctx context.Context, before time.Time, limit int) (int, error)
}

// Hash is a SHA-256.
type Hash [32]byte

// IdempotencyRecord records that a request, which has a key that its author chose, has made a
// content.
type IdempotencyRecord struct {
	// Author is that of the content. Authors have keys of their own.
	Author string
	// Key and Request are hashes of the key, and of what the request asked for.
	Key, Request Hash
	// Content is the identifier of the content.
	Content string
	// At is when it was made, in UTC, cut to microseconds.
	At time.Time
}

// Filter says which contents are meant. The zero Filter means all; conditions that are set must all
// hold.
type Filter struct {
	// Author is the identifier of the author.
	Author string
	// Terms must each be among Content.Terms, as Terms(search) makes them.
	Terms []string
	// CreatedFrom and UpdatedFrom are the earliest times that match, CreatedBefore and
	// UpdatedBefore the first that no longer do.
	CreatedFrom, CreatedBefore time.Time
	UpdatedFrom, UpdatedBefore time.Time
	// ScoreMin and ScoreMax bound the published score; contents without one match neither.
	ScoreMin, ScoreMax *float64
	// RatingsMin is the least number of stored ratings.
	RatingsMin int64
}

// Field is what a list is ordered by.
type Field string

// The fields that lists can be ordered by. Contents that are equal in the field are ordered by
// identifier, bytewise.
const (
	ByCreated Field = "created_at"
	ByUpdated Field = "updated_at"
	// ByTitle orders by Content.SortTitle, bytewise.
	ByTitle Field = "title"
	// ByScore orders by the published rank (a score shrunk towards the middle while ratings are
	// few; see package rating). A content that was never ranked counts as rank 0.
	ByScore Field = "score"
	// ByRatings orders by the number of stored ratings.
	ByRatings Field = "ratings_count"
)

// Fields returns all fields that lists can be ordered by.
func Fields() []Field { return []Field{ByCreated, ByUpdated, ByTitle, ByScore, ByRatings} }

// Order is the order of a list. The identifier that breaks ties runs in the same direction. The
// zero Order is not valid.
type Order struct {
	Field Field
	Desc  bool
}

// Cursor is the place of a content in an ordered list: the value of the field that the list is
// ordered by, and the identifier.
type Cursor struct {
	Time   time.Time // ByCreated, ByUpdated
	Text   string    // ByTitle: Content.SortTitle
	Number float64   // ByScore, ByRatings
	ID     string
}

// Query asks for a piece of a list.
type Query struct {
	Filter Filter
	Order  Order
	// After is where the piece starts, exclusively; nil: at the beginning. The content that stood
	// there may be gone.
	After *Cursor
	// Limit is at least 1.
	Limit int
	// MaxRows is about how many rows the store may look at beside those that it returns. 0: any
	// number.
	MaxRows int
}

// Listed is a content and its place in the list that it was found in.
type Listed struct {
	Content
	Cursor Cursor
}
