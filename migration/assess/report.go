package assess

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
)

//go:embed report.html
var page string

// Render writes a summary as one HTML page that loads nothing.
func Render(w io.Writer, s *Summary) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"bytes": Bytes, "count": Count, "money": Money, "span": Span, "when": When, "key": printable, "chart": chart, "classbins": classBins,
		"rate": func(b int64) string { return fmt.Sprintf("%.3g Gbit/s", float64(b)*8/1e9) },
		"fixed": func(places int, f float64) string {
			return strconv.FormatFloat(f, 'f', places, 64)
		},
		"share": func(part, whole int64) string {
			if whole == 0 {
				return "-"
			}
			return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
		},
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := t.Execute(w, s); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// printable is a key as people can read it: quoted where it holds what does not
// show.
func printable(key string) string {
	if q := strconv.Quote(key); q != `"`+key+`"` || strings.TrimSpace(key) != key {
		return q
	}
	return key
}

func classBins(classes []ClassBin) (bins []Bin) {
	for _, c := range classes {
		bins = append(bins, c.Bin)
	}
	return bins
}

// Sizes of a chart, in its own units.
const (
	rowHeight  = 22
	labelWidth = 190
	barWidth   = 300
	gapWidth   = 110
)

// chart is two bars a row: objects, and bytes. Names come from keys and are
// escaped.
func chart(title string, bins []Bin) template.HTML {
	var most Amount
	for _, b := range bins {
		most.Objects, most.Bytes = max(most.Objects, b.Objects), max(most.Bytes, b.Bytes)
	}
	width, height := labelWidth+2*(barWidth+gapWidth), rowHeight*(len(bins)+1)
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><title>%s</title>`, width, height, escape(title), escape(title))
	text := func(x, row int, class, s string) {
		fmt.Fprintf(&svg, `<text x="%d" y="%d" class="%s">%s</text>`, x, row*rowHeight+15, class, escape(s))
	}
	bar := func(x, row int, class string, part, whole int64) int {
		w := 0
		if whole > 0 {
			w = int(float64(barWidth) * float64(part) / float64(whole))
		}
		if part > 0 {
			w = max(w, 1)
		}
		fmt.Fprintf(&svg, `<rect x="%d" y="%d" width="%d" height="%d" class="%s"/>`, x, row*rowHeight+3, w, rowHeight-6, class)
		return x + w + 6
	}
	const second = labelWidth + barWidth + gapWidth
	text(labelWidth, 0, "h", "objects")
	text(second, 0, "h", "bytes")
	for i, b := range bins {
		text(labelWidth-8, i+1, "l", shorten(printable(b.Name)))
		text(bar(labelWidth, i+1, "o", b.Objects, most.Objects), i+1, "v", Count(b.Objects))
		text(bar(second, i+1, "b", b.Bytes, most.Bytes), i+1, "v", Bytes(b.Bytes))
	}
	svg.WriteString("</svg>")
	return template.HTML(svg.String()) // every text in it went through escape
}

func escape(s string) string { return template.HTMLEscapeString(s) }

// shorten keeps a label within its column.
func shorten(s string) string {
	const most = 28
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
