package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

const (
	maxTitle = 255 // code points, from the contract

	// The range of an IMDb rating, and the one assumed for a film that has none.
	minIMDb, maxIMDb, unknownIMDb = 1.0, 10.0, 5.5
)

// film is a row of the data set, made fit to be created as a content.
type film struct {
	title       string
	description string
	imdb        float64 // 1 to 10
	votes       float64 // 0 when the data set has none
}

// loadFilms reads the data set from a file.
func loadFilms(path string) ([]film, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the data set %s is not there; get it with\n"+
			"  npm pack vega-datasets && tar xzf vega-datasets-*.tgz package/data/movies.json\n"+
			"and say -data package/data/movies.json", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	films, err := parseFilms(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return films, nil
}

// parseFilms reads an array of rows. Any column may be missing, null or of an odd type: some titles
// are numbers (1941, 300), one is null, and a good two hundred films have no rating.
func parseFilms(r io.Reader) ([]film, error) {
	var rows []map[string]any
	dec := json.NewDecoder(r)
	dec.UseNumber() // or the title 1941 becomes a float
	if err := dec.Decode(&rows); err != nil {
		return nil, fmt.Errorf("not an array of films: %w", err)
	}
	if len(rows) == 0 {
		return nil, errors.New("no films in it")
	}
	films := make([]film, len(rows))
	for i, row := range rows {
		title := text(row["Title"])
		if title == "" {
			title = fmt.Sprintf("Untitled film %d", i+1)
		}
		imdb, rated := number(row["IMDB Rating"])
		if !rated {
			imdb = unknownIMDb
		}
		votes, _ := number(row["IMDB Votes"])
		films[i] = film{
			title:       title,
			description: describe(row),
			imdb:        min(max(imdb, minIMDb), maxIMDb),
			votes:       max(votes, 0),
		}
	}
	return films, nil
}

func describe(row map[string]any) string {
	var lines []string
	for _, column := range []string{"Director", "Major Genre", "Release Date", "Distributor", "IMDB Rating",
		"IMDB Votes"} {
		if v := text(row[column]); v != "" {
			lines = append(lines, column+": "+v)
		}
	}
	return strings.Join(lines, "\n")
}

// text renders a cell as one line that a title may be, empty when there is nothing to render.
func text(cell any) string {
	var s string
	switch v := cell.(type) {
	case string:
		s = v
	case json.Number:
		s = v.String()
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if runes := []rune(s); len(runes) > maxTitle {
		s = strings.TrimSpace(string(runes[:maxTitle]))
	}
	return s
}

func number(cell any) (float64, bool) {
	n, ok := cell.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}
