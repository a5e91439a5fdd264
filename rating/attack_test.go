package rating_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/rating/worker"
)

// crowd gives scores, by their shares in hundredths.
type crowd [5]int

var (
	honest = crowd{8, 4, 8, 20, 60} // J-shaped, as ratings are: mean 4.2
	middle = crowd{20, 15, 20, 35, 10}
	ones   = crowd{100}
)

func (c crowd) mean() float64 {
	sum := 0
	for i, share := range c {
		sum += (i + 1) * share
	}
	return float64(sum) / 100
}

// deck deals the scores of a crowd: every hundred cards have its shares exactly, in any order.
type deck struct {
	of    crowd
	cards []int
}

func (d *deck) deal(dice *rand.Rand) int {
	if len(d.cards) == 0 {
		for i, share := range d.of {
			for range share {
				d.cards = append(d.cards, i+1)
			}
		}
		dice.Shuffle(len(d.cards), func(i, j int) { d.cards[i], d.cards[j] = d.cards[j], d.cards[i] })
	}
	score := d.cards[0]
	d.cards = d.cards[1:]
	return score
}

// campaign is a content and those who rate it, on the real path: service, queue, worker, store,
// recalculation.
type campaign struct {
	*world
	recalculator *worker.Recalculator
	dice         *rand.Rand
	decks        map[crowd]*deck
	content      string
	raters       int
	last         task.Task
	honest       struct{ n, sum int } // of the ratings that are none of an attack
}

func newCampaign(t *testing.T, seed uint64) *campaign {
	t.Helper()
	c := &campaign{world: newWorldAt(t, nil, func() time.Time {
		return someTime
	}), dice: rand.New(rand.NewPCG(seed, 7))} //nolint:gosec // repeatable on purpose
	c.decks = map[crowd]*deck{honest: {of: honest}, middle: {of: middle}, ones: {of: ones}}
	c.recalculator = check(worker.NewRecalculator(c.ratings, c.store))(t)
	c.work()
	c.content = c.world.content().ID
	// An attack does not begin with an hour or a day of the history.
	c.rate(1, honest, 0, false)
	c.offset.Add(int64(30 * time.Minute))
	return c
}

// rate has n of a crowd rate, one after the other, within d.
func (c *campaign) rate(n int, of crowd, d time.Duration, attack bool) {
	c.t.Helper()
	began := c.offset.Load()
	for i := range n {
		c.offset.Store(began + int64(d)*int64(i)/int64(n))
		score := c.decks[of].deal(c.dice)
		c.raters++
		c.last = c.submit("u"+strconv.Itoa(c.raters), c.content, score).Task
		if !attack {
			c.honest.n, c.honest.sum = c.honest.n+1, c.honest.sum+score
		}
	}
	c.offset.Store(began)
}

// hours lets time pass, an hour at a time, with a number of ratings of a crowd and of an attack
// spread over all of it, and tells after each hour, unless each is nil, what is published then.
func (c *campaign) hours(hours, honestly, attacking int, as crowd, each func(hour int, score, average float64)) {
	c.t.Helper()
	share := func(n, hour int) int { return n*(hour+1)/hours - n*hour/hours }
	for hour := range hours {
		before := c.raters
		c.rate(share(honestly, hour), as, time.Hour, false)
		c.rate(share(attacking, hour), ones, time.Hour, true)
		c.offset.Add(int64(time.Hour))
		if each == nil {
			continue
		}
		if c.raters > before && c.await(c.last).State != task.Success {
			c.t.Fatal("a rating is not stored")
		}
		check(c.recalculator.RefreshScores(c.t.Context()))(c.t)
		average, _ := c.stats(c.content).Average()
		each(hour, c.stats(c.content).Score.Value, average)
	}
}

// pulls returns how far the score and the plain average are pulled from the average of the honest
// ratings until a day after an attack.
func pulls(t *testing.T, seed uint64, hours, n, during, calm, attack int, as crowd) (pulled, plain float64) {
	t.Helper()
	w := newCampaign(t, seed)
	w.hours(hours, n, 0, honest, nil)
	measure := func(_ int, score, average float64) {
		truth := float64(w.honest.sum) / float64(w.honest.n)
		pulled, plain = max(pulled, math.Abs(score-truth)), max(plain, math.Abs(average-truth))
	}
	if as == honest {
		w.hours(during, attack, 0, honest, measure)
	} else {
		w.hours(during, calm*during/24, attack, honest, measure)
	}
	w.hours(24, calm, 0, honest, measure)
	return pulled, plain
}

// TestAttackTable holds the published score to what is promised of it, on the real path: how far it
// is pulled from the average of the honest ratings until a day after an attack of ten times as many
// ones, and what it does when no attack is under way.
func TestAttackTable(t *testing.T) {
	t.Parallel()
	const tolerance, run = 0.05, 30*24 + 12 // what lasts for days begins at noon, not with a day of the history
	for _, c := range []struct {
		name                string
		n, hours            int // the honest ratings before, and how long they took
		calm                int // the honest ratings of a day from then on
		attack, during      int // the attack, and how many hours it took
		as                  crowd
		pulled, plainPulled float64
	}{
		{"newborn, 10x in 6 h", 300, 6, 300, 3000, 6, ones, 0.34, 2.84},
		{"newborn, 10x in 3 days", 300, 6, 300, 3000, 72, ones, 2.04, 2.27},
		{"young, 10x in 6 h", 20, 48, 7, 200, 6, ones, 0.55, 2.93},
		{"mid, 10x in 6 h", 1000, run, 33, 10_000, 6, ones, 0.12, 2.91},
		{"mid, 10x in 3 days", 1000, run, 33, 10_000, 72, ones, 0.15, 2.91},
		{"mid, honest virality 10x in 6 h", 1000, run, 33, 10_000, 6, honest, 0.02, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var pulled, plain float64
			seeds := uint64(1)
			if c.n < 100 { // so few ratings are no sample of their crowd
				seeds = 25
			}
			for seed := range seeds {
				score, average := pulls(t, seed+1, c.hours, c.n, c.during, c.calm, c.attack, c.as)
				pulled, plain = pulled+score/float64(seeds), plain+average/float64(seeds)
			}
			t.Logf("the score was pulled by %.3f, the plain average by %.3f", pulled, plain)
			if math.Abs(pulled-c.pulled) > tolerance {
				t.Errorf("the score was pulled by %.3f, promised are %.2f", pulled, c.pulled)
			}
			if math.Abs(plain-c.plainPulled) > tolerance {
				t.Errorf("the plain average was pulled by %.3f, expected %.2f: the attack is another one", plain, c.plainPulled)
			}
		})
	}
	t.Run("genuine shift, 1,000 a day", func(t *testing.T) {
		t.Parallel()
		w := newCampaign(t, 2)
		w.hours(run, 1000, 0, honest, nil)
		arrived := map[string]float64{}
		goal := honest.mean() - 0.9*(honest.mean()-middle.mean())
		w.hours(12*24, 12_000, 0, middle, func(hour int, score, average float64) {
			for what, value := range map[string]float64{"the score": score, "the plain average": average} {
				if _, ok := arrived[what]; !ok && value <= goal {
					arrived[what] = float64(hour+1) / 24
				}
			}
		})
		t.Logf("90 %% of the way: %v", arrived)
		for what, want := range map[string]float64{"the score": 9.1, "the plain average": 8.9} {
			if math.Abs(arrived[what]-want) > 0.25 {
				t.Errorf("%s went 90 %% of the way in %.1f days, promised are %.1f", what, arrived[what], want)
			}
		}
	})
}
