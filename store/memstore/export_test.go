package memstore

import "github.com/khodnevis/khodnevis/rating"

// Damage adds a rating that does not exist to the numbers of a content.
func (s *Store) Damage(content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rated[content].tally.add(rating.Rating{Result: rating.Created, Score: 5, Bucket: 7}, 1)
}
