package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/holdall/holdall"
)

// unit is a suffix of a size; longer suffixes come before those they end with.
type unit struct {
	suffix string
	bytes  int64
}

var units = []unit{
	{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a number of bytes: "16MiB" (powers of 1,024), "20TB" (powers
// of 1,000) or "4096". A fraction is allowed where it comes to whole bytes. Its
// errors wrap ErrInvalid.
func ParseSize(s string) (int64, error) {
	number, scale := strings.TrimSpace(s), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, scale = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/scale {
		return n * scale, nil
	}
	if f, err := strconv.ParseFloat(number, 64); err == nil && f >= 0 {
		if b := f * float64(scale); b < math.MaxInt64/2 && b == math.Trunc(b) {
			return int64(b), nil
		}
	}
	return 0, fmt.Errorf("size %q: want bytes, as in 4096, 16MiB or 20TB: %w", s, holdall.ErrInvalid)
}

// FormatSize returns the shortest form of n that ParseSize reads back as n.
func FormatSize(n int64) string {
	best := strconv.FormatInt(n, 10)
	for _, u := range units {
		if u.bytes > 1 && n > 0 && n%u.bytes == 0 {
			if s := strconv.FormatInt(n/u.bytes, 10) + u.suffix; len(s) < len(best)+len(u.suffix)-1 {
				return s
			}
		}
	}
	return best
}
