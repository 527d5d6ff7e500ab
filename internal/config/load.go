package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/holdall/holdall"
)

// Sources is where settings come from, besides the defaults.
type Sources struct {
	File  string                           // path of a TOML file; "" = none
	Env   func(name string) (string, bool) // os.LookupEnv
	Flags map[string][]string              // setting → values given as flags
}

// Load resolves every setting and validates the result. A key of the file that
// names no setting is an error. Its errors wrap ErrInvalid, save those of
// reading the file.
func Load(src Sources) (*Config, error) {
	c := &Config{origin: map[string]string{}}
	file, err := readFile(src.File)
	if err != nil {
		return nil, err
	}
	settings := c.Settings()
	if err := file.unknown(settings); err != nil {
		return nil, err
	}
	var faults []error
	for i := range settings {
		s := &settings[i]
		values, origin, err := resolve(s, src, file)
		if err == nil && values != nil {
			err = s.set(values)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s (from %s): %w", s.Name, origin, err))
		}
		c.origin[s.Name] = origin
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return c, c.Validate()
}

// resolve picks the source that decides s. Values are nil when there is nothing
// to set.
func resolve(s *Setting, src Sources, f *file) (values []string, origin string, err error) {
	if v, ok := src.Flags[s.Name]; ok {
		return v, "flag --" + s.Name, nil
	}
	if src.Env != nil {
		if v, ok := src.Env(s.Env()); ok {
			if s.Repeat {
				return strings.Split(v, ","), "environment " + s.Env(), nil
			}
			return []string{v}, "environment " + s.Env(), nil
		}
	}
	if v, ok := f.keys[s.Name]; ok {
		values, err = asText(v, s.Repeat)
		return values, "file " + f.path, err
	}
	return s.initial, "default", nil
}

// file is a parsed configuration file.
type file struct {
	path string
	raw  string
	keys map[string]any
}

func readFile(path string) (*file, error) {
	f := &file{path: path}
	if path == "" {
		return f, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("config file %s: does not exist: %w", path, holdall.ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	f.raw = string(raw)
	if err := toml.Unmarshal(raw, &f.keys); err != nil {
		var bad *toml.DecodeError
		if errors.As(err, &bad) {
			row, col := bad.Position()
			return nil, fmt.Errorf("config file %s:%d:%d: %v: %w", path, row, col, bad, holdall.ErrInvalid)
		}
		return nil, fmt.Errorf("config file %s: %v: %w", path, err, holdall.ErrInvalid)
	}
	return f, nil
}

// unknown refuses keys that name no setting: a misspelt one must not fall back
// to a default in silence.
func (f *file) unknown(settings []Setting) error {
	known := make(map[string]bool, len(settings))
	for _, s := range settings {
		known[s.Name] = true
	}
	var bad []string
	for key := range f.keys {
		if known[key] {
			continue
		}
		word := fmt.Sprintf("%q (line %d)", key, f.line(key))
		if near := nearest(key, settings); near != "" {
			word += fmt.Sprintf(", did you mean %q?", near)
		}
		bad = append(bad, word)
	}
	if len(bad) == 0 {
		return nil
	}
	sort.Strings(bad)
	return fmt.Errorf("config file %s: unknown settings: %s: %w", f.path, strings.Join(bad, "; "), holdall.ErrInvalid)
}

func (f *file) line(key string) int {
	for i, line := range strings.Split(f.raw, "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " \t[\"'"), key) {
			return i + 1
		}
	}
	return 0
}

// nearest finds the setting that key was probably meant to be.
func nearest(key string, settings []Setting) string {
	plain := func(s string) string { return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)) }
	for _, s := range settings {
		a, b := plain(key), plain(s.Name)
		if a == b || strings.TrimSuffix(a, "s") == b || len(a) > 3 && strings.HasPrefix(b, a) {
			return s.Name
		}
	}
	return ""
}

// asText turns a TOML value into the text that a flag would have.
func asText(v any, list bool) ([]string, error) {
	switch v := v.(type) {
	case []any:
		if !list {
			return nil, fmt.Errorf("takes one value, not an array: %w", holdall.ErrInvalid)
		}
		var out []string
		for _, e := range v {
			one, err := asText(e, false)
			if err != nil {
				return nil, err
			}
			out = append(out, one...)
		}
		return out, nil
	case string, bool, int64, float64:
		return []string{fmt.Sprint(v)}, nil
	}
	return nil, fmt.Errorf("takes text, a number or true/false, not %T: %w", v, holdall.ErrInvalid)
}

// Effective is one line of `holdall config show`.
type Effective struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // "default", "file PATH", "environment NAME" or "flag --NAME"
	Env    string `json:"env"`
}

// Show lists every setting with its value and where that came from.
func (c *Config) Show() []Effective {
	var list []Effective
	for _, s := range c.Settings() {
		list = append(list, Effective{Name: s.Name, Value: s.show(), Origin: c.origin[s.Name], Env: s.Env()})
	}
	return list
}
