package sqlitestore

import (
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// ContentList and RatingList return the statements of lists that an index serves, for their plans
// to be looked at.
func ContentList(q content.Query) (string, []any, error) {
	l, err := newContentList(q)
	text, args, _ := l.served()
	return text, args, err
}

func RatingList(q rating.Query) (string, []any, error) {
	text, args, _, err := ratingList(q)
	return text, args, err
}
