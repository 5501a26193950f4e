package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"io"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a chart of grouped bars: each group has a bar of each series.
type chart struct {
	title  string
	unit   string // of the values, beside the axis
	groups []string
	series []series
}

// series is the bars of one colour.
type series struct {
	name   string
	color  color.Color
	values []float64 // one per group; zero has no bar
}

// The measures of a chart, in points.
const (
	width    vg.Length = 720
	height   vg.Length = 320
	margin   vg.Length = 12
	widest   vg.Length = 34 // bar
	textSize vg.Length = 11

	filled   = 0.8  // of the width of a group
	headroom = 1.08 // for the number on the tallest bar
)

// Text is measured in Liberation Sans, which the library contains. A viewer without it has a
// font of the same metrics under one of these names.
const (
	measured = "font-family:Liberation Sans"
	shown    = "font-family:Liberation Sans,Arial,Helvetica,sans-serif"
)

// writeSVG draws the chart on white, so that it is legible on a page of any colour.
func (c chart) writeSVG(w io.Writer) error {
	p, legend, err := c.plot()
	if err != nil {
		return fmt.Errorf("chart %q: %w", c.title, err)
	}
	canvas := vgsvg.New(width, height)
	all := draw.New(canvas)
	all.FillPolygon(color.White, []vg.Point{{}, {X: width}, {X: width, Y: height}, {Y: height}})
	inner := draw.Crop(all, margin, -margin, margin, -margin)
	beside := legend.Rectangle(inner).Size().X + margin
	p.Draw(draw.Crop(inner, 0, -beside, 0, 0))
	legend.Draw(draw.Crop(inner, inner.Size().X-beside+margin, 0, 0, -4*margin))

	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return fmt.Errorf("chart %q: %w", c.title, err)
	}
	_, err = w.Write(bytes.ReplaceAll(svg.Bytes(), []byte(measured), []byte(shown)))
	return err
}

// plot lays out the bars. The legend is separate, to be drawn beside them.
func (c chart) plot() (*plot.Plot, *plot.Legend, error) {
	if len(c.groups) == 0 || len(c.series) == 0 {
		return nil, nil, errors.New("nothing to draw")
	}
	p, legend := plot.New(), plot.NewLegend()
	c.style(p, &legend)
	bar := min(widest, filled*(width*3/4)/vg.Length(len(c.groups)*len(c.series)))
	tallest := 0.0
	for i, s := range c.series {
		if len(s.values) != len(c.groups) {
			return nil, nil, fmt.Errorf("%d values of %s for %d groups", len(s.values), s.name, len(c.groups))
		}
		bars, err := s.add(p, bar, bar*(vg.Length(i)-vg.Length(len(c.series)-1)/2))
		if err != nil {
			return nil, nil, fmt.Errorf("bars of %s: %w", s.name, err)
		}
		legend.Add(s.name, bars)
		for _, v := range s.values {
			tallest = max(tallest, v)
		}
	}
	p.NominalX(c.groups...)
	p.Y.Padding = margin / 2 // smaller than half of a group's name
	p.X.Min, p.X.Max = -0.5, float64(len(c.groups))-0.5
	p.Y.Min, p.Y.Max = 0, tallest*headroom
	return p, &legend, nil
}

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

func (c chart) style(p *plot.Plot, legend *plot.Legend) {
	for _, style := range []*text.Style{
		&p.X.Tick.Label, &p.Y.Tick.Label, &p.Y.Label.TextStyle, &legend.TextStyle,
	} {
		style.Font = sans(textSize)
	}
	p.Title.TextStyle.Font = sans(textSize + 2)
	p.Title.Text, p.Title.Padding = c.title, margin
	p.Y.Label.Text, p.Y.Label.Padding = c.unit, margin/2
	legend.Top, legend.Left = true, true
	legend.Padding, legend.ThumbnailWidth = vg.Points(5), vg.Points(14)

	lines := plotter.NewGrid()
	lines.Vertical.Width = 0
	lines.Horizontal.Color = color.Gray{Y: 0xdd}
	p.Add(lines)
}

// add draws the bars of a series, with the value above each.
func (s series) add(p *plot.Plot, bar, offset vg.Length) (*plotter.BarChart, error) {
	bars, err := plotter.NewBarChart(plotter.Values(s.values), bar*9/10)
	if err != nil {
		return nil, err
	}
	bars.Color, bars.Offset, bars.LineStyle.Width = s.color, offset, 0
	numbers := plotter.XYLabels{XYs: make(plotter.XYs, len(s.values)), Labels: make([]string, len(s.values))}
	for i, v := range s.values {
		numbers.XYs[i] = plotter.XY{X: float64(i), Y: v}
		numbers.Labels[i] = number(v)
	}
	labels, err := plotter.NewLabels(numbers)
	if err != nil {
		return nil, err
	}
	labels.Offset = vg.Point{X: offset, Y: vg.Points(3)}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Font = sans(textSize - 3)
		labels.TextStyle[i].XAlign = text.XCenter
	}
	p.Add(bars, labels)
	return bars, nil
}

// number formats a value with three digits; zero is empty.
func number(v float64) string {
	switch {
	case v == 0:
		return ""
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
