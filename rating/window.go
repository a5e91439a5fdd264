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
	"github.com/khodnevis/khodnevis/rating/score"
)

// Window is a part of a content's history that staff have ruled on. It changes the published score
// and nothing else: ratings, average, count and histogram stay, and without the window the score is
// what it was.
//
// A window takes in whole buckets: all those that the time from From to Until touches, so hours of
// a content's first day and days of its own, counted from its opening, from then on. In a bucket of
// several windows score.Excluded wins.
type Window struct {
	ID, Content string
	Ruling      score.Ruling
	// From and Until are as they were given; Until is the first moment after it.
	From, Until time.Time
	// First and Last are the buckets that it takes in, both included.
	First, Last int
	// Note is for people: why. At most MaxNote code points.
	Note string
	// By is who made it.
	By        string
	CreatedAt time.Time
}

// Bounds of windows.
const (
	MaxNote    = 500 // code points of a note
	MaxWindows = 100 // of one content
)

// WindowDraft is a window as staff give it.
type WindowDraft struct {
	Content     string
	Ruling      score.Ruling
	From, Until time.Time
	Note        string
}

// Validate reports every field that cannot be used, as a *ValidationError.
func (d WindowDraft) Validate() error {
	var bad ValidationError
	if d.Ruling != score.Excluded && d.Ruling != score.Cleared {
		bad.add(invalid.NotAmong("ruling", score.Excluded, score.Cleared))
	}
	const usage = "Give a time between 2000 and 2200, such as 2026-01-31T12:00:00Z (RFC 3339)."
	sane := func(at time.Time) bool { return !at.Before(earliest) && !at.After(latest) }
	if !sane(d.From) {
		bad.add(invalid.Field{Name: "from", Code: invalid.Type, Detail: usage})
	}
	if !sane(d.Until) {
		bad.add(invalid.Field{Name: "until", Code: invalid.Type, Detail: usage})
	} else if sane(d.From) && !d.From.Before(d.Until) {
		bad.add(invalid.Field{Name: "until", Code: invalid.MinValue, Detail: "Give a time after from."})
	}
	if n := utf8.RuneCountInString(d.Note); n > MaxNote {
		bad.add(invalid.TooLong("note", MaxNote))
	} else if at, why := text.Check(d.Note, text.Lines); why != "" {
		bad.add(invalid.HasCharacter("note", at, why))
	}
	return bad.err()
}

// AddWindow records a window. The score follows with the next recalculation. ErrForbidden: the
// actor is not staff. What WindowDraft.Validate reports, a content without a history, or one that
// has MaxWindows already is a *ValidationError.
func (s *Service) AddWindow(ctx context.Context, actor actor.Actor, d WindowDraft) (Window, error) {
	if !actor.Staff {
		return Window{}, ErrForbidden
	}
	if err := d.Validate(); err != nil {
		return Window{}, err
	}
	opened, h, err := s.history(ctx, d.Content)
	if err != nil {
		return Window{}, err
	}
	if opened.IsZero() {
		return Window{}, invalidField(invalid.Field{Name: "from", Code: invalid.NotExist, Detail: "The content has no ratings yet."})
	}
	if len(h.Windows) >= MaxWindows {
		return Window{}, invalidField(invalid.Field{Name: "from", Code: invalid.MaxLength, Params: map[string]any{"max": MaxWindows},
			Detail: fmt.Sprintf("The content has %d windows already. Remove some.", MaxWindows)})
	}
	w := Window{ID: id.New(), Content: d.Content, Ruling: d.Ruling, Note: d.Note, By: actor.User, CreatedAt: s.cfg.time(),
		From: d.From.UTC().Truncate(time.Microsecond), Until: d.Until.UTC().Truncate(time.Microsecond)}
	w.First, w.Last = score.BucketAt(opened, w.From), score.BucketAt(opened, w.Until.Add(-time.Microsecond))
	if err := s.store.AddWindow(ctx, w); err != nil {
		return Window{}, fmt.Errorf("rating: add a window of %s: %w", d.Content, err)
	}
	s.cfg.Logger.InfoContext(ctx, "rating: window added", "content", w.Content, "window", w.ID, "ruling", w.Ruling, "from", w.From, "until", w.Until, "by", w.By)
	return w, nil
}

// RemoveWindow takes a window back, or all of the content's if windowID is empty. ErrForbidden: the
// actor is not staff. ErrNotFound: there is no such window.
func (s *Service) RemoveWindow(ctx context.Context, actor actor.Actor, content, windowID string) error {
	if !actor.Staff {
		return ErrForbidden
	}
	ids := []string{windowID}
	if windowID == "" {
		_, h, err := s.history(ctx, content)
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
	return nil
}

// history returns a content's history and when it opened, zero if it has not.
func (s *Service) history(ctx context.Context, content string) (time.Time, History, error) {
	contents, err := s.contents.HistoryStarts(ctx, []string{content})
	if err != nil {
		return time.Time{}, History{}, fmt.Errorf("rating: look up content %s: %w", content, err)
	}
	opened, ok := contents[content]
	if !ok {
		return time.Time{}, History{}, ErrNotFound
	}
	h, err := s.store.HistoryByContent(ctx, content)
	if err != nil {
		return time.Time{}, History{}, fmt.Errorf("rating: history of %s: %w", content, err)
	}
	if opened.IsZero() {
		opened = h.Start
	}
	return opened, h, nil
}
