package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// entry is a line of the journal. Which fields are set says what it is: the begin or end of a run,
// a registered user, a created content, or (content, user and score) an accepted rating.
type entry struct {
	Begin    string `json:"begin,omitempty"`
	End      string `json:"end,omitempty"`
	Username string `json:"username,omitempty"`
	Title    string `json:"title,omitempty"`
	Content  string `json:"content,omitempty"`
	User     string `json:"user,omitempty"`
	Score    int    `json:"score,omitempty"`
	Task     string `json:"task,omitempty"`
}

// journal knows what the server has accepted, and so what it must have: the last accepted score of
// each user and film. Its methods may be called concurrently.
type journal struct {
	mu       sync.Mutex
	file     io.Writer // nil: kept in memory alone
	contents []string  // in order of creation
	titles   map[string]string
	scores   map[string]map[string]int // content → user → score
	users    map[string]bool
	accepted int
	open     map[string]bool // runs begun and not ended
}

func newJournal(file io.Writer) *journal {
	return &journal{
		file:   file,
		titles: map[string]string{},
		scores: map[string]map[string]int{},
		users:  map[string]bool{},
		open:   map[string]bool{},
	}
}

// readJournal reads what earlier runs have written.
func readJournal(path string) (*journal, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	j := newJournal(nil)
	dec := json.NewDecoder(bufio.NewReader(f))
	for {
		var e entry
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			return j, nil
		}
		if err == nil {
			err = j.record(e)
		}
		if err != nil {
			return nil, fmt.Errorf("journal %s, byte %d: %w", path, dec.InputOffset(), err)
		}
	}
}

// record writes e to the file, a line at once and unbuffered, so that a killed run leaves whole
// lines, and counts it.
func (j *journal) record(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		if _, err := j.file.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	switch {
	case e.Begin != "":
		j.open[e.Begin] = true
	case e.End != "":
		delete(j.open, e.End)
	case e.Username != "":
		j.users[e.User] = true
	case e.Title != "":
		j.contents = append(j.contents, e.Content)
		j.titles[e.Content] = e.Title
		j.scores[e.Content] = map[string]int{}
	case j.scores[e.Content] == nil || e.User == "" || e.Score < minScore || e.Score > maxScore:
		return fmt.Errorf("not a rating of a known content: %s", line)
	default:
		j.accepted++
		j.scores[e.Content][e.User] = e.Score
	}
	return nil
}

// tally is what a film's statistics must say.
type tally struct {
	count, sum int64
	histogram  [maxScore + 1]int64 // by score
}

func (j *journal) expected(content string) tally {
	j.mu.Lock()
	defer j.mu.Unlock()
	var t tally
	for _, score := range j.scores[content] {
		t.count++
		t.sum += int64(score)
		t.histogram[score]++
	}
	return t
}

// kept is the number of ratings that must be counted: those accepted but for the ones a later one
// superseded.
func (j *journal) kept() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, users := range j.scores {
		n += len(users)
	}
	return n
}
