package httpapi

import (
	"errors"

	"github.com/khodnevis/khodnevis/rating"
)

// ownKey returns the key of the caller's rating of the content in the path, which must exist.
func (c *call) ownKey() (rating.Key, error) {
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return rating.Key{}, err
	}
	return rating.Key{Content: c.param, Rater: c.who.Subject}, nil
}

func (c *call) getOwnRating() error {
	key, err := c.ownKey()
	if err != nil {
		return err
	}
	return c.respondRating(key, nil)
}

func (c *call) putOwnRating() error {
	score, _, err := c.sentScore()
	if err != nil {
		return err
	}
	key, err := c.ownKey()
	if err != nil {
		return err
	}
	old, pending, err := c.visible(key)
	switch {
	case errors.Is(err, rating.ErrNotFound):
		old = rating.Rating{Key: key}
	case err != nil:
		return err
	}
	if err := c.sameRating(old, pending); err != nil {
		return err
	}
	return c.rate(c.param, score)
}

// sameRating refuses read-only members with other values. Any state is accepted: it changes by
// itself between a read and a write.
func (c *call) sameRating(old rating.Rating, pending bool) error {
	if s, _ := c.input.text("state"); ratingState(s) == stateStored || ratingState(s) == statePending {
		return c.input.unchanged(c.ratingDetail(old, pending), "state")
	}
	return c.input.unchanged(c.ratingDetail(old, pending))
}

func (c *call) deleteOwnRating() error {
	key, err := c.ownKey()
	if err != nil {
		return err
	}
	return c.withdraw(key)
}
