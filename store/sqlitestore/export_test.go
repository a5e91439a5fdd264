package sqlitestore

import (
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// ContentList and RatingList return the statements of lists, for their plans to be looked at.
func ContentList(q content.Query) (string, []any, error) { return contentList(q) }
func RatingList(q rating.Query) (string, []any, error)   { return ratingList(q) }
