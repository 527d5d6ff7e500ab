package catalogue

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// OddKind is a property of keys that tools or people stumble over.
type OddKind struct {
	Bit     int
	Name    string
	Trap    bool // usual tools fail on such keys, or change them
	Meaning string
	is      func(key string) bool
}

// longestComponent is what file systems take between two slashes.
const longestComponent = 255 // bytes

// OddKinds returns every kind. Bits are part of the format: they never change.
func OddKinds() []OddKind {
	component := func(is func(c string) bool) func(string) bool {
		return func(key string) bool {
			for c := range strings.SplitSeq(key, "/") {
				if is(c) {
					return true
				}
			}
			return false
		}
	}
	return []OddKind{
		{1, "leading_slash", true, "begins with a slash: tools that make paths drop it", func(k string) bool { return strings.HasPrefix(k, "/") }},
		{2, "folder", false, "ends with a slash: what consoles make for an empty folder", func(k string) bool { return strings.HasSuffix(k, "/") }},
		{4, "double_slash", true, "has an empty part between two slashes: tools that make paths fold it", func(k string) bool { return strings.Contains(k, "//") }},
		{8, "dots", true, "has a part that is . or ..: clients and file systems resolve it", component(func(c string) bool { return c == "." || c == ".." })},
		{16, "control", true, "has control characters, which XML cannot carry unencoded", func(k string) bool { return strings.ContainsFunc(k, unicode.IsControl) }},
		{32, "long_part", true, "has a part of more than 255 bytes, which no file system takes", component(func(c string) bool { return len(c) > longestComponent })},
		{64, "backslash", true, "has a backslash, a separator on other systems", func(k string) bool { return strings.Contains(k, `\`) }},
		{128, "not_utf8", true, "is not UTF-8", func(k string) bool { return !utf8.ValidString(k) }},
		{256, "combining", true, "has combining marks: some systems compose them, and the key is another",
			func(k string) bool {
				return strings.ContainsFunc(k, func(r rune) bool { return unicode.Is(unicode.Mn, r) })
			}},
		{512, "edge_space", true, "has a part that begins or ends with white space",
			component(func(c string) bool { return c != strings.TrimSpace(c) })},
		{1024, "escaped", false, "has characters that URLs escape (% + ? # &): clients that escape twice, or not at all, miss it",
			func(k string) bool { return strings.ContainsAny(k, "%+?#&") }},
		{2048, "non_ascii", false, "has letters beyond ASCII", func(k string) bool {
			return strings.ContainsFunc(k, func(r rune) bool { return r >= utf8.RuneSelf })
		}},
	}
}

// oddity computes the bits of a key.
type oddity []OddKind

func (o oddity) bits(key string) (bits int) {
	if plain(key) {
		return 0
	}
	for i := range o {
		if o[i].is(key) {
			bits |= o[i].Bit
		}
	}
	return bits
}

// plain says whether a key is of the usual sort, at a glance: most are.
func plain(key string) bool {
	part := 0
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '=':
			part++
		case c == '.' && part > 0:
			part++
		case c == '/' && part > 0:
			part = 0
		default:
			return false
		}
		if part > longestComponent {
			return false
		}
	}
	return part > 0
}
