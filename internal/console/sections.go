package console

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// section is one table of the page: rows of a name and a value, or of several
// columns.
type section struct {
	Title string
	Heads []string
	Rows  [][]string
}

// sections lays out a JSON object: its plain fields as one table, then one more
// table for each field that is an object or a list. Order is that of the text.
func sections(text []byte) []section {
	top := section{Title: "cell"}
	var rest []section
	for _, f := range fields(text) {
		switch f.value[0] {
		case '{':
			s := section{Title: f.name}
			for _, g := range fields(f.value) {
				s.Rows = append(s.Rows, []string{g.name, plain(g.value)})
			}
			rest = append(rest, s)
		case '[':
			rest = append(rest, listSection(f))
		default:
			top.Rows = append(top.Rows, []string{f.name, plain(f.value)})
		}
	}
	return append([]section{top}, rest...)
}

// listSection lays out a list of objects with one column a field of the first.
func listSection(f field) section {
	s := section{Title: f.name}
	var items []json.RawMessage
	if json.Unmarshal(f.value, &items) != nil {
		return s
	}
	for i, item := range items {
		list := fields(item)
		if list == nil {
			s.Rows = append(s.Rows, []string{plain(item)})
			continue
		}
		var row []string
		for _, g := range list {
			if i == 0 {
				s.Heads = append(s.Heads, g.name)
			}
			row = append(row, plain(g.value))
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

// field is one member of a JSON object.
type field struct {
	name  string
	value json.RawMessage
}

// fields returns the members of a JSON object in their order, or nil when text
// is not an object.
func fields(text []byte) []field {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var list []field
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return list
		}
		var value json.RawMessage
		if d.Decode(&value) != nil || len(value) == 0 {
			return list
		}
		list = append(list, field{fmt.Sprint(name), value})
	}
	return list
}

func plain(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	return string(value)
}
