package config_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/config"
	"wireline/lib/field"
)

// checked is a section whose Check warns, and refuses.
type checked struct {
	Name string `config:"name" default:"n"`
}

func (c *checked) Check(_ context.Context, warn func(error)) error {
	warn(&field.Error{Field: "Name", Value: c.Name, Reason: "is odd"})
	warn(errors.New("no field's warning"))
	if c.Name == "bad" {
		return errors.Join(&field.Error{Field: "Name", Value: c.Name, Reason: "is bad"}, errors.New("no field's error"))
	}
	return nil
}

// plain is one with the simpler method.
type plain struct {
	Size int `config:"size" default:"1"`
}

func (p *plain) Check(context.Context) error {
	if p.Size == 0 {
		return &field.Error{Field: "Size", Value: p.Size, Reason: "is bad"}
	}
	return nil
}

type program struct {
	Plain plain              `config:"plain"`
	Many  map[string]checked `config:"many"`
}

func TestAnswer(t *testing.T) {
	const odd = "many.a.name: flag --many.a.name: \"x\" is odd\nno field's warning\n"
	for _, test := range []struct {
		args             string
		answered         bool
		printed, warned  string
		failed, contains string
	}{
		{args: ""},
		{args: "--version", answered: true, printed: "prog v7\n"},
		{args: "--help", answered: true, contains: "Usage: prog [--config FILE]"},
		{args: "--help", answered: true, contains: "  --many.NAME.KEY VALUE "},
		{args: "--help", answered: true, contains: "\nThe notes.\n"},
		{args: "--print-config", answered: true, printed: "plain:\n  size: 1 # default\n"},
		{args: "--check", answered: true, printed: "configuration is good\n"},
		{args: "--check --many.a.name=x", answered: true, printed: "configuration is good\n", warned: odd},
		{args: "--check --plain.size=0 --many.a.name=bad", answered: true, warned: strings.ReplaceAll(odd, `"x"`, `"bad"`),
			failed: "plain.size: flag --plain.size: \"0\" is bad\nmany.a.name: flag --many.a.name: \"bad\" is bad\nsection Many.a: no field's error"},
	} {
		var p program
		l, err := config.Load(&p, config.Options{Name: "prog", Version: "v7", Notes: "The notes.", Args: append([]string{}, strings.Fields(test.args)...), Environ: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		var out, warned bytes.Buffer
		answered, err := l.Answer(context.Background(), &out, func(err error) { warned.WriteString(err.Error() + "\n") })
		failed := ""
		if err != nil {
			failed = err.Error()
		}
		if answered != test.answered || test.contains == "" && out.String() != test.printed || !strings.Contains(out.String(), test.contains) || warned.String() != test.warned {
			t.Errorf("%s: %v, printed\n%swarned\n%s", test.args, answered, out.String(), warned.String())
		}
		if diff := cmp.Diff(test.failed, failed); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.args, diff)
		}
	}
}
