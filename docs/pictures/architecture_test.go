package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"html"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// The committed pictures are those that the program draws.
func TestPicturesAreCurrent(t *testing.T) {
	for _, p := range pictures() {
		got, err := os.ReadFile(filepath.Join(root, "docs/img", p.file()))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, p.draw()) {
			t.Errorf("%s is out of date: go run ./docs/pictures", p.file())
		}
	}
}

// No line is wider than the picture, in the widest of the common fonts.
func TestTextFits(t *testing.T) {
	text := regexp.MustCompile(`<text x="([\d.]+)" y="[\d.]+" font-family="([\w-]+)" [^>]*>([^<]*)<`)
	for _, p := range pictures() {
		for _, m := range text.FindAllSubmatch(p.draw(), -1) {
			var x float64
			fmt.Sscan(string(m[1]), &x)
			wide := textSize * textWidth
			if string(m[2]) == "monospace" {
				wide = codeSize * codeWidth
			}
			if end := x + wide*float64(len(html.UnescapeString(string(m[3])))); end > width {
				t.Errorf("%s: %q ends at %.0f of %d", p.file(), m[3], end, width)
			}
		}
	}
}

// Every colour has a dark one in its place.
func TestEveryColorHasADarkOne(t *testing.T) {
	color := regexp.MustCompile(`(?:fill|stroke)="(#\w+)"`)
	for _, p := range pictures() {
		for _, m := range color.FindAllSubmatch(p.draw(), -1) {
			if dark[string(m[1])] == "" {
				t.Errorf("%s: no dark colour for %s", p.file(), m[1])
			}
		}
	}
}

// Texts can be read on a light and on a dark background. The least contrast is that of the
// Web Content Accessibility Guidelines 2.2 (1.4.3).
func TestTextContrasts(t *testing.T) {
	const least = 4.5
	for _, c := range []struct{ text, on string }{
		{ink, paper}, {ink, inner}, {ink, blue}, {ink, green}, {ink, yellow}, {ink, grey},
		{faint, paper}, {faint, inner},
	} {
		if got := contrast(c.text, c.on); got < least {
			t.Errorf("light: the contrast of %s on %s is %.1f", c.text, c.on, got)
		}
		if got := contrast(dark[c.text], dark[c.on]); got < least {
			t.Errorf("dark: the contrast of %s on %s is %.1f", dark[c.text], dark[c.on], got)
		}
	}
}

// contrast is the contrast ratio of the guidelines, from 1 to 21.
func contrast(a, b string) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// luminance is the relative luminance of a colour, as #rrggbb, from 0 to 1.
func luminance(color string) (sum float64) {
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		var value uint8
		fmt.Sscanf(color[1+2*i:3+2*i], "%x", &value)
		part := float64(value) / 255
		if part <= 0.04045 {
			part /= 12.92
		} else {
			part = math.Pow((part+0.055)/1.055, 2.4)
		}
		sum += weight * part
	}
	return sum
}

// What the journeys name is there.
func TestJourneysNameWhatExists(t *testing.T) {
	src := readSource(t)
	for _, p := range pictures() {
		j, ok := p.(journey)
		if !ok {
			continue
		}
		for _, s := range j.steps {
			for _, name := range s.names() {
				if !src.declares(s.file, name) {
					t.Errorf("%s: %s does not declare %s", p.file(), s.file, name)
				}
			}
			for _, file := range inText.FindAllString(s.text, -1) {
				if !exists(file) {
					t.Errorf("%s: there is no %s", p.file(), file)
				}
			}
		}
	}
}

// inText matches the name of a file in a sentence.
var inText = regexp.MustCompile(`[\w/]+\.go\b`)

// What architecture.md names in backticks is there. The names in a list behind a file and a
// colon are declared in that file, any other one somewhere in the module. Configuration keys
// are in configuration.md.
func TestArchitectureNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(filepath.Join(root, "docs/configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	text = fenced.ReplaceAll(text, nil)
	src, files, names := readSource(t), 0, 0
	file, end := "", 0 // the file whose list of names ends there
	for _, m := range inCode.FindAllSubmatchIndex(text, -1) {
		name, between := string(text[m[2]:m[3]]), string(text[end:m[0]])
		if file != "" && !inList.MatchString(between) {
			file = ""
		}
		switch isKey := bytes.Contains(keys, []byte("`"+name+"`")); {
		case strings.Contains(name, " "), key.MatchString(name) && isKey:
			continue
		case strings.Contains(name, "/"), strings.HasSuffix(name, ".go"):
			files++
			if file = ""; !exists(name) {
				t.Errorf("there is no %s", name)
			} else if strings.HasPrefix(string(text[m[1]:]), ":") {
				file = name
			}
		case file != "":
			names++
			if !src.declares(file, name) {
				t.Errorf("%s does not declare %s", file, name)
			}
		case !exists(name) && !src.declares("", name) && name != "code":
			t.Errorf("nothing declares %s", name)
		}
		end = m[1]
	}
	if files < 100 || names < 100 {
		t.Errorf("found only %d files, and %d names in them", files, names)
	}
}

var (
	fenced = regexp.MustCompile("(?ms)^```.*?^```$")
	inCode = regexp.MustCompile("`([^`]+)`")
	inList = regexp.MustCompile(`^:?(,? and|,| or|)\s+$`)
	key    = regexp.MustCompile(`^[a-z]+(\.[a-z_]+)+$`)
)

// exists reports whether a file or folder is in the module. Several may be named by a
// pattern.
func exists(name string) bool {
	found, err := filepath.Glob(filepath.Join(root, name))
	return err == nil && len(found) > 0
}

// source has what each Go file of the module declares: names, and Type.Member for methods,
// fields and methods of interfaces.
type source struct {
	files    map[string]map[string]bool
	packages map[string]map[string]bool // by the last part of the folder
}

func readSource(t *testing.T) source {
	t.Helper()
	src := source{map[string]map[string]bool{}, map[string]map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "testdata", "bench", "examples"}, d.Name()):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		names := declared(file)
		src.files[filepath.ToSlash(rel)] = names
		pkg := filepath.Base(filepath.Dir(path))
		if src.packages[pkg] == nil {
			src.packages[pkg] = map[string]bool{}
		}
		for name := range names {
			src.packages[pkg][name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// declares reports whether a file declares name; an empty file stands for the whole module,
// where name may begin with its package.
func (src source) declares(file, name string) bool {
	if file != "" {
		return src.files[file][name]
	}
	pkg, rest, _ := strings.Cut(name, ".")
	if src.packages[pkg][rest] {
		return true
	}
	for _, names := range src.files {
		if names[name] {
			return true
		}
	}
	return false
}

// declared returns what a file declares.
func declared(file *ast.File) map[string]bool {
	names := map[string]bool{}
	add := func(of, name string) {
		names[name] = true
		if of != "" {
			names[of+"."+name] = true
		}
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			add(receiver(d), d.Name.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range s.Names {
						add("", name.Name)
					}
				case *ast.TypeSpec:
					add("", s.Name.Name)
					for _, member := range members(s.Type) {
						add(s.Name.Name, member)
					}
				}
			}
		}
	}
	return names
}

// receiver is the type of a method, without its parameters; empty for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// members are the fields of a struct, or the methods of an interface.
func members(typ ast.Expr) (names []string) {
	var list *ast.FieldList
	switch typ := typ.(type) {
	case *ast.StructType:
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		for _, name := range field.Names {
			names = append(names, name.Name)
		}
	}
	return names
}
