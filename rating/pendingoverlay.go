package rating

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/task"
)

// pendingOverlay gives raters read-your-writes consistency: what a rater has submitted and no
// worker has stored yet lies over what is stored. It is in the cache only.
type pendingOverlay struct{ typedCache[pendingChange] }

// pendingChange is a submission that may not be stored yet.
type pendingChange struct {
	Version  Version `json:"version"`
	Score    int     `json:"score"`
	Withdraw bool    `json:"withdraw,omitempty"`
	At       int64   `json:"at"` // microseconds since 1970
}

func newPendingOverlay(c *optionalCache) pendingOverlay {
	return pendingOverlay{typedCache[pendingChange]{c, "pending:"}}
}

func (p pendingOverlay) item(key Key, v Version, e event.Event) cache.Item {
	change := pendingChange{Version: v, Score: e.Score, Withdraw: e.Op == event.Withdraw, At: e.At.UnixMicro()}
	return p.itemOf(key.String(), change, v.ordinal(), task.Retention)
}

// over returns stored with a later submission applied to it, if there is one.
func (p pendingOverlay) over(ctx context.Context, stored Rating) (r Rating, isPending bool) {
	name := stored.Key.String()
	change, ok := p.values(ctx, name)[name]
	if !ok || change.Version.Compare(stored.Version) <= 0 {
		return stored, false
	}
	r = stored
	at := time.UnixMicro(change.At).UTC()
	if stored.Withdrawn {
		r.CreatedAt = at
	}
	if r.Score != change.Score || stored.Withdrawn {
		r.UpdatedAt = at
	}
	r.Score, r.Withdrawn = change.Score, change.Withdraw
	return r, true
}

// forget removes a submission that will never be stored, unless a later one has replaced it.
func (p pendingOverlay) forget(ctx context.Context, key Key, v Version) {
	name := key.String()
	if change, ok := p.values(ctx, name)[name]; ok && change.Version == v {
		p.remove(ctx, name)
	}
}

// withoutWithdrawal returns those of stored for which no withdrawal is pending, as far as the cache
// knows.
func (p pendingOverlay) withoutWithdrawal(ctx context.Context, stored []Rating) []Rating {
	names := make([]string, len(stored))
	for i, r := range stored {
		names[i] = r.Key.String()
	}
	changes := p.values(ctx, names...)
	rest := make([]Rating, 0, len(stored))
	for i, r := range stored {
		if change, ok := changes[names[i]]; !ok || !change.Withdraw || change.Version.Compare(r.Version) <= 0 {
			rest = append(rest, r)
		}
	}
	return rest
}
