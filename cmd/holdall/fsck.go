package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall/internal/fsck"
)

const fsckLong = `Reads everything that a stopped cell has, by the format's pages alone and with none of
the server's own code: superblocks, zone headers, every record's checksums, footers, pack
directories, every block's hash, parity against data, every metadata row against the
directories and the directories against the rows, and the volumes' ends.

It writes nothing and repairs nothing. Every difference is named with its disk, zone and
record; any makes the exit code 6. Bytes after the committed ends were never
acknowledged and are only counted.`

// maxShown is how many findings are printed to people; JSON has them all.
const maxShown = 1000

// fsckFacts is what fsck prints for programs.
type fsckFacts struct {
	fsck.Result
	List []fsck.Finding `json:"list"`
}

func (c *cli) fsckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "fsck --data DIR",
		Short:   "Check everything a stopped cell has on disks and in metadata, independently",
		Long:    fsckLong,
		Example: "  holdall fsck --data holdall-data\n  holdall fsck --data holdall-data --output json",
		Args:    cobra.NoArgs,
	}
	settings := c.addSettings(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := c.load(settings)
		if err != nil {
			return err
		}
		var paths []string
		for _, d := range cfg.Disks {
			paths = append(paths, d.Path)
		}
		bar := c.progress("checking", "B", 0)
		facts := fsckFacts{List: []fsck.Finding{}}
		facts.Result, err = fsck.Check(cmd.Context(), fsck.Config{
			Data: cfg.Data, Disks: paths, Progress: bar.set,
			Found: func(f fsck.Finding) { facts.List = append(facts.List, f) },
		})
		bar.finish()
		if err != nil {
			return err
		}
		if err := c.emit(facts, func(w io.Writer) { printFsck(w, &facts) }); err != nil {
			return err
		}
		if facts.Findings > 0 {
			return errDifferences
		}
		return nil
	}
	return cmd
}

func printFsck(w io.Writer, r *fsckFacts) {
	for i, f := range r.List {
		if i == maxShown {
			fmt.Fprintf(w, "... and %d more; --output json has them all\n", len(r.List)-i)
			break
		}
		fmt.Fprintln(w, findingText(&f))
	}
	facts(w, "cell", r.Cell.String(), "disks", fmt.Sprint(r.Disks), "volumes", count(int64(r.Volumes)), "stripes", count(int64(r.Stripes)),
		"records", fmt.Sprintf("%s, %s", count(int64(r.Records)), bytesText(r.Bytes)), "blocks", fmt.Sprintf("%s in directories, %s rows", count(int64(r.Blocks)), count(int64(r.Rows))),
		"dead", bytesText(r.Dead)+" after committed ends, never acknowledged")
	if r.Findings == 0 {
		fmt.Fprintln(w, "\nno differences")
		return
	}
	if r.Findings == 1 {
		fmt.Fprintln(w, "\n1 difference")
		return
	}
	fmt.Fprintf(w, "\n%d differences\n", r.Findings)
}

// findingText is one finding on one line: what, where, why.
func findingText(f *fsck.Finding) string {
	words := []string{f.Kind}
	if f.Disk != "" {
		words = append(words, "disk "+f.Disk)
	}
	if f.Path != "" {
		words = append(words, f.Path)
	}
	if f.Zone >= 0 {
		words = append(words, fmt.Sprintf("zone %d", f.Zone))
	}
	if f.Volume != "" {
		words = append(words, "volume "+f.Volume)
	}
	if f.Member >= 0 {
		words = append(words, fmt.Sprintf("member %d", f.Member))
	}
	if f.Stripe > 0 {
		words = append(words, fmt.Sprintf("stripe %d", f.Stripe))
	}
	if f.Member >= 0 {
		words = append(words, fmt.Sprintf("record at %d", f.Offset))
	}
	if f.Block != "" {
		words = append(words, "block "+f.Block)
	}
	return strings.Join(words, "  ") + ": " + f.Detail
}
