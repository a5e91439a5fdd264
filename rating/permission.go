package rating

import (
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/rating/internal/taskid"
)

// checkMayWithdraw returns ErrForbidden unless a may withdraw the rating: its rater and staff may.
func checkMayWithdraw(a actor.Actor, key Key) error {
	if a.User != key.Rater && !a.Staff {
		return ErrForbidden
	}
	return nil
}

// mayReadTask reports whether a may read a task: staff may, and so may the user who asked for it,
// if it is about a rating of that user. To have asked for it is not enough, because the identifier
// may be forged: the task of a withdrawal of another rater's rating would reveal whether that
// rating exists. Only staff can ask for what concerns other raters' ratings, and for
// recalculations, which have no rater; an erasure acts in the name of a rater who left.
func mayReadTask(a actor.Actor, t taskid.Ticket) bool {
	return a.Staff || t.Rater == a.User && t.By == a.User
}
