package main

// diagram is a picture of states and the ways between them. Its places are set by hand.
type diagram struct {
	name   string // of the file, without .svg
	title  string
	height float64
	frames []frame
	nodes  []node
	ways   []way
}

// node is a state.
type node struct {
	x, y, w float64
	name    string
	text    []string // what it means, a line each
	color   string
}

// frame is drawn around several nodes.
type frame struct {
	x, y, w, h float64
	text       string
	indent     float64 // of the text
}

// way is a transition: an arrow through the points, and its cause at a place.
type way struct {
	points []point
	at     point // the base of the first line
	text   []string
}

func (d diagram) file() string { return d.name + ".svg" }

func (n node) height() float64 { return float64(1+len(n.text))*leading + 2*padding - 1 }

func (d diagram) draw() []byte {
	var c canvas
	c.lines(margin, margin+textSize, bold, wrap(d.title, bold.fits(width-2*margin)*9/10))
	for _, f := range d.frames {
		c.box(f.x, f.y, f.w, f.h, inner, true)
		c.text(f.x+f.indent, f.y+textSize+4, small, f.text)
	}
	for _, n := range d.nodes {
		c.box(n.x, n.y, n.w, n.height(), n.color, false)
		base := n.y + padding + textSize - 1
		c.text(n.x+8, base, bold, n.name)
		c.lines(n.x+8, base+leading, plain, n.text)
	}
	for _, w := range d.ways {
		c.arrow(w.points...)
	}
	for _, w := range d.ways {
		c.label(w)
	}
	return c.picture(d.title, d.height)
}

// label writes the cause of a transition. Where that stands on the arrow itself, the arrow
// is interrupted.
func (c *canvas) label(w way) {
	longest := 0
	for _, line := range w.text {
		longest = max(longest, len(line))
	}
	wide := float64(longest) * textSize * textWidth
	if line := w.points[0].x; len(w.points) == 2 && w.at.x < line && line < w.at.x+wide {
		c.bar(w.at.x-2, w.at.y-textSize, wide, float64(len(w.text))*leading, paper)
	}
	c.lines(w.at.x, w.at.y, small, w.text)
}
