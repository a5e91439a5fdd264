package content_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/searchpairs"
	"github.com/khodnevis/khodnevis/store/memstore"
)

func newService(t *testing.T, cfg content.Config) *content.Service {
	t.Helper()
	s, err := content.New(memstore.New(memstore.Config{}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *content.Service, author, title string) content.Content {
	t.Helper()
	c, err := s.Create(t.Context(), author, content.Draft{Title: title})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDraftRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		draft content.Draft
		field string // "" means that it is fine
		code  string
	}{
		{"plain", content.Draft{Title: "t"}, "", ""},
		{"longest", content.Draft{Title: strings.Repeat("م", 255), Description: strings.Repeat("👍", 65_536)}, "", ""},
		{"empty title", content.Draft{}, "title", "blank"},
		{"blank title", content.Draft{Title: " \u00a0\t"}, "title", "blank"},
		{"a title that shows nothing", content.Draft{Title: "\u200b\ufeff"}, "title", "blank"},
		{"long title", content.Draft{Title: strings.Repeat("م", 256)}, "title", "max_length"},
		{"long description", content.Draft{Title: "t", Description: strings.Repeat("x", 65_537)}, "description",
			"max_length"},
		{"lines in a title", content.Draft{Title: "a\nb"}, "title", "bad_character"},
		{"lines in a description", content.Draft{Title: "t", Description: "a\r\n\tb"}, "", ""},
		{"NUL", content.Draft{Title: "t", Description: "a\x00"}, "description", "bad_character"},
	} {
		err := c.draft.Validate()
		var bad *content.ValidationError
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.field != "" &&
			(!errors.As(err, &bad) || len(bad.Fields) != 1 || bad.Fields[0].Name != c.field || bad.Fields[0].Code != c.code):
			t.Errorf("%s: %v, want %s %s", c.name, err, c.field, c.code)
		}
	}
	var bad *content.ValidationError
	if err := (content.Draft{Description: "\x00"}).Validate(); !errors.As(err, &bad) || len(bad.Fields) != 2 {
		t.Errorf("two wrong fields: %v", err)
	}
}

func TestOnlyTheAuthorAndStaffChange(t *testing.T) {
	t.Parallel()
	s := newService(t, content.Config{})
	c := create(t, s, "ana", "t")
	title := "other"
	if _, err := s.Update(t.Context(), actor.Actor{User: "ben"}, c.ID,
		content.Patch{Title: &title}); !errors.Is(err, content.ErrForbidden) {
		t.Errorf("update by another: %v", err)
	}
	if err := s.Delete(t.Context(), actor.Actor{User: "ben"}, c.ID); !errors.Is(err, content.ErrForbidden) {
		t.Errorf("delete by another: %v", err)
	}
	got, err := s.Update(t.Context(), actor.Actor{User: "boss", Staff: true}, c.ID, content.Patch{Title: &title})
	if err != nil || got.Title != title || got.Author != "ana" || got.Version != 2 ||
		!got.UpdatedAt.After(c.UpdatedAt) || got.CreatedAt != c.CreatedAt {
		t.Errorf("update by staff: %+v, %v", got, err)
	}
	if err := s.Delete(t.Context(), actor.Actor{User: "ana"}, c.ID); err != nil {
		t.Errorf("delete by the author: %v", err)
	}
	for range 2 {
		if err := s.Delete(t.Context(), actor.Actor{User: "ana"}, c.ID); !errors.Is(err, content.ErrNotFound) {
			t.Errorf("delete again: %v", err)
		}
	}
}

func TestPatchOfNothingLeavesTheVersion(t *testing.T) {
	t.Parallel()
	s := newService(t, content.Config{})
	c := create(t, s, "ana", "t")
	same := "t"
	for _, p := range []content.Patch{{}, {Title: &same}} {
		if got, err := s.Update(t.Context(), actor.Actor{User: "ana"}, c.ID, p); err != nil || got != c {
			t.Errorf("%+v: %+v, %v", p, got, err)
		}
	}
}

// UpdateFrom changes what was read and reads nothing: by whom it may be changed, and only if it is
// still as it was.
func TestUpdateFrom(t *testing.T) {
	t.Parallel()
	s := newService(t, content.Config{})
	ana, blank, title := actor.Actor{User: "ana"}, " ", "another"
	c := create(t, s, "ana", "t")
	if _, err := s.UpdateFrom(t.Context(), actor.Actor{User: "bob"}, c, content.Patch{Title: &blank}); !errors.Is(err,
		content.ErrForbidden) {
		t.Errorf("somebody else: %v", err)
	}
	var bad *content.ValidationError
	if _, err := s.UpdateFrom(t.Context(), ana, c, content.Patch{Title: &blank}); !errors.As(err, &bad) {
		t.Errorf("a blank title: %v", err)
	}
	changed, err := s.UpdateFrom(t.Context(), ana, c, content.Patch{Title: &title})
	if got, _ := s.Get(t.Context(), c.ID); err != nil || changed.Version != 2 || got != changed {
		t.Errorf("%+v, %v; stored is %+v", changed, err, got)
	}
	if same, err := s.UpdateFrom(t.Context(), ana, changed, content.Patch{Title: &title}); err != nil || same != changed {
		t.Errorf("nothing new: %+v, %v", same, err)
	}
	older := "older"
	if _, err := s.UpdateFrom(t.Context(), ana, c, content.Patch{Title: &older}); !errors.Is(err, content.ErrConflict) {
		t.Errorf("of an old version: %v", err)
	}
	if err := s.Delete(t.Context(), ana, c.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UpdateFrom(t.Context(), ana, changed, content.Patch{Title: &older}); !errors.Is(err,
		content.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// Times of change never run backwards, even when clocks do.
func TestUpdatedAtGrows(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)
	s := newService(t, content.Config{Now: func() time.Time { now = now.Add(-time.Hour); return now }})
	c := create(t, s, "ana", "t0")
	if c.CreatedAt.Nanosecond()%1000 != 0 {
		t.Errorf("%v has more than microseconds", c.CreatedAt)
	}
	for _, title := range []string{"t1", "t2"} {
		got, err := s.Update(t.Context(), actor.Actor{User: "ana"}, c.ID, content.Patch{Title: &title})
		if err != nil || !got.UpdatedAt.After(c.UpdatedAt) {
			t.Fatalf("%v then %v, %v", c.UpdatedAt, got.UpdatedAt, err)
		}
		c = got
	}
}

// Changes without a condition never fail because of each other; with one, exactly one of many with
// the same condition wins.
func TestConcurrentUpdates(t *testing.T) {
	t.Parallel()
	s := newService(t, content.Config{})
	c := create(t, s, "ana", "t")
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for i := range 50 {
		title := strings.Repeat("x", i+1)
		all.Go(func() {
			_, err := s.Update(context.WithoutCancel(t.Context()), actor.Actor{User: "ana"}, c.ID,
				content.Patch{Title: &title}, c.Version)
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, content.ErrConflict):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 49 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

// contested is a store in which others are faster so many times.
type contested struct {
	content.Store
	losses int
}

func (c *contested) UpdateContent(ctx context.Context, changed content.Content) error {
	if c.losses--; c.losses >= 0 {
		return content.ErrConflict
	}
	return c.Store.UpdateContent(ctx, changed)
}

// A change without a condition outlasts as many others as a server takes from one place.
func TestUnconditionalUpdates(t *testing.T) {
	t.Parallel()
	store := &contested{Store: memstore.New(memstore.Config{}), losses: 63}
	s, err := content.New(store, content.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c, title := create(t, s, "ana", "t"), "another"
	if got, err := s.Update(t.Context(), actor.Actor{User: "ana"}, c.ID, content.Patch{Title: &title}); err != nil ||
		got.Title != title {
		t.Errorf("%+v, %v", got, err)
	}
	store.losses = 1000
	if _, err := s.Update(t.Context(), actor.Actor{User: "ana"}, c.ID,
		content.Patch{Title: &c.Title}); !errors.Is(err, content.ErrConflict) {
		t.Errorf("a change that always loses: %v", err)
	}
}

func TestRateableOfDeletedContents(t *testing.T) {
	t.Parallel()
	s := newService(t, content.Config{Cache: lrucache.New(lrucache.Config{})})
	c := create(t, s, "ana", "t")
	for range 2 { // from the store, then from the cache
		found, err := s.Rateable(t.Context(), []string{c.ID, "nothing"})
		if err != nil || !slices.Equal(found, []string{c.ID}) {
			t.Fatalf("%v, %v", found, err)
		}
	}
	if err := s.Delete(t.Context(), actor.Actor{User: "ana"}, c.ID); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Rateable(t.Context(), []string{c.ID}); err != nil || len(found) != 0 {
		t.Errorf("deleted, and still there: %v, %v", found, err)
	}
}

// pausing is a store that waits, the first time, between what it found and saying so.
type pausing struct {
	content.Store
	once       sync.Once
	found, say chan struct{}
}

func (p *pausing) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	all, err := p.Store.ContentsByID(ctx, ids)
	p.once.Do(func() {
		p.found <- struct{}{}
		<-p.say
	})
	return all, err
}

// Who found a content before it was deleted, and remembers it afterwards, brings it back for nobody
// in the process that deleted it, and in another one for less than two seconds.
func TestRateableOfALateReader(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cfg := content.Config{Cache: lrucache.New(lrucache.Config{}), Now: func() time.Time { return now }}
	store := memstore.New(memstore.Config{})
	s, err := content.New(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := create(t, s, "ana", "t")
	slow := &pausing{Store: store, found: make(chan struct{}), say: make(chan struct{})}
	late, err := content.New(slow, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		if found, err := late.Rateable(t.Context(), []string{c.ID}); err != nil || len(found) != 1 {
			t.Errorf("the late reader: %v, %v", found, err)
		}
	})
	<-slow.found
	if err := s.Delete(t.Context(), actor.Actor{User: "ana"}, c.ID); err != nil {
		t.Fatal(err)
	}
	slow.say <- struct{}{}
	reading.Wait()
	now = now.Add(2 * time.Second)
	for name, reader := range map[string]*content.Service{"who deleted it": s, "another": late} {
		if found, err := reader.Rateable(t.Context(), []string{c.ID}); err != nil || len(found) != 0 {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}

// moody is a cache that takes nothing while it is down, and loses nothing.
type moody struct {
	cache.Cache
	down atomic.Bool
}

var errDown = errors.New("down")

func (m *moody) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	if m.down.Load() {
		return nil, errDown
	}
	return m.Cache.GetMany(ctx, keys)
}

func (m *moody) SetMany(ctx context.Context, items []cache.Item) error {
	if m.down.Load() {
		return errDown
	}
	return m.Cache.SetMany(ctx, items)
}

// While the store does not answer, contents that are known exist for ten minutes more, but those
// that the cache knows are deleted, also if it took the mark of that later; for longer they do for
// a worker.
func TestRateableWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	shared, store := &moody{Cache: lrucache.New(lrucache.Config{})}, memstore.New(memstore.Config{})
	cfg := content.Config{Cache: shared, Now: func() time.Time { return now }}
	here, err := content.New(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := &silenced{Store: store}
	there, err := content.New(db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	kept, deleted := create(t, here, "ana", "t").ID, create(t, here, "ana", "t").ID
	type contents interface {
		Rateable(ctx context.Context, ids []string) ([]string, error)
	}
	opened := func(what string, s contents, want int, fails error, ids ...string) {
		t.Helper()
		if found, err := s.Rateable(t.Context(), ids); !errors.Is(err, fails) || len(found) != want {
			t.Errorf("%s: %d are there, %v, want %d, %v", what, len(found), err, want, fails)
		}
	}
	opened("both", there, 2, nil, kept, deleted)
	shared.down.Store(true)
	if err := here.Delete(t.Context(), actor.Actor{User: "ana"}, deleted); err != nil {
		t.Fatal(err)
	}
	opened("where it was deleted", here, 1, nil, kept, deleted)
	now = now.Add(2 * time.Second)
	opened("two seconds later, whatever the cache knows", there, 0, nil, deleted)
	opened("for a worker", there.Cached(), 1, nil, kept)

	deleted = create(t, here, "ana", "t").ID
	opened("another one", there, 1, nil, deleted)
	if err := here.Delete(t.Context(), actor.Actor{User: "ana"}, deleted); err != nil {
		t.Fatal(err)
	}
	db.err = content.ErrUnavailable
	now = now.Add(2 * time.Second)
	opened("while the cache is down too", there, 0, content.ErrUnavailable, kept)
	shared.down.Store(false)
	opened("the cache is not told yet", there, 2, nil, kept, deleted)
	opened("somebody asks where it was deleted", here, 1, nil, kept)
	opened("the cache is told", there, 1, nil, kept, deleted)
	opened("one that is not known", there, 0, content.ErrUnavailable, kept, "nothing")
	now = now.Add(10*time.Minute - 4*time.Second)
	opened("ten minutes later", there, 1, nil, kept)
	now = now.Add(time.Microsecond)
	opened("past ten minutes", there, 0, content.ErrUnavailable, kept)
}

func TestTerms(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][]string{
		"":                                   nil,
		" ,.! ":                              nil,
		"The the THE":                        {"the"},
		"a-b c.d, e2 7":                      {"a", "b", "c", "d", "e2", "7"},
		"Ünïcödé":                            {"unicode"},
		"می\u200cخواهم میخواهم":              {"میخواهم"},
		`"quoted" AND near(x*)`:              {"quoted", "and", "near", "x"},
		"日本 語":                               {"日本", "語"},
		"e\u0301te\u0301 résumé":             {"ete", "resume"},
		"\u064a\u0643 یک یـک":                {"یک"},
		"ΣΊΣΥΦΟΣ σίσυφος":                    {"σισυφοσ"},
		"❤\ufe0f 1\ufe0f\u20e3 👩\u200d🚀":     {"❤", "1", "👩", "🚀"},
		"\u0301a":                            {"a"},
		"İ":                                  {"i"},
		"می\u200cروم":                        {"میروم"},
		"\u200cن\u200cو\u200cه\u200cی\u200c": {"نو", "وه", "هی"},
		"C++ a+b":                            {"c", "++", "a", "+", "b"},
		"50% $9":                             {"50", "%", "$", "9"},
		"Æsop Łódź ŒUVRE":                    {"aesop", "lodz", "oeuvre"},
		"हिन्दी がか ﾀﾞ":                       {"हिन्दी", "がか", "ダ"},
		"a\u00adb\u200ec":                    {"abc"},
	} {
		if got := content.Terms(s); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// TestTermsOfTerms: a term is its own only term, whatever it was made of.
func TestTermsOfTerms(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) {
			for _, term := range content.Terms(string(r) + "\u0654\u0301") {
				if !slices.Equal(content.Terms(term), []string{term}) {
					t.Errorf("%+q makes %+q, which makes %+q", r, term, content.Terms(term))
				}
			}
		}
	}
}

// TestIndexedTerms: what stores keep of a content.
func TestIndexedTerms(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][]string{
		"a ab abc abcd":        {"a", "ab", "abc", "abcd"},
		"C+++":                 {"c", "+", "++", "+++"},
		"👍👍🏽 👍,👍":              {"👍", "👍👍"},
		"عکس آن":               {"عکس", "ان", "عکسان"},
		"عکس، آن":              {"عکس", "ان"},
		"من\u200cو\u200cتو او": {"منو", "منوت", "منوتو", "من", "و", "تو", "وتو", "او", "تواو"},
		"12345678901234567": {"123", "1234", "12345", "123456", "1234567", "12345678", "123456789", "1234567890",
			"12345678901", "123456789012", "1234567890123", "12345678901234", "123456789012345", "1234567890123456",
			"12345678901234567"},
	} {
		if got := (content.Content{Title: s}).Terms(); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	c := content.Content{Title: "من", Description: "تو تو"}
	if got, want := c.Terms(), []string{"من", "تو", "توتو"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, r := range []*unicode.RangeTable{unicode.Nd} { // Terms takes the digits of a range in tens
		for _, in := range r.R16 {
			if (in.Hi-in.Lo+1)%10 != 0 || in.Stride != 1 {
				t.Errorf("digits from %U to %U", in.Lo, in.Hi)
			}
		}
		for _, in := range r.R32 {
			if (in.Hi-in.Lo+1)%10 != 0 || in.Stride != 1 {
				t.Errorf("digits from %U to %U", in.Lo, in.Hi)
			}
		}
	}
}

// TestSearchPairs: which titles a search finds, by what stores keep of a title.
func TestSearchPairs(t *testing.T) {
	t.Parallel()
	if n := len(searchpairs.All); n < 60 {
		t.Errorf("%d pairs, want 60", n)
	}
	for _, p := range searchpairs.All {
		for _, c := range []content.Content{{Title: p.Title}, {Title: "-", Description: p.Title}} {
			indexed := c.Terms()
			terms := content.Terms(p.Search)
			missing := slices.DeleteFunc(slices.Clone(terms), func(s string) bool { return slices.Contains(indexed, s) })
			if len(terms) == 0 || (len(missing) == 0) != p.Found {
				t.Errorf("%q for %q: missing %q of %q, want found: %t", p.Search, p.Title, missing, terms, p.Found)
			}
		}
	}
}
