package rating

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/internal/text"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Window is a part of a content's history that staff have ruled on. It changes the published score
// and nothing else: ratings, average, count and histogram stay, and the score is as before once the
// window is removed.
//
// A window covers whole buckets, all those that the time from From to Until touches: hours of the
// first day of a content, days from then on. In a bucket of several windows score.Excluded wins.
type Window struct {
	ID, Content string
	Ruling      score.Ruling
	// From and Until are as given by staff; Until is exclusive.
	From, Until time.Time
	// First and Last are the Index of the first and of the last bucket that the window covers.
	First, Last int
	// Note says why, for people. At most MaxNote code points.
	Note string
	// By is the identifier of the user who added the window.
	By        string
	CreatedAt time.Time
}

const (
	// MaxNote is the greatest length of the Note of a Window, in code points.
	MaxNote = 500
	// maxWindows is the greatest number of windows of one content.
	maxWindows = 100
)

// Validate reports the fields Ruling, From, Until and Note if they cannot be used, as a
// *ValidationError.
func (w Window) Validate() error {
	var bad ValidationError
	if w.Ruling != score.Excluded && w.Ruling != score.Cleared {
		bad.add(invalid.NotAmong("ruling", score.Excluded, score.Cleared))
	}
	const usage = "Give a time between 2000 and 2200, such as 2026-01-31T12:00:00Z (RFC 3339)."
	if !event.InRange(w.From) {
		bad.add(invalid.Field{Name: "from", Code: invalid.Type, Detail: usage})
	}
	if !event.InRange(w.Until) {
		bad.add(invalid.Field{Name: "until", Code: invalid.Type, Detail: usage})
	} else if event.InRange(w.From) && !w.From.Before(w.Until) {
		bad.add(invalid.Field{Name: "until", Code: invalid.MinValue, Detail: "Give a time after from."})
	}
	if n := utf8.RuneCountInString(w.Note); n > MaxNote {
		bad.add(invalid.TooLong("note", MaxNote))
	} else if at, why := text.Check(w.Note, text.Lines); why != "" {
		bad.add(invalid.HasCharacter("note", at, why))
	}
	return bad.err()
}

// AddWindow records a window with the Content, Ruling, From, Until and Note of w, and returns it
// whole. The score follows before AddWindow returns, or if that fails with the next refresh.
// ErrForbidden: the actor is not staff. An invalid field, a content that was never rated, and a
// content that has 100 windows are a *ValidationError.
func (s *Service) AddWindow(ctx context.Context, actor actor.Actor, w Window) (Window, error) {
	if !actor.Staff {
		return Window{}, ErrForbidden
	}
	if err := w.Validate(); err != nil {
		return Window{}, err
	}
	h, err := s.history(ctx, w.Content)
	if err != nil {
		return Window{}, err
	}
	if h.Start.IsZero() {
		return Window{}, invalidField(invalid.Field{Name: "from", Code: invalid.NotExist,
			Detail: "The content has no ratings yet."})
	}
	if len(h.Windows) >= maxWindows {
		return Window{}, invalidField(invalid.Field{
			Name: "from", Code: invalid.MaxLength, Params: map[string]any{"max": maxWindows},
			Detail: fmt.Sprintf("The content has %d windows already. Remove some.", maxWindows),
		})
	}
	w.ID, w.By, w.CreatedAt = id.New(), actor.User, s.cfg.time()
	w.From, w.Until = w.From.UTC().Truncate(time.Microsecond), w.Until.UTC().Truncate(time.Microsecond)
	w.First, w.Last = score.BucketAt(h.Start, w.From), score.BucketAt(h.Start, w.Until.Add(-time.Microsecond))
	if err := s.store.AddWindow(ctx, w); err != nil {
		return Window{}, fmt.Errorf("rating: add a window of %s: %w", w.Content, err)
	}
	s.publishRuling(ctx, w.Content)
	s.cfg.Logger.InfoContext(ctx, "rating: window added", "content", w.Content, "window", w.ID, "ruling", w.Ruling,
		"from", w.From, "until", w.Until, "by", w.By)
	return w, nil
}

// RemoveWindow removes a window of a content, or all of them if windowID is empty. ErrForbidden:
// the actor is not staff. ErrNotFound: there is no such window.
func (s *Service) RemoveWindow(ctx context.Context, actor actor.Actor, content, windowID string) error {
	if !actor.Staff {
		return ErrForbidden
	}
	ids := []string{windowID}
	if windowID == "" {
		h, err := s.history(ctx, content)
		if err != nil {
			return err
		}
		ids = ids[:0]
		for _, w := range h.Windows {
			ids = append(ids, w.ID)
		}
	}
	for _, one := range ids {
		if err := s.store.RemoveWindow(ctx, content, one); err != nil {
			return fmt.Errorf("rating: remove window %s of %s: %w", one, content, err)
		}
		s.cfg.Logger.InfoContext(ctx, "rating: window removed", "content", content, "window", one, "by", actor.User)
	}
	s.publishRuling(ctx, content)
	return nil
}

// publishRuling publishes the score of a content with other windows than before. If that fails, a
// worker does it later.
func (s *Service) publishRuling(ctx context.Context, content string) {
	if err := s.Publish(ctx, []string{content}); err != nil {
		s.cfg.Logger.WarnContext(ctx, "rating: a window has changed, and the score does not follow yet",
			"content", content, "error", err)
	}
}

// history returns the history of a content. ErrNotFound: there is no such content.
func (s *Service) history(ctx context.Context, content string) (History, error) {
	if err := s.Exists(ctx, content); err != nil {
		return History{}, err
	}
	h, err := s.store.HistoryByContent(ctx, content)
	if err != nil {
		return History{}, fmt.Errorf("rating: history of %s: %w", content, err)
	}
	return h, nil
}
