package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// panel is one history in the picture.
type panel struct {
	history  int // index into histories
	from, to time.Duration
	every    time.Duration // a label on the axis of time
}

var panels = []panel{
	{0, -10 * time.Minute, time.Hour, 10 * time.Minute},
	{2, -15 * time.Minute, 2 * time.Hour, 15 * time.Minute},
	{4, 0, time.Hour, 10 * time.Minute},
}

// What stands for each contestant.
var strokes = []string{
	`stroke="#0072b2" stroke-width="2.2"`,
	`stroke="#0072b2" stroke-width="1.6" stroke-dasharray="5 3"`,
	`stroke="#e69f00" stroke-width="1.4"`,
	`stroke="#009e73" stroke-width="1.4"`,
	`stroke="#d55e00" stroke-width="1.4"`,
}

const (
	left, right = 70, 890 // of a panel
	top, height = 70, 220 // of the first panel
	apart       = 300     // from panel to panel
	lowest      = 1.0     // requests a second; zero is drawn there too
	decades     = 5       // above
	step        = 30 * time.Second
)

// picture is an SVG: for each half minute the worst ten seconds that begin in it.
func picture(r *results) string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 %d" font-family="sans-serif" font-size="12" fill="#333">`, top+apart*len(panels)-20)
	put(`<title>Requests a second at the issuer of %s replicas</title>`, grouped(float64(r.replicas)))
	put(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	x := left
	for j, c := range contestants {
		put(`<path d="M%d 22h24" %s/><text x="%d" y="26">%s</text>`, x, strokes[j], x+30, c.name)
		x += 60 + 7*len(c.name)
	}
	for n, p := range panels {
		p.draw(put, r.counts[p.history], goal*r.steady(0), top+apart*n)
	}
	put(`</svg>`)
	return b.String()
}

func (p panel) draw(put func(string, ...any), counts []*count, limit float64, top int) {
	h := &histories[p.history]
	x := func(t time.Duration) float64 {
		return left + (right-left)*float64(t-p.from)/float64(p.to-p.from)
	}
	y := func(rate float64) float64 {
		return float64(top+height) - height*math.Log10(max(rate, lowest)/lowest)/decades
	}
	put(`<text x="%d" y="%d" font-size="14">%s</text>`, left, top-10, h.name)
	if h.moment > 0 {
		put(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#eee"/>`, x(0), top, x(h.moment)-x(0), height)
		put(`<text x="%.1f" y="%d" fill="#777">the issuer is down</text>`, x(0)+6, top+15)
	}
	for d := range decades + 1 {
		rate := lowest * math.Pow10(d)
		put(`<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, left, y(rate), right, left-6, y(rate)+4, grouped(rate))
	}
	for t := p.from; t <= p.to; t += p.every {
		put(`<text x="%.1f" y="%d" text-anchor="middle">%.0f min</text>`, x(t), top+height+17, t.Minutes())
	}
	put(`<path d="M%d %.1fH%d" stroke="#0072b2" stroke-dasharray="1 3"/>`, left, y(limit), right)
	put(`<text x="%d" y="%.1f" text-anchor="end" fill="#0072b2" font-size="10">twice our steady rate</text>`, right, y(limit)-4)
	for j := len(counts) - 1; j >= 0; j-- { // ours on top
		var points strings.Builder
		for t := p.from; t < p.to; t += step {
			fmt.Fprintf(&points, " %.1f,%.1f", x(t), y(counts[j].load(t, t+step+(window-1)*time.Second).window))
		}
		put(`<polyline points="%s" fill="none" %s/>`, points.String()[1:], strokes[j])
	}
}
