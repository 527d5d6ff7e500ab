package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/catalogue"
)

func (c *cli) migrateAudit() *cobra.Command {
	var file string
	var limit int
	var show bool
	cmd := &cobra.Command{
		Use:     "audit [NAME]",
		Short:   "List the questions that a catalogue answers, or ask one",
		Long:    "Without a name it lists the audits. An audit is a query of the catalogue that\n`migrate assess` made; --sql prints it, to be changed and given to any SQLite client.",
		Example: "  holdall migrate audit\n  holdall migrate audit odd-keys --catalogue photos.sqlite\n  holdall migrate audit prefixes --sql",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.listAudits()
			}
			a, err := catalogue.FindAudit(args[0])
			if err != nil {
				return withNext(err, "holdall migrate audit")
			}
			if show {
				return c.emit(a, func(w io.Writer) { fmt.Fprintln(w, a.SQL) })
			}
			if file == "" || limit < 1 {
				return fmt.Errorf("--catalogue %q, --limit %d: name the file that `holdall migrate assess` made, and a limit of 1 or more: %w", file, limit, holdall.ErrInvalid)
			}
			cat, err := catalogue.Open(cmd.Context(), file)
			if err != nil {
				return withNext(err, "holdall migrate assess --source s3://BUCKET --catalogue %s", file)
			}
			defer cat.Close()
			answer, err := cat.Audit(cmd.Context(), a, limit)
			if err != nil {
				return err
			}
			return c.emit(answerRows(answer), func(w io.Writer) { printAnswer(w, a, answer) })
		},
	}
	cmd.Flags().StringVar(&file, "catalogue", "", "SQLite file that `holdall migrate assess` made")
	cmd.Flags().IntVar(&limit, "limit", 100, "rows of audits that list things")
	cmd.Flags().BoolVar(&show, "sql", false, "print the query instead of asking it")
	return cmd
}

func (c *cli) listAudits() error {
	all, err := catalogue.Audits()
	if err != nil {
		return err
	}
	return c.emit(all, func(w io.Writer) {
		t := newTable("AUDIT", "WHAT IT LISTS")
		for _, a := range all {
			t.row(a.Name, a.Title)
		}
		t.print(w)
	})
}

// answerRows is an answer as objects, one a row.
func answerRows(a catalogue.Answer) []map[string]any {
	rows := []map[string]any{}
	for _, r := range a.Rows {
		row := map[string]any{}
		for i, name := range a.Columns {
			row[name] = r[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func printAnswer(w io.Writer, a catalogue.Audit, answer catalogue.Answer) {
	fmt.Fprintf(w, "%s. %s\n\n", a.Title, a.Why)
	heads := make([]string, len(answer.Columns))
	for i, name := range answer.Columns {
		heads[i] = strings.ToUpper(name)
		if len(answer.Rows) > 0 {
			if _, text := answer.Rows[0][i].(string); !text {
				heads[i] = ">" + heads[i]
			}
		}
	}
	t := newTable(heads...)
	for _, r := range answer.Rows {
		var cells []string
		for i, v := range r {
			cells = append(cells, cell(answer.Columns[i], v))
		}
		t.row(cells...)
	}
	t.print(w)
}

// cell is one value for people. What a terminal would act on is quoted.
func cell(column string, v any) string {
	switch v := v.(type) {
	case int64:
		if column == "bytes" || column == "size" || column == "saved" || column == "largest" {
			return bytesText(v)
		}
		return count(v)
	case float64:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case string:
		if q := strconv.Quote(v); q != `"`+v+`"` {
			return q
		}
		return v
	}
	return "-"
}
