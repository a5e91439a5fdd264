package kvstore

import (
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// table is a set of rows of one type, by the name that its keys begin with.
type table[T any] byte

// index is the name of a set of keys without values.
type index = byte

// The tables and the parts of their keys. The name of a table that is removed stays unused.
var (
	contents    = table[content.Content](1)           // content
	tombstones  = table[struct{}](2)                  // content that was deleted, or whose ratings were erased
	idempotency = table[content.IdempotencyRecord](3) // author, hash of the key
	ratings     = table[rating.Rating](4)             // content, rater; those that are not withdrawn
	withdrawn   = table[rating.Rating](5)             // content, rater
	numbers     = table[numbersRow](6)                // content
	buckets     = table[bucketRow](7)                 // content, index
	windows     = table[rating.Window](8)             // content, window
	starts      = table[time.Time](9)                 // content
	erasures    = table[rating.Erasure](10)           // rater
	deadLetters = table[rating.DeadLetter](11)        // number
	epochs      = table[int64](12)                    // hash of the stream
	leases      = table[lease](13)                    // job
	counters    = table[int64](14)                    // what is counted
	identity    = table[string](15)                   // nothing
	users       = table[auth.User](16)                // user
	names       = table[string](17)                   // canonical name, of deleted users too
	sessions    = table[auth.Session](18)             // session
	tokens      = table[auth.Token](19)               // hash
	hidden      = table[struct{}](20)                 // content that was erased, with ratings that are left
)

// The indexes and the parts of their keys. A new index stands last; one that is removed leaves its
// name unused.
const (
	contentsByCreated    index = 32 + iota // time, content
	contentsByUpdated                      // time, content
	contentsByTitle                        // content.Content.SortTitle, content
	contentsByScore                        // rank, content
	contentsByRatings                      // count, content
	contentsByAuthor                       // author, time of creation, content
	contentsByTerm                         // term, time of creation, content
	idempotencyByTime                      // time, author, hash of the key
	ratingsByTime                          // time of update, content, rater
	ratingsByContent                       // content, time of update, rater
	ratingsByRater                         // rater, time of update, content
	withdrawnByTime                        // time, content, rater
	numbersDirty                           // time since when, content
	erasuresByTime                         // time, rater
	deadLetterByTime                       // time, number
	deadLetterByKey                        // hash of the key, number
	deadLetterByPosition                   // hash of the position, number
	deadLetterByName                       // hash of position and key, number
	sessionsByUser                         // user, time of creation, session
	sessionsByEnd                          // time, session
	tokensBySession                        // session, 1 for a Family, generation, hash
	tokensByEnd                            // time, hash; those of access
)

func (tb table[T]) get(t *tx, id ...any) (v T, ok bool) {
	row, ok := t.get(key(byte(tb), id...))
	if !ok {
		return v, false
	}
	v, err := decode[T](row)
	t.fail(err)
	return v, err == nil
}

func (tb table[T]) has(t *tx, id ...any) bool {
	_, ok := t.get(key(byte(tb), id...))
	return ok
}

func (tb table[T]) put(t *tx, v T, id ...any) { t.put(key(byte(tb), id...), encode(v)) }

func (tb table[T]) delete(t *tx, id ...any) { t.delete(key(byte(tb), id...)) }

// list returns the first limit rows in s; a limit of -1 returns all.
func (tb table[T]) list(t *tx, s span, limit int) []T {
	var found []T
	if limit == 0 {
		return nil
	}
	for _, row := range t.scan(s) {
		v, err := decode[T](row)
		if t.fail(err); err != nil {
			break
		}
		if found = append(found, v); len(found) == limit {
			break
		}
	}
	return found
}

// following returns the span of the rows whose identifier, a text, is greater than the given one.
func (tb table[T]) following(id string) span {
	return span{prefix: key(byte(tb)), low: append(extend(nil, id), 0)}
}
