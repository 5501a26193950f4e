package main

import "strings"

// journey is a picture of steps, one below the other.
type journey struct {
	name  string // of the file, without .svg
	title string
	steps []step
}

// step is a box of a journey.
type step struct {
	// who runs it. A name stands above the first of several boxes in a row.
	who actor

	// file is where the code is, calls are its functions, in their order.
	file, calls string

	// text says what happens.
	text string

	// aside marks what happens only sometimes.
	aside bool
}

// actor is who runs a step: a goroutine as a rule.
type actor struct{ name, color string }

// The places of the parts of a box.
const (
	stripe   = 6
	inset    = margin + stripe + 8
	gap      = 16 // between two boxes, for the arrow
	padding  = 6
	nameSize = 22
)

func (j journey) file() string { return j.name + ".svg" }

func (j journey) draw() []byte {
	var c canvas
	y := float64(margin)
	y = c.lines(margin, y+textSize, bold, wrap(j.title, bold.fits(width-2*margin)*9/10)) - textSize + 8
	var last actor
	for i, s := range j.steps {
		if i > 0 {
			c.arrow(point{margin + 40, y}, point{margin + 40, y + gap})
		}
		if i > 0 {
			y += gap
		}
		if s.who != last {
			c.bar(margin, y, width-2*margin, nameSize, s.who.color)
			c.text(inset, y+nameSize-6, bold, s.who.name)
			y += nameSize + 2
			last = s.who
		}
		y += c.step(s, y)
	}
	return c.picture(j.title, y+margin)
}

// step draws a box at y, and returns its height.
func (c *canvas) step(s step, y float64) (height float64) {
	const room = width - margin - inset - padding
	var files, calls []string
	if s.file != "" {
		files = []string{s.file}
	}
	if s.calls != "" {
		calls = wrap(s.calls, code.fits(room))
	}
	texts := wrap(s.text, plain.fits(room))
	height = float64(len(files)+len(calls)+len(texts))*leading + 2*padding - 1
	c.box(margin, y, width-2*margin, height, paper, s.aside)
	c.bar(margin, y, stripe, height, s.who.color)
	base := y + padding + textSize - 1
	if len(files) > 0 {
		c.text(inset, base, code, files[0])
		// The name of the file is told from the functions by a line below it.
		w := float64(len(s.file)) * codeSize * codeWidth
		c.bar(inset, base+3, w, 1, border)
		base += leading
	}
	base = c.lines(inset, base, code, calls)
	c.lines(inset, base, plain, texts)
	return height
}

// names returns the names of functions in the step.
func (s step) names() []string {
	return strings.FieldsFunc(s.calls, func(r rune) bool { return r == ',' || r == ' ' })
}
