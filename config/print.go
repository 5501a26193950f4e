package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Print writes the configuration in force as YAML, with the source of each value in a
// comment on its line. As a file it makes the same configuration again, but for secrets, which
// are masked. If Action is Version or Help, there is no configuration, and Print writes an empty
// document.
func (l *Loaded) Print(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	sections := map[string]*yaml.Node{"": root}
	for _, set := range l.settings {
		parent, last := split(set.key.name)
		section := openSection(sections, parent)
		section.Content = append(section.Content, leaf(last), valueNode(set))
	}
	var text bytes.Buffer // the encoder would hide the errors of w
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(root), encoder.Close()); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}

// Value is a value of a configuration.
type Value struct {
	Key    string `json:"key"`
	Value  string `json:"value"`  // as text; a secret is masked
	Source string `json:"source"` // as in Print
}

// Values returns the configuration in force, in the order of the keys.
func (l *Loaded) Values() []Value {
	values := make([]Value, len(l.settings))
	for i, s := range l.settings {
		values[i] = Value{s.key.name, s.key.kind.format(s.value), s.shownSource()}
	}
	return values
}

// openSection returns the mapping of a section, and makes it for the first key.
func openSection(sections map[string]*yaml.Node, name string) *yaml.Node {
	section := sections[name]
	if section == nil {
		section = &yaml.Node{Kind: yaml.MappingNode}
		sections[name] = section
		parent, last := split(name)
		above := openSection(sections, parent)
		above.Content = append(above.Content, leaf(last), section)
	}
	return section
}

// split cuts a name before its last part.
func split(name string) (parent, last string) {
	dot := strings.LastIndexByte(name, '.')
	return name[:max(dot, 0)], name[dot+1:]
}

// valueNode returns a value with its comment. Only text can need quotes.
func valueNode(set *setting) *yaml.Node {
	var node *yaml.Node
	list, isList := set.value.([]string)
	switch {
	case isList:
		node = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range list {
			node.Content = append(node.Content, textNode(item))
		}
	case set.key.kind.name == stringKind.name:
		node = textNode(set.key.kind.format(set.value))
	default:
		node = &yaml.Node{Kind: yaml.ScalarNode, Value: set.key.kind.format(set.value)}
	}
	node.LineComment = "# " + set.shownSource()
	return node
}

// textNode returns text on one line, so that the comment can follow it.
func textNode(s string) *yaml.Node {
	node := leaf(s)
	if printable(s) != s {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}
