package assess

import (
	"fmt"
	"strings"
	"time"
)

// Bytes is n bytes for people, in powers of 1,024.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if f /= 1024; f < 1023.95 {
			break
		}
	}
	return strings.Replace(fmt.Sprintf("%.1f %s", f, unit), ".0 ", " ", 1)
}

// Count is n with separated thousands.
func Count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Span is a time for people, to two places.
func Span(seconds float64) string {
	switch {
	case seconds < 90:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 90*60:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 48*3600:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
	return fmt.Sprintf("%.1f days", seconds/86400)
}

// Money is an amount to the cent, with separated thousands.
func Money(f float64) string {
	cents := int64(f*100 + 0.5)
	if cents == 0 && f > 0 {
		return "under 0.01"
	}
	return fmt.Sprintf("%s.%02d", Count(cents/100), cents%100)
}

// When is a time for people; the zero time is "-".
func When(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}
