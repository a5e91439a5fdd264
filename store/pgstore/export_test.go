package pgstore

import (
	"context"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// Once makes deadlocks show, which are otherwise tried again.
func (s *Store) Once() { s.attempts = 1 }

// RebuildPiece runs one transaction of Rebuild.
func (s *Store) RebuildPiece(ctx context.Context) error {
	return s.transact(ctx, func(tx transaction) error {
		_, err := tx.rebuildPiece(claimRebuilds, nil)
		return err
	})
}

// BucketAt returns score.BucketAt in SQL.
func BucketAt(start, at string) string { return bucketAt(start, at) }

// SQL returns a statement as it is sent.
func (s *Store) SQL(text string) string { return s.sql(text) }

// ContentQuery returns the text of a list of contents that an index serves, and what is bound to
// it.
func ContentQuery(q content.Query) (string, []any) {
	l, err := newContentList(q)
	if err != nil {
		panic(err)
	}
	text, args, _ := l.served()
	return text, args
}

// RatingQuery returns the text of a list of ratings that an index serves, and what is bound to it.
func RatingQuery(q rating.Query) (string, []any) {
	text, args, _ := ratingQuery(q)
	return text, args
}

// The statements whose plans are checked.
const (
	RatingsByKey   = ratingsByKey
	StatsByContent = statsByContent
	RatedContents  = ratedContents
	Audit          = audit
	AnyDirty       = anyDirty
	Claim          = claim
	DirtyBuckets   = dirtyBuckets
)
