// Package migrate knows which steps of a schema a database still needs. The adapters run them.
package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// ErrNewer says that a database has steps that this version of the program does not know, so that
// it must not write to it.
var ErrNewer = errors.New("migrate: the schema is of a newer version of this program")

// Step is one file of a schema, or the record that it was run.
type Step struct {
	Version int    `db:"version"`
	Name    string `db:"name"`
	Text    string `db:"-"`
}

// Read returns the files <number>_<name>.sql in the order of their numbers, which are 1, 2, 3 and
// so on.
func Read(files fs.FS) ([]Step, error) {
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		return nil, err
	}
	steps := make([]Step, len(names))
	for i, name := range names {
		number, _, _ := strings.Cut(name, "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("%s stands in place %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		steps[i] = Step{Version: i + 1, Name: name, Text: string(text)}
	}
	return steps, nil
}

// Due returns those of steps that are not among the records done, both in ascending order.
// ErrNewer: there is a record of another step.
func Due(steps, done []Step) ([]Step, error) {
	for i, d := range done {
		if i >= len(steps) || d.Version != steps[i].Version || d.Name != steps[i].Name {
			return nil, fmt.Errorf("%w: it has the step %d, %s", ErrNewer, d.Version, d.Name)
		}
	}
	return steps[len(done):], nil
}
