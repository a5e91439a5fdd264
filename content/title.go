package content

import (
	"sync"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

// TitleKey is how many bytes of its collation key take part in the order of a title, so that a
// position in a list stays small. They have all of a title of 18 letters, and the letters without
// accents and case of one of 45, in most scripts.
const TitleKey = 96

// SortTitle is for adapters. It returns the first TitleKey bytes of the collation key of the title,
// which are any bytes and compare bytewise as titles are ordered: by the Unicode Collation Algorithm
// with CLDR's order of Persian, so letters first, then accents, then case, and in Persian و before ه.
// Digits compare one by one, those of all scripts by their value. The keys follow from
// golang.org/x/text/collate; what a store keeps of them must be computed anew when that changes.
func (c Content) SortTitle() string {
	s := sorters.Get().(*sorter)
	defer sorters.Put(s)
	key := s.KeyFromString(&s.buffer, c.Title)
	first := string(key[:min(TitleKey, len(key))])
	s.buffer.Reset()
	return first
}

// sorter is a collator, which must not be used concurrently, with its buffer.
type sorter struct {
	*collate.Collator
	buffer collate.Buffer
}

var sorters = sync.Pool{New: func() any { return &sorter{Collator: collate.New(language.Persian)} }}
