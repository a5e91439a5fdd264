package storetest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/store/storetest"
)

// TestSentences keeps suite and ports together: every check quotes its port, and every sentence
// about an interface is quoted.
func TestSentences(t *testing.T) {
	t.Parallel()
	sources := map[string][]string{
		"content": {"../../content"},
		"rating":  {"../../rating"},
		"auth":    {"../../auth"},
		"across":  {"..", "../../content", "../../rating"},
	}
	unquoted := map[string]string{
		"A Store is what a Service needs of a database: ContentStore and IdempotencyStore.": "says what it is",
		"For adapters: a Store keeps ratings and every number derived from them.":           "says what it is",
		"A Store is what a Service needs of a database: UserStore and SessionStore.":        "says what it is",
		"ErrUnavailable and ErrUnstorable are those of package store.":                      "names them",
		"It is composed of slices of a few methods.":                                        "says what it is",
		"compute must not call the store.":                                                  "binds the caller",
		"Repaired contents are claimed by the next RefreshScores.":                          "the port can break nothing",
	}
	said, promised := map[string]string{}, map[string][]string{}
	for port, dirs := range sources {
		for _, dir := range dirs {
			all, ofStore := comments(t, dir)
			said[port] += all
			if port != "across" {
				promised[port] = append(promised[port], ofStore...)
			}
		}
	}

	quoted, names := map[string][]string{}, map[string]bool{}
	for _, c := range storetest.Checks() {
		port, _, ok := strings.Cut(c.Name, "/")
		if !ok || said[port] == "" || names[c.Name] {
			t.Errorf("%s: the name must be unique and begin with a port", c.Name)
		}
		names[c.Name] = true
		if c.Sentence == "" || !strings.Contains(said[port], c.Sentence) {
			t.Errorf("%s: the port does not say %q", c.Name, c.Sentence)
		}
		quoted[port] = append(quoted[port], c.Sentence)
	}
	quoted["content"] = append(quoted["content"], quoted["across"]...)
	for port, sentences := range promised {
		for _, sentence := range sentences {
			if unquoted[sentence] == "" && !covers(quoted[port], sentence) {
				t.Errorf("%s: no check quotes %q", port, sentence)
			}
		}
	}
}

// covers reports whether a quotation holds the sentence, or is a part of it.
func covers(quotations []string, sentence string) bool {
	for _, q := range quotations {
		if strings.Contains(q, sentence) || strings.Contains(sentence, q) {
			return true
		}
	}
	return false
}

var sentenceEnd = regexp.MustCompile(`\. ([A-Z])`)

// comments returns all comments of a package on one line, and the sentences about its interface
// Store and the methods of its slices. The paragraph of a slice says what the slice is for.
func comments(t *testing.T, dir string) (all string, ofStore []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no source: %v", dir, err)
	}
	var b strings.Builder
	ports := interfaces{}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range file.Comments {
			b.WriteString(flat(group) + "\n")
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.TYPE {
				ports[decl.Specs[0].(*ast.TypeSpec).Name.Name] = decl
			}
			return true
		})
	}
	docs := ports.methods("Store")
	if store := ports["Store"]; store != nil {
		docs = append(docs, store.Doc)
	}
	for _, doc := range docs {
		if doc != nil {
			ofStore = append(ofStore, strings.Split(sentenceEnd.ReplaceAllString(flat(doc), ".\n$1"), "\n")...)
		}
	}
	return b.String(), ofStore
}

// interfaces are the declared types of a package by name, interfaces among them.
type interfaces map[string]*ast.GenDecl

// methods returns the comments of the methods of an interface, embedded ones included.
func (all interfaces) methods(name string) (docs []*ast.CommentGroup) {
	decl := all[name]
	if decl == nil {
		return nil
	}
	iface, ok := decl.Specs[0].(*ast.TypeSpec).Type.(*ast.InterfaceType)
	if !ok {
		return nil
	}
	for _, field := range iface.Methods.List {
		if embedded, ok := field.Type.(*ast.Ident); ok {
			docs = append(docs, all.methods(embedded.Name)...)
		} else {
			docs = append(docs, field.Doc)
		}
	}
	return docs
}

func flat(group *ast.CommentGroup) string { return strings.Join(strings.Fields(group.Text()), " ") }
