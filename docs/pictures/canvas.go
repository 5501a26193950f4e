package main

import (
	"fmt"
	"html"
	"maps"
	"slices"
	"strings"
)

// The measures of a picture, in pixels at its own size, which fits a phone.
const (
	width    = 400
	margin   = 10
	textSize = 13
	codeSize = 12.5
	leading  = 17 // from one line of text to the next
)

// The fonts are whatever the viewer has, so the width of a text is only known roughly. These
// are the widths of a character in DejaVu, the widest of the common ones, as parts of the size.
const (
	textWidth = 0.57
	codeWidth = 0.605
)

// The colours where the viewer prefers a light background.
const (
	ink    = "#1f2328"
	faint  = "#57606a" // small texts and arrows
	paper  = "#ffffff"
	inner  = "#f6f8fa" // of a frame around others
	border = "#8c959f"
	blue   = "#b6e3ff"
	green  = "#aceebb"
	yellow = "#fddf68"
	grey   = "#d0d7de"
)

// dark has the colours that take their places where the viewer prefers a dark background.
var dark = map[string]string{
	ink:    "#e6edf3",
	faint:  "#9ea7b3",
	paper:  "#0d1117",
	inner:  "#161b22",
	border: "#6e7681",
	blue:   "#0c2d6b",
	green:  "#0f4420",
	yellow: "#5a3a00",
	grey:   "#30363d",
}

// darkRules returns the rules that put the dark colours in the place of those that a drawing
// has. It has them as attributes, which any rule overrides.
func darkRules(drawing string) string {
	var rules strings.Builder
	for _, light := range slices.Sorted(maps.Keys(dark)) {
		for _, attribute := range []string{"fill", "stroke"} {
			if colored := fmt.Sprintf("%s=%q", attribute, light); strings.Contains(drawing, colored) {
				fmt.Fprintf(&rules, "[%s] {%s: %s}\n", colored, attribute, dark[light])
			}
		}
	}
	return rules.String()
}

// font is how a text looks.
type font int

const (
	plain font = iota
	bold
	code
	small // a faint text beside an arrow
)

// fits returns how many characters of the font go into so many pixels.
func (f font) fits(pixels float64) int {
	if f == code {
		return int(pixels / (codeSize * codeWidth))
	}
	return int(pixels / (textSize * textWidth))
}

func (f font) attributes() string {
	switch f {
	case bold:
		return fmt.Sprintf(`font-family="sans-serif" font-size="%v" font-weight="bold" fill="%s"`, textSize, ink)
	case code:
		return fmt.Sprintf(`font-family="monospace" font-size="%v" fill="%s"`, codeSize, ink)
	case small:
		return fmt.Sprintf(`font-family="sans-serif" font-size="%v" fill="%s"`, textSize, faint)
	}
	return fmt.Sprintf(`font-family="sans-serif" font-size="%v" fill="%s"`, textSize, ink)
}

// canvas collects the elements of a picture.
type canvas struct{ strings.Builder }

// picture returns what was drawn as an SVG file of the given height.
func (c *canvas) picture(title string, height float64) []byte {
	drawing := fmt.Sprintf(`<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="%s"/></marker></defs>
<rect width="%d" height="%v" fill="%s"/>
%s`, faint, width, height, paper, c.String())
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%v" viewBox="0 0 %[1]d %[2]v" role="img">
<title>%s</title>
<style>
@media (prefers-color-scheme: dark) {
%s}
</style>
%s</svg>
`, width, height, html.EscapeString(title), darkRules(drawing), drawing)
}

// text draws one line, whose base is at y.
func (c *canvas) text(x, y float64, f font, s string) {
	fmt.Fprintf(c, "<text x=\"%v\" y=\"%v\" %s>%s</text>\n", x, y, f.attributes(), html.EscapeString(s))
}

// lines draws several lines, the first one with its base at y, and returns the base of the
// line after them.
func (c *canvas) lines(x, y float64, f font, lines []string) float64 {
	for _, line := range lines {
		c.text(x, y, f, line)
		y += leading
	}
	return y
}

// box draws a rectangle.
func (c *canvas) box(x, y, w, h float64, fill string, dashed bool) {
	dash := ""
	if dashed {
		dash = ` stroke-dasharray="5 3"`
	}
	fmt.Fprintf(c, "<rect x=\"%v\" y=\"%v\" width=\"%v\" height=\"%v\" rx=\"4\" fill=\"%s\" stroke=\"%s\"%s/>\n", x, y, w, h, fill, border, dash)
}

// bar draws a rectangle without a border.
func (c *canvas) bar(x, y, w, h float64, fill string) {
	fmt.Fprintf(c, "<rect x=\"%v\" y=\"%v\" width=\"%v\" height=\"%v\" rx=\"3\" fill=\"%s\"/>\n", x, y, w, h, fill)
}

// point is a place in a picture.
type point struct{ x, y float64 }

// arrow draws a line through the points, with a head at the last one.
func (c *canvas) arrow(points ...point) {
	var path strings.Builder
	for i, p := range points {
		letter := "L"
		if i == 0 {
			letter = "M"
		}
		fmt.Fprintf(&path, "%s%v %v", letter, p.x, p.y)
	}
	fmt.Fprintf(c, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.3\" marker-end=\"url(#head)\"/>\n", path.String(), faint)
}

// wrap breaks a text into lines of at most so many characters.
func wrap(text string, most int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= most:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
