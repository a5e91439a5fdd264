package httpapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

var walkAnswers = flag.Int64("walk-answers", 800, "how many answers TestRandomWalk looks at on each store")

// TestRandomWalk: people rate, change their ratings, withdraw them and delete their accounts, all at
// once, and no single answer contradicts itself.
func TestRandomWalk(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		w := &walk{server: serve(t, setup{open: open})}
		for i := range 3 {
			w.contents = append(w.contents, w.write(t, fmt.Sprint("walk ", i)))
		}
		const walkers = 4
		for i := range walkers {
			w.join(t, fmt.Sprint("walker", i))
			w.join(t, fmt.Sprint("other", i))
		}
		t.Run("at once", func(t *testing.T) {
			for i := range walkers {
				t.Run(strconv.Itoa(i), func(t *testing.T) {
					t.Parallel()
					dice := rand.New(rand.NewPCG(seed, uint64(i)))
					for w.looked.Load() < *walkAnswers {
						w.act(t, dice, i)
						w.look(t, dice)
					}
				})
			}
		})
	})
}

type walk struct {
	*server
	contents []string
	looked   atomic.Int64
}

// act does something to a rating of one of the two people of a walker, and hardly ever waits for it.
func (w *walk) act(t *testing.T, dice *rand.Rand, walker int) {
	as := fmt.Sprint([]string{"walker", "other"}[dice.IntN(2)], walker)
	r := request{path: "contents/" + w.contents[dice.IntN(len(w.contents))] + "/rating/", as: as, faulty: true}
	switch dice.IntN(10) {
	case 0, 1, 2:
		r.method = http.MethodDelete
	case 3:
		if dice.IntN(20) > 0 {
			w.clock.Advance(time.Duration(dice.IntN(6)) * time.Minute)
			return
		}
		r = leave(as, []string{"delete", "anonymize"}[dice.IntN(2)])
		w.do(t, r)
		return
	default:
		r.method, r.body = http.MethodPut, fmt.Sprintf(`{"score":%d}`, 1+dice.IntN(5))
	}
	if dice.IntN(3) == 0 {
		r.prefer = "wait=1"
	}
	w.do(t, r)
}

// look reads something and checks that it does not contradict itself.
func (w *walk) look(t *testing.T, dice *rand.Rand) {
	id := w.contents[dice.IntN(len(w.contents))]
	switch dice.IntN(4) {
	case 0:
		a := w.do(t, request{path: "contents/" + id + "/", faulty: true})
		w.check(t, a, numbersShape.content)
	case 1, 2:
		a := w.do(t, request{path: "contents/" + id + "/stats/", faulty: true})
		w.check(t, a, numbersShape.stats)
	default:
		least := dice.IntN(4)
		path := fmt.Sprintf("contents/?score__gte=%d&ordering=-ratings_count", least)
		if dice.IntN(2) == 0 {
			path = fmt.Sprintf("contents/?ratings_count__gte=%d&ordering=ratings_count", least)
		}
		w.checkList(t, w.do(t, request{path: path, faulty: true}), path, float64(least))
	}
}

// numbersShape is what an answer says of a content's ratings.
type numbersShape struct {
	Count     int64            `json:"ratings_count"`
	Sum       int64            `json:"sum"`
	Average   *float64         `json:"average_score"`
	Score     *float64         `json:"score"`
	Rank      *float64         `json:"rank"`
	Held      int64            `json:"held"`
	Histogram map[string]int64 `json:"histogram"`
	AsOf      *string          `json:"as_of"`
}

func (w *walk) check(t *testing.T, a answer, is func(numbersShape) string) {
	t.Helper()
	if a.status >= 500 { // on a busy machine
		return
	}
	w.looked.Add(1)
	var n numbersShape
	if err := json.Unmarshal(a.body, &n); err != nil || a.status != http.StatusOK {
		t.Fatalf("%v: %s", err, a)
	}
	if wrong := is(n); wrong != "" {
		t.Errorf("%s: %s", wrong, a)
	}
}

func (w *walk) checkList(t *testing.T, a answer, path string, least float64) {
	t.Helper()
	if a.status >= 500 {
		return
	}
	w.looked.Add(1)
	var list struct{ Results []numbersShape }
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK {
		t.Fatalf("%v: %s", err, a)
	}
	byScore := path[:len("contents/?score")] == "contents/?score"
	for i, n := range list.Results {
		wrong := n.content()
		switch {
		case wrong != "":
		case byScore && (n.Score == nil || *n.Score < least):
			wrong = "a score is lower than asked for"
		case !byScore && n.Count < int64(least):
			wrong = "a content has fewer ratings than asked for"
		case i > 0 && byScore && n.Count > list.Results[i-1].Count, i > 0 && !byScore && n.Count < list.Results[i-1].Count:
			wrong = "the order is not that of the numbers"
		}
		if wrong != "" {
			t.Errorf("%s: %s: %s", path, wrong, a)
		}
	}
}

// content returns what is wrong with the numbers that contents have, or nothing.
func (n numbersShape) content() string {
	switch {
	case (n.Count == 0) != (n.Average == nil), (n.Count == 0) != (n.Score == nil):
		return "an average or a score without ratings, or ratings without them"
	case n.Count > 0 && n.Count <= 3 && math.Abs(*n.Score-*n.Average) > 1e-9:
		return "up to three ratings, and the score is not their average"
	}
	return ""
}

// stats returns what is wrong with statistics, or nothing.
func (n numbersShape) stats() string {
	var count, sum int64
	lowest, highest := math.Inf(1), math.Inf(-1)
	for text, ratings := range n.Histogram {
		score, err := strconv.Atoi(text)
		if err != nil || ratings < 0 {
			return "the histogram is none"
		}
		count, sum = count+ratings, sum+int64(score)*ratings
		if ratings > 0 {
			lowest, highest = min(lowest, float64(score)), max(highest, float64(score))
		}
	}
	const bit = 1e-9
	switch wrong := n.content(); {
	case wrong != "":
		return wrong
	case count != n.Count || sum != n.Sum:
		return "the histogram has other ratings"
	case n.Held < 0 || n.Held > n.Count || n.Count <= 3 && n.Held > 0:
		return "as many are held as cannot be"
	case (n.Rank == nil) != (n.AsOf == nil) || n.Count > 0 && n.Rank == nil:
		return "no rank or no moment"
	case n.Count == 0 && n.Rank != nil && *n.Rank != 3.5:
		return "the rank without ratings is not the prior"
	case n.Count == 0:
		return ""
	case math.Abs(*n.Average-float64(sum)/float64(count)) > bit:
		return "the average is another one"
	case *n.Score < lowest-bit || *n.Score > highest+bit:
		return "the score lies beyond all ratings"
	case math.Abs(*n.Rank-(*n.Score*float64(count)+35)/float64(count+10)) > bit:
		return "the rank does not follow from the score"
	}
	return ""
}
