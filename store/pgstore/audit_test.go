package pgstore_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// An audit names the contents whose numbers are wrong, whichever number it is, and no other.
func TestAudit(t *testing.T) {
	t.Parallel()
	s := open(t)
	audit := func(want ...string) {
		t.Helper()
		n, suspects, err := s.Audit(t.Context())
		if err != nil || n != 3 || !slices.Equal(suspects, want) {
			t.Errorf("of %d contents %v are suspects, %v; want %v of 3", n, suspects, err, want)
		}
	}
	if n, suspects, err := s.Audit(t.Context()); err != nil || n != 0 || len(suspects) != 0 {
		t.Errorf("of nothing: %d contents, suspects %v, %v", n, suspects, err)
	}
	var batch rating.Batch
	for i, id := range []string{"a", "b", "c", "gone"} {
		for rater, score := range []int{5, 4, 4, 1, -3} {
			c := change(id, fmt.Sprint(rater), int64(i+1), score)
			c.At = instant.Add(time.Duration(20+rater) * time.Hour)
			batch.Changes = append(batch.Changes, c)
		}
	}
	for range 2 { // with ratings that were changed and withdrawn
		if _, err := s.ApplyRatings(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		for i := range batch.Changes {
			c := &batch.Changes[i]
			c.Version.Offset += 10
			if c.Rater == "3" {
				c.Withdraw, c.Score = true, 0
			} else {
				c.Score, c.At = c.Score+1, instant.AddDate(0, 0, 30)
			}
		}
	}
	s.run(t, `INSERT INTO `+s.schema+`.deleted_contents (id) VALUES ('gone')`)
	s.run(t, `DELETE FROM `+s.schema+`.rating_stats WHERE content_id = 'gone'`) // what is left of it is nobody's
	audit()
	for _, damage := range []string{
		`UPDATE {schema}.rating_stats SET open_counts[1] = open_counts[1] + 1 WHERE content_id = 'b'`,
		`UPDATE {schema}.rating_stats SET open_scores = '{1,2,3}', open_counts = '{1,-2,1}' WHERE content_id = 'b'`,
		`UPDATE {schema}.rating_stats SET open_bucket = 7, open_scores = '{4}', open_counts = '{1}'
			WHERE content_id = 'b'`,
		`UPDATE {schema}.rating_buckets SET counts[1] = counts[1] + 1 WHERE content_id = 'b'`,
		`UPDATE {schema}.rating_buckets SET scores[1] = -scores[1] WHERE content_id = 'b'`,
		`UPDATE {schema}.rating_buckets SET bucket = bucket + 1 WHERE content_id = 'b'`,
		`UPDATE {schema}.rating_buckets SET scores = '{}', counts = '{}' WHERE content_id = 'b'`,
		`DELETE FROM {schema}.rating_buckets WHERE content_id = 'b'`,
		`INSERT INTO {schema}.rating_buckets VALUES ('b', 99, '{4}', '{1}')`,
		`INSERT INTO {schema}.rating_buckets VALUES ('b', 98, '{4}', '{1}'), ('b', 99, '{4}', '{-1}')`,
		`UPDATE {schema}.ratings SET bucket = bucket - 1 WHERE (content_id, rater) = ('b', '0')`,
		`UPDATE {schema}.ratings SET score = score + 1 WHERE (content_id, rater) = ('b', '0')`,
		`UPDATE {schema}.ratings SET withdrawn = false WHERE (content_id, rater) = ('b', '3')`,
		`DELETE FROM {schema}.ratings WHERE (content_id, rater) = ('b', '0')`,
	} {
		s.run(t, strings.ReplaceAll(damage, "{schema}", s.schema))
		n, suspects, err := s.Audit(t.Context())
		if err != nil || n != 3 || !slices.Equal(suspects, []string{"b"}) {
			t.Errorf("after %s\nof %d contents %v are suspects, %v", damage, n, suspects, err)
		}
		if drifts, err := s.Recount(t.Context(), suspects); err != nil || len(drifts) != 1 {
			t.Errorf("after %s\nthe drifts are %+v, %v", damage, drifts, err)
		}
		audit()
	}
	s.run(t, fmt.Sprintf(`INSERT INTO %s.rating_buckets VALUES ('b', 99, '{4}', '{%d}')`, s.schema, math.MaxInt64))
	if n, suspects, err := s.Audit(t.Context()); err == nil {
		t.Errorf("a sum that no product has room for: %d contents, suspects %v", n, suspects)
	}
}
