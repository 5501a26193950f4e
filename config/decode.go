package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// decoders turn the text of a file into a tree, by the extension of the file. For every
// format it is a tree of YAML nodes. They keep each scalar as it was written, so 010 does
// not become 8, nor 1.20 become 1.2, and they keep both of two equal keys.
var decoders = map[string]func(data []byte) (*yaml.Node, error){
	".yaml": decodeYAML,
	".yml":  decodeYAML,
	".toml": decodeTOML,
	".json": decodeJSON,
}

// null is the tree of an empty file, and of JSON's null.
func null() *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
}

// leaf is a single value. Its type in the file makes no difference.
func leaf(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

func decodeYAML(data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case err == io.EOF:
		return null(), nil
	case err != nil:
		return nil, err
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, errors.New("yaml: there is a second document")
	case err != io.EOF:
		return nil, err
	}
	return document.Content[0], nil
}

// decodeJSON keeps what encoding/json loses when it decodes into a map: the first of two
// equal keys, and the digits of large numbers.
func decodeJSON(data []byte) (*yaml.Node, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line := 1 + bytes.Count(data[:syntax.Offset], []byte("\n"))
			return nil, fmt.Errorf("json: line %d: %w", line, err)
		}
		return nil, fmt.Errorf("json: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return jsonNode(decoder)
}

// jsonNode reads one value.
func jsonNode(decoder *json.Decoder) (*yaml.Node, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	switch t := token.(type) {
	case string:
		return leaf(t), nil
	case json.Number:
		return leaf(t.String()), nil
	case bool:
		return leaf(strconv.FormatBool(t)), nil
	case nil:
		return null(), nil
	}
	tree := &yaml.Node{Kind: yaml.MappingNode}
	if token == json.Delim('[') {
		tree.Kind = yaml.SequenceNode
	}
	for decoder.More() {
		member, err := jsonNode(decoder)
		if err != nil {
			return nil, err
		}
		tree.Content = append(tree.Content, member)
	}
	_, err = decoder.Token() // the closing bracket
	return tree, err
}

// maxBrackets limits the depth of a TOML file, because its decoder recurses without a
// limit: half a MiB of "[" ends the program. The other decoders stop at 10,000 levels.
const maxBrackets = 10_000

// decodeTOML decodes with viper. In TOML a key that is set twice is an error.
func decodeTOML(data []byte) (*yaml.Node, error) {
	if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > maxBrackets {
		return nil, fmt.Errorf("toml: more than %d brackets", maxBrackets)
	}
	decoder, err := viper.NewCodecRegistry().Decoder("toml")
	if err != nil {
		return nil, err
	}
	tree := map[string]any{}
	if err := decoder.Decode(data, tree); err != nil {
		var at interface{ Position() (line, column int) }
		if errors.As(err, &at) {
			line, _ := at.Position()
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		return nil, err
	}
	return tomlNode(tree), nil
}

func tomlNode(value any) *yaml.Node {
	switch v := value.(type) {
	case map[string]any:
		tree := &yaml.Node{Kind: yaml.MappingNode}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			tree.Content = append(tree.Content, leaf(name), tomlNode(v[name]))
		}
		return tree
	case []any:
		tree := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			tree.Content = append(tree.Content, tomlNode(item))
		}
		return tree
	case string:
		return leaf(v)
	case float64:
		return leaf(tomlFloat(v))
	default: // a bool, a whole number, or a date, which no key takes
		return leaf(fmt.Sprint(v))
	}
}

// tomlFloat writes a number so that it does not look like a whole one.
func tomlFloat(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if f == math.Trunc(f) && !math.IsInf(f, 0) {
		s += ".0"
	}
	return s
}
