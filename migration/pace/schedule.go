package pace

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdall/holdall"
)

// Unlimited is a limit of a Schedule that limits nothing.
const Unlimited = -1

// Schedule is a limit for each hour of the day.
type Schedule struct {
	hours [24]int64
}

// Always is the same limit at every hour; Unlimited is none.
func Always(limit int64) (s Schedule) {
	for h := range s.hours {
		s.hours[h] = limit
	}
	return s
}

// ParseSchedule reads limits by hour: "20MiB" at all hours, or
// "08-18=20MiB,else=none", where 18-08 goes over midnight, "none" is no limit and
// 0 is a pause. parse reads one limit. Hours that are not named have no limit.
func ParseSchedule(text string, parse func(string) (int64, error)) (Schedule, error) {
	s, named := Always(Unlimited), [24]bool{}
	for part := range strings.SplitSeq(text, ",") {
		span, value, timed := strings.Cut(strings.TrimSpace(part), "=")
		if !timed {
			span, value = "else", span
		}
		limit, err := int64(Unlimited), error(nil)
		if value != "none" {
			if limit, err = parse(value); err == nil && limit < 0 {
				err = fmt.Errorf("%q is less than nothing", value)
			}
		}
		if err != nil {
			return s, fmt.Errorf("schedule %q: %v: %w", text, err, holdall.ErrInvalid)
		}
		hours, err := parseSpan(span)
		if err != nil {
			return s, fmt.Errorf("schedule %q: %w", text, err)
		}
		for h := range s.hours {
			switch {
			case hours == nil && !named[h]:
				s.hours[h] = limit
			case slices.Contains(hours, h):
				s.hours[h], named[h] = limit, true
			}
		}
	}
	return s, nil
}

// parseSpan returns the hours of "08-18", nil for "else".
func parseSpan(span string) (hours []int, err error) {
	if span == "else" {
		return nil, nil
	}
	from, to, ok := strings.Cut(span, "-")
	a, err1 := strconv.ParseUint(from, 10, 8)
	b, err2 := strconv.ParseUint(to, 10, 8)
	if !ok || err1 != nil || err2 != nil || a > 23 || b > 24 || a == b {
		return nil, fmt.Errorf("%q: want hours as in 08-18, or else: %w", span, holdall.ErrInvalid)
	}
	for h := a; h != b%24 || len(hours) == 0; h = (h + 1) % 24 {
		hours = append(hours, int(h))
	}
	return hours, nil
}

// At returns the limit at t, in t's own time zone.
func (s *Schedule) At(t time.Time) int64 { return s.hours[t.Hour()] }

// NextHour returns when the hour after t begins: the soonest that a limit changes.
func NextHour(t time.Time) time.Time { return t.Truncate(time.Hour).Add(time.Hour) }
