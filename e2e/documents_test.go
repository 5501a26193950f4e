package e2e

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The documents of the repository, as slash-separated paths below its root.
const (
	english = "README.md"
	chinese = "README.zh-CN.md"
)

// document is a Markdown file.
type document struct {
	name   string
	blocks []string // the fenced blocks, with the comments that mark them
	prose  string   // all else
}

// fencedBlock matches a fenced block and the comment before it.
var fencedBlock = regexp.MustCompile("(?ms)^(<!-- [^\n]* -->\n\n?)?```.*?^```$")

func readDocument(t *testing.T, name string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return document{
		name:   name,
		blocks: fencedBlock.FindAllString(string(text), -1),
		prose:  fencedBlock.ReplaceAllString(string(text), ""),
	}
}

// documents reads all Markdown files of the repository.
func documents(t *testing.T) (docs []document) {
	t.Helper()
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 2 && d.Name()[0] == '.'):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(name, ".md"):
			rel, err := filepath.Rel("..", name)
			if err != nil {
				return err
			}
			docs = append(docs, readDocument(t, filepath.ToSlash(rel)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

var (
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	anyLink  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^(#+) (.*)$`)
)

// links returns the targets of links and pictures, in their order.
func (d document) links() (targets []string) {
	for _, m := range anyLink.FindAllStringSubmatch(codeSpan.ReplaceAllString(d.prose, "code"), -1) {
		targets = append(targets, m[1])
	}
	return targets
}

// notInAnchor matches what GitHub leaves out of the name of a heading.
var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\p{M}_ -]`)

// anchors returns the names by which GitHub links to the headings.
func (d document) anchors() (names []string) {
	count := map[string]int{}
	for _, m := range headings.FindAllStringSubmatch(d.prose, -1) {
		name := notInAnchor.ReplaceAllString(strings.ToLower(m[2]), "")
		name = strings.ReplaceAll(name, " ", "-")
		unique := name
		if n := count[name]; n > 0 { // a heading that is there already
			unique += "-" + strconv.Itoa(n)
		}
		count[name]++
		names = append(names, unique)
	}
	return names
}

// Every link within the repository leads to a file or folder, and to a heading if it names one.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	byName := map[string]document{}
	for _, d := range documents(t) {
		byName[d.name] = d
	}
	checked := 0
	for _, d := range byName {
		for _, target := range d.links() {
			if strings.Contains(target, "://") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(target, "#")
			name := d.name
			if file != "" {
				name = path.Join(path.Dir(d.name), file)
			}
			if _, err := os.Stat(filepath.Join("..", name)); err != nil {
				t.Errorf("%s: %s: %v", d.name, target, err)
			} else if anchor != "" && !slices.Contains(byName[name].anchors(), anchor) {
				t.Errorf("%s: %s: no such heading", d.name, target)
			}
		}
	}
	if checked < 100 {
		t.Errorf("found only %d links", checked)
	}
}

// README.md leads to every page in docs and to every example.
func TestREADMEListsPagesAndExamples(t *testing.T) {
	t.Parallel()
	links := readDocument(t, english).links()
	for _, pattern := range []string{"docs/*.md", "examples/*"} {
		names, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("found no %s: %v", pattern, err)
		}
		for _, name := range names {
			rel := strings.TrimPrefix(filepath.ToSlash(name), "../")
			if !slices.Contains(links, rel) {
				t.Errorf("no link to %s", rel)
			}
		}
	}
}

// The Chinese README has the blocks, the levels of headings and the first cells of the tables of
// the English one, in the same order, and the same links.
func TestTranslationMatches(t *testing.T) {
	t.Parallel()
	en, zh := readDocument(t, english), readDocument(t, chinese)
	for _, part := range []struct {
		name string
		of   func(document) []string
	}{
		{"blocks", func(d document) []string { return d.blocks }},
		{"links", func(d document) []string { return d.linksBut(english, chinese) }},
		{"headings", document.levels},
		{"rows", document.rows},
	} {
		want, got := part.of(en), part.of(zh)
		if len(want) == 0 || len(got) != len(want) {
			t.Errorf("%s: %d, want %d", part.name, len(got), len(want))
		}
		for i := range min(len(want), len(got)) {
			if got[i] != want[i] {
				t.Errorf("%s: %s has\n%s\n%s has\n%s", part.name, chinese, got[i], english, want[i])
				break
			}
		}
	}
	if !slices.Contains(en.links(), chinese) || !slices.Contains(zh.links(), english) {
		t.Error("the two do not link to each other")
	}
}

// linksBut returns the targets of links and pictures in order of their names, but for some. The
// order within a sentence depends on the language.
func (d document) linksBut(names ...string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, target := range d.links() {
			if !slices.Contains(names, target) && !yield(target) {
				return
			}
		}
	})
}

// levels returns the marks of the headings: "#", "##" and so on.
func (d document) levels() (marks []string) {
	for _, m := range headings.FindAllStringSubmatch(d.prose, -1) {
		marks = append(marks, m[1])
	}
	return marks
}

// rows returns the first cell of each row of the tables. The first row names the columns, in
// the language of the document: it counts as "|".
func (d document) rows() (cells []string) {
	inTable := false
	for line := range strings.Lines(d.prose) {
		isRow := strings.HasPrefix(line, "|")
		switch {
		case isRow && inTable:
			cells = append(cells, strings.TrimSpace(strings.Split(line, "|")[1]))
		case isRow:
			cells = append(cells, "|")
		}
		inTable = isRow
	}
	return cells
}

// Chinese text has the wide marks of Chinese punctuation.
func TestChinesePunctuation(t *testing.T) {
	t.Parallel()
	text := codeSpan.ReplaceAllString(readDocument(t, chinese).prose, "code")
	text = anyLink.ReplaceAllString(text, "]")
	for _, wrong := range regexp.MustCompile(`.{0,10}(\p{Han} ?[,;:!?.()]|[,;:!?()] ?\p{Han}).{0,10}`).FindAllString(text, -1) {
		t.Errorf("narrow punctuation: %s", wrong)
	}
}
