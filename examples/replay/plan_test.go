package main

import (
	"math"
	"strings"
	"testing"
)

func TestParseFilms(t *testing.T) {
	t.Parallel()
	films, err := parseFilms(strings.NewReader(`[
		{"Title": "Alien", "Director": "Ridley Scott", "IMDB Rating": 8.5, "IMDB Votes": 180387},
		{"Title": null, "IMDB Rating": null, "IMDB Votes": null},
		{"Title": 1941, "IMDB Rating": 10, "IMDB Votes": -3},
		{"Title": " a\tb\u0000 ", "IMDB Rating": 99, "IMDB Votes": "many"},
		{"Title": "` + strings.Repeat("آ", 300) + `", "IMDB Rating": 0},
		{"Title": "  "}, {"Title": ["x"]}, {}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []film{
		{"Alien", "Director: Ridley Scott\nIMDB Rating: 8.5\nIMDB Votes: 180387", 8.5, 180387},
		{"Untitled film 2", "", 5.5, 0},
		{"1941", "IMDB Rating: 10\nIMDB Votes: -3", 10, 0},
		{"a b", "IMDB Rating: 99\nIMDB Votes: many", 10, 0},
		{strings.Repeat("آ", 255), "IMDB Rating: 0", 1, 0},
		{"Untitled film 6", "", 5.5, 0},
		{"Untitled film 7", "", 5.5, 0},
		{"Untitled film 8", "", 5.5, 0},
	}
	if len(films) != len(want) {
		t.Fatalf("%d films, want %d", len(films), len(want))
	}
	for i := range want {
		if films[i] != want[i] {
			t.Errorf("film %d is %+v, want %+v", i, films[i], want[i])
		}
	}
	for _, bad := range []string{``, `{}`, `[]`, `[1]`, `[{"Title": "x"`} {
		if films, err := parseFilms(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken for %d films", bad, len(films))
		}
	}
}

func planFilms() []film {
	films := make([]film, 60)
	for i := range films {
		films[i] = film{imdb: 1 + float64(i)*9/59, votes: float64(i * i * i)}
	}
	films[0].votes = 0
	return films
}

func TestPlan(t *testing.T) {
	t.Parallel()
	films := planFilms()
	for _, tc := range []struct {
		users, ratings, lanes int
		rerate                float64
	}{
		{200, 5000, 16, 0.1},
		{200, 5000, 1, 1},
		{200, 12_000, 7, 0}, // every film full
		{200, 11_999, 7, 0.5},
		{3, 1, 64, 1},
	} {
		p, err := newPlan(films, tc.users, tc.ratings, tc.lanes, tc.rerate, 1)
		if err != nil {
			t.Fatal(err)
		}
		type key struct{ film, user int }
		lane, times, last := map[key]int{}, map[key]int{}, map[key]int{}
		total, perFilm := 0, make([]int, len(films))
		for l, submissions := range p.lanes {
			for _, s := range submissions {
				k := key{s.film, s.user}
				total++
				if s.score < 1 || s.score > 5 || s.user < 0 || s.user >= tc.users {
					t.Fatalf("%+v: bad submission %+v", tc, s)
				}
				if times[k]++; times[k] == 1 {
					perFilm[s.film]++
				} else if times[k] > 2 || lane[k] != l || last[k] == s.score {
					t.Fatalf("%+v: %+v for the %d. time, in lanes %d and %d, after score %d", tc, s, times[k], lane[k], l, last[k])
				}
				lane[k], last[k] = l, s.score
			}
		}
		if len(times) != tc.ratings || p.ratings != tc.ratings || p.submissions != total || len(p.lanes) > tc.lanes {
			t.Errorf("%+v: %d ratings in %d submissions, said to be %d and %d", tc, len(times), total, p.ratings, p.submissions)
		}
		changed := float64(total-len(times)) / float64(len(times))
		if math.Abs(changed-tc.rerate) > 0.03 {
			t.Errorf("%+v: the fraction of changed ratings is %.3f", tc, changed)
		}
		for i, n := range perFilm {
			if n > tc.users || i > 0 && n+1 < perFilm[i-1] {
				t.Errorf("%+v: film %d has %d ratings, the one of fewer votes %d", tc, i, n, perFilm[i-1])
			}
		}
	}
	if _, err := newPlan(films, 200, 12_001, 1, 0, 1); err == nil {
		t.Error("more ratings than films and users allow are planned")
	}
}

func TestPlanMeansFollow(t *testing.T) {
	t.Parallel()
	films := planFilms()
	p, err := newPlan(films, 400, 60*400, 8, 0, 7)
	if err != nil {
		t.Fatal(err)
	}
	sums := make([]float64, len(films))
	for _, lane := range p.lanes {
		for _, s := range lane {
			sums[s.film] += float64(s.score)
		}
	}
	for i, sum := range sums {
		want := 1 + (films[i].imdb-1)*4/9
		if got := sum / 400; math.Abs(got-want) > 0.2 { // four standard deviations of the mean of 400
			t.Errorf("IMDb %.2f: mean %.3f, want about %.3f", films[i].imdb, got, want)
		}
	}
}

func TestPlanIsSeeded(t *testing.T) {
	t.Parallel()
	end := func(lanes int, seed uint64) map[[2]int]int {
		p, err := newPlan(planFilms(), 50, 1000, lanes, 0.2, seed)
		if err != nil {
			t.Fatal(err)
		}
		m := map[[2]int]int{}
		for _, lane := range p.lanes {
			for _, s := range lane {
				m[[2]int{s.film, s.user}] = s.score
			}
		}
		return m
	}
	same := func(a, b map[[2]int]int) bool {
		for k, v := range a {
			if b[k] != v {
				return false
			}
		}
		return len(a) == len(b)
	}
	if !same(end(1, 1), end(1, 1)) || !same(end(1, 1), end(13, 1)) {
		t.Error("the same seed ends in other ratings, or the lanes decide")
	}
	if same(end(1, 1), end(1, 2)) {
		t.Error("another seed ends in the same ratings")
	}
}
