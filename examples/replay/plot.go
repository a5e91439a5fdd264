package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// Sizes of the plot, in pixels of its own scale.
const (
	panelWidth, panelHeight = 430, 250
	left, right, top, down  = 34, 14, 52, 26
	headHeight, margin      = 46, 10
)

const (
	averageColour = "#c8553d"
	scoreColour   = "#1f5fae"
	attackColour  = "#fbe9e4"
)

// draw returns curves as an SVG picture, two beside each other. It brings its own light background,
// so that it is readable on a dark page.
func draw(curves []curve) []byte {
	width, height := 2*panelWidth+3*margin, headHeight+(len(curves)+1)/2*(panelHeight+margin)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" `+
		`font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12" fill="#3d444d">
<title>The published score beside the plain average, under attack and when opinion changes</title>
<rect x="0.5" y="0.5" width="%d" height="%d" rx="8" fill="#ffffff" stroke="#d1d9e0"/>
`, width, height, width, height, width-1, height-1)
	legend := func(x int, colour, what string, stroke float64) {
		fmt.Fprintf(&b, `<line x1="%d" y1="26" x2="%d" y2="26" stroke="%s" stroke-width="%g"/>`+
			`<text x="%d" y="30">%s</text>`+"\n", x, x+26, colour, stroke, x+33, what)
	}
	legend(margin+left, scoreColour, "published score", 2.6)
	legend(margin+left+160, averageColour, "plain average", 1.6)
	fmt.Fprintf(&b, `<rect x="%d" y="19" width="26" height="14" fill="%s"/><text x="%d" y="30">the attack</text>`+"\n",
		margin+left+310, attackColour, margin+left+343)
	for i, c := range curves {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", margin+i%2*(panelWidth+margin),
			headHeight+i/2*(panelHeight+margin))
		c.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// draw draws one panel.
func (c curve) draw(b *bytes.Buffer) {
	first, last := c.points[0].hour, c.points[len(c.points)-1].hour
	x := func(hour int) float64 {
		return left + float64(hour-first)/float64(last-first)*(panelWidth-left-right)
	}
	y := func(score float64) float64 { return panelHeight - down - (score-1)/4*(panelHeight-top-down) }
	fmt.Fprintf(b, `<text x="%d" y="20" font-size="14" font-weight="600" fill="#1f2328">%s</text>`+
		`<text x="%d" y="38" fill="#59636e">%s</text>`+"\n", left, escaped(c.title), left, escaped(c.note))
	for i, p := range c.points { // the attack, from the hour before its first to its last
		if !p.attacked || i > 0 && c.points[i-1].attacked {
			continue
		}
		end := i
		for end+1 < len(c.points) && c.points[end+1].attacked {
			end++
		}
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", x(p.hour-1), top,
			x(c.points[end].hour)-x(p.hour-1), panelHeight-top-down, attackColour)
	}
	for score := 1; score <= 5; score++ {
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e4e8ec"/>`+
			`<text x="%d" y="%.1f" text-anchor="end" fill="#59636e">%d</text>`+"\n",
			left, y(float64(score)), panelWidth-right, y(float64(score)), left-8, y(float64(score))+4, score)
	}
	step, unit, per := 6, "h", 1
	if c.days {
		step, unit, per = 5*24, "d", 24
	}
	for hour := (first + step - 1) / step * step; hour <= last; hour += step {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#59636e">%d %s</text>`+"\n", x(hour),
			panelHeight-down+18, hour/per, unit)
	}
	line := func(colour string, stroke float64, value func(point) float64) {
		fmt.Fprintf(b,
			`<polyline fill="none" stroke="%s" stroke-width="%g" stroke-linejoin="round" stroke-linecap="round" points="`,
			colour, stroke)
		height := func(i int) string { return fmt.Sprintf("%.1f", y(value(c.points[i]))) }
		for i, p := range c.points {
			if i > 0 && i < len(c.points)-1 && height(i) == height(i-1) && height(i) == height(i+1) {
				continue // in the middle of a level piece
			}
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(b, "%.1f,%s", x(p.hour), height(i))
		}
		b.WriteString("\"/>\n")
	}
	line(averageColour, 1.6, func(p point) float64 { return p.average })
	line(scoreColour, 2.6, func(p point) float64 { return p.score })
}

func escaped(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.String()
}
