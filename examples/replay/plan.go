package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// The scale of the contract's default.
const minScore, maxScore = 1, 5

// submission is one rating to send: film and user are indices.
type submission struct {
	film, user, score int
}

// plan is everything a run submits. It depends on its arguments alone, and what ends up stored does
// not depend on the number of lanes.
type plan struct {
	// lanes are sent at the same time, each in order. A user's rating of a film is in one lane
	// only, at most twice and then with two scores, so the score that must win is the later one of
	// its lane.
	lanes       [][]submission
	ratings     int // different pairs of user and film
	submissions int
}

func newPlan(films []film, users, ratings, lanes int, rerate float64, seed uint64) (plan, error) {
	if most := len(films) * users; ratings > most {
		return plan{}, fmt.Errorf("%d ratings asked, but %d films and %d users make at most %d: give more -users",
			ratings, len(films), users, most)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	first := make([]submission, 0, ratings)
	for i, n := range ratingsPerFilm(films, users, ratings) {
		for _, u := range rng.Perm(users)[:n] {
			first = append(first, submission{film: i, user: u, score: drawScore(rng, films[i].imdb)})
		}
	}
	rng.Shuffle(len(first), func(i, j int) { first[i], first[j] = first[j], first[i] })

	type placed struct {
		submission
		at int
	}
	queues := make([][]placed, min(lanes, len(first)))
	total := 0
	for i, s := range first {
		q := &queues[i%len(queues)]
		*q = append(*q, placed{s, i})
		total++
		if rng.Float64() < rerate {
			s.score = otherScore(rng, s.score)
			*q = append(*q, placed{s, i + 1 + rng.IntN(len(first)-i)})
			total++
		}
	}
	p := plan{lanes: make([][]submission, len(queues)), ratings: len(first), submissions: total}
	for l, q := range queues {
		slices.SortStableFunc(q, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
		for _, s := range q {
			p.lanes[l] = append(p.lanes[l], s.submission)
		}
	}
	return p, nil
}

// ratingsPerFilm shares the ratings out in proportion to the votes, at most users to a film, and
// exactly as many as asked. Films of few votes may get none. Going from the most votes down, what a
// capped film cannot take goes to the rest.
func ratingsPerFilm(films []film, users, ratings int) []int {
	order := make([]int, len(films))
	weight := 0.0
	for i, f := range films {
		order[i] = i
		weight += f.votes + 1
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(films[b].votes, films[a].votes) })

	counts := make([]int, len(films))
	for rank, i := range order {
		w := films[i].votes + 1
		share := int(math.Round(float64(ratings) * w / weight))
		if rank == len(order)-1 {
			share = ratings // whatever the rounding of the sums left
		}
		counts[i] = min(share, users, ratings)
		ratings -= counts[i]
		weight -= w
	}
	return counts
}

// drawScore draws a binomial score whose mean is the IMDb rating carried from 1..10 to 1..5.
func drawScore(rng *rand.Rand, imdb float64) int {
	p := (imdb - minIMDb) / (maxIMDb - minIMDb)
	score := minScore
	for range maxScore - minScore {
		if rng.Float64() < p {
			score++
		}
	}
	return score
}

func otherScore(rng *rand.Rand, score int) int {
	const n = maxScore - minScore + 1
	return minScore + (score-minScore+1+rng.IntN(n-1))%n
}
