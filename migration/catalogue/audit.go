package catalogue

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/holdall/holdall"
)

// Each audit is a file of SQL. Its first comment line is its title, those that
// follow say why one looks. The parameter :limit bounds the rows that list things.
//
//go:embed audits/*.sql
var auditFiles embed.FS

// Audit is a named question to a catalogue.
type Audit struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Why   string `json:"why"`
	SQL   string `json:"sql"`
}

// Answer is what an audit found.
type Answer struct {
	Columns []string
	Rows    [][]any // int64, float64, string or nil
}

// Audits returns every audit, by name.
func Audits() (all []Audit, err error) {
	entries, err := auditFiles.ReadDir("audits")
	if err != nil {
		return nil, fmt.Errorf("audits: %w", err)
	}
	for _, e := range entries {
		text, err := auditFiles.ReadFile(path.Join("audits", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("audits: %w", err)
		}
		a := Audit{Name: strings.TrimSuffix(e.Name(), ".sql")}
		rest := string(text)
		for strings.HasPrefix(rest, "-- ") {
			var line string
			line, rest, _ = strings.Cut(rest[len("-- "):], "\n")
			if a.Title == "" {
				a.Title = line
			} else {
				a.Why = strings.TrimSpace(a.Why + " " + line)
			}
		}
		a.SQL = strings.TrimSpace(rest)
		all = append(all, a)
	}
	return all, nil
}

// FindAudit returns the audit of a name.
func FindAudit(name string) (Audit, error) {
	all, err := Audits()
	if err != nil {
		return Audit{}, err
	}
	var names []string
	for _, a := range all {
		if a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return Audit{}, fmt.Errorf("there is no audit %.80q; there are %s: %w", name, strings.Join(names, ", "), holdall.ErrInvalid)
}

// Audit asks the catalogue a question. Lists have at most limit rows.
func (c *Catalogue) Audit(ctx context.Context, a Audit, limit int) (Answer, error) {
	var answer Answer
	var args []any
	if strings.Contains(a.SQL, ":limit") {
		args = append(args, sql.Named("limit", limit))
	}
	rows, err := c.q().QueryContext(ctx, a.SQL, args...)
	if err != nil {
		return answer, c.wrap(fmt.Errorf("audit %s: %w", a.Name, err))
	}
	defer rows.Close()
	if answer.Columns, err = rows.Columns(); err != nil {
		return answer, c.wrap(err)
	}
	for rows.Next() {
		row := make([]any, len(answer.Columns))
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return answer, c.wrap(err)
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = string(b)
			}
		}
		answer.Rows = append(answer.Rows, row)
	}
	return answer, c.wrap(rows.Err())
}
