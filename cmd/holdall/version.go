package main

import (
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionFacts is what `holdall version` prints.
type versionFacts struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"` // built from a tree with changes that are in no commit
	Time     string `json:"time"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readVersion() versionFacts {
	v := versionFacts{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print what this binary was built from",
		Example: "  holdall version --output json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			modified := ""
			if v.Modified {
				modified = "yes: the tree had changes that are in no commit"
			}
			return c.emit(v, func(w io.Writer) {
				facts(w, "version", v.Version, "revision", v.Revision, "modified", modified, "time", v.Time, "go", v.Go, "platform", v.Platform)
			})
		},
	}
}
