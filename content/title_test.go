package content_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/khodnevis/khodnevis/content"
)

// TestSortTitle has titles in the order in which people read them, on each line those of one
// alphabet, and compares keys that are made at the same time.
func TestSortTitle(t *testing.T) {
	t.Parallel()
	titles := strings.Split(strings.Join([]string{
		"_x|!|😀|1|10|۱x|٢|9",
		"a|A|ab|Äb|Éclair|eclipse|Éf|resume|résumé|Résumé|resumes|Straße|Strasse 1|Z",
		"α|Ω|а|ё|Я",
		"آب|اب|پا|تا|چای|خانه|ژاله|سیب|شب|عشق|قند|کار|\u0643ارد|گل|لب|مدرسه|نان|وام|هوا|\u064aار|یاس",
	}, "|"), "|")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				before := ""
				for i, title := range titles {
					key := content.Content{Title: title}.SortTitle()
					if key <= before {
						t.Errorf("%q does not follow %q", title, titles[max(0, i-1)])
						return
					}
					before = key
				}
			}
		})
	}
	wg.Wait()
	long := content.Content{Title: strings.Repeat("é", content.MaxTitle)}
	if n := len(long.SortTitle()); n != content.TitleKey {
		t.Errorf("the key of a long title has %d bytes, want %d", n, content.TitleKey)
	}
	for _, same := range [][]string{{"a\u200cb", "ab"}, {"é", "e\u0301"}} {
		var keys []string
		for _, title := range same {
			keys = append(keys, content.Content{Title: title}.SortTitle())
		}
		if len(slices.Compact(keys)) != 1 {
			t.Errorf("%q have the keys %q", same, keys)
		}
	}
}
