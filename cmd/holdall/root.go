package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdall/holdall"
)

// cli is what commands share: where they read and write, and the flags that
// every command has.
type cli struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	outTTY bool // out is a terminal
	errTTY bool
	env    func(string) (string, bool)

	output    string // "table" or "json"
	endpoint  string
	namespace string
	entered   bool // a command's own code began: later errors are not usage errors
}

func newCLI(in io.Reader, out, err io.Writer) *cli {
	return &cli{in: in, out: out, err: err, outTTY: terminal(out), errTTY: terminal(err), env: os.LookupEnv}
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

const rootLong = `Holdall keeps immutable blocks, named by their BLAKE3 hash, erasure-coded on
your own disks.

  holdall serve                  start a complete cell in ./holdall-data
  holdall block put FILE         store a file (up to 4 MiB), print its id
  holdall block get ID           fetch it, verified
  holdall object put FILE B/KEY  store a file of any size in bucket B
  holdall object get B/KEY       fetch it

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 unavailable (try again),
5 refused because data would be at risk, 6 verification found differences.`

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "holdall",
		Short:         "A content-addressed, erasure-coded block store",
		Long:          rootLong,
		Example:       "  holdall serve\n  holdall block put photo.jpg",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.PersistentFlags().StringVar(&c.output, "output", "table", "table or json")
	root.AddCommand(
		c.serveCommand(), c.blockCommand(), c.bucketCommand(), c.objectCommand(), c.namespaceCommand(), c.diskCommand(), c.volumeCommand(), c.purgeCommand(), c.cellCommand(),
		c.inspectCommand(), c.fsckCommand(), c.metadataCommand(), c.benchCommand(), c.configCommand(), c.migrateCommand(), c.versionCommand(), c.manCommand(),
	)
	c.finish(root)
	return root
}

// noun is a command that only has verbs below it.
func noun(use, short, example string, verbs ...*cobra.Command) *cobra.Command {
	n := &cobra.Command{Use: use, Short: short, Example: example}
	n.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs a verb: %s: %w", cmd.CommandPath(), verbList(cmd), holdall.ErrInvalid)
		}
		return fmt.Errorf("unknown command %q, %s has: %s: %w", args[0], cmd.CommandPath(), verbList(cmd), holdall.ErrInvalid)
	}
	n.AddCommand(verbs...)
	return n
}

func verbList(cmd *cobra.Command) string {
	var names []string
	for _, v := range cmd.Commands() {
		if !v.Hidden && v.Name() != "help" {
			names = append(names, v.Name())
		}
	}
	return strings.Join(names, ", ")
}

// finish gives every command below cmd what all of them have: a check of the
// shared flags, and a mark that tells usage errors from failures.
func (c *cli) finish(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.finish(sub)
	}
	inner := cmd.RunE
	if inner == nil {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if c.output != "table" && c.output != "json" {
			return fmt.Errorf("--output %q: want table or json: %w", c.output, holdall.ErrInvalid)
		}
		c.entered = !cmd.HasSubCommands()
		return inner(cmd, args)
	}
}

// remote adds the flags of commands that talk to a server.
func (c *cli) remote(flags *pflag.FlagSet) {
	flags.StringVar(&c.endpoint, "endpoint", c.envOr("HOLDALL_ENDPOINT", "127.0.0.1:7420"), "server to talk to (HOLDALL_ENDPOINT)")
}

// namespaced adds the flag of commands that name blocks or objects.
func (c *cli) namespaced(flags *pflag.FlagSet) {
	flags.StringVar(&c.namespace, "namespace", c.envOr("HOLDALL_NAMESPACE", holdall.DefaultNamespaceName), "namespace that the command is about (HOLDALL_NAMESPACE)")
}

func (c *cli) envOr(name, initial string) string {
	if v, ok := c.env(name); ok && v != "" {
		return v
	}
	return initial
}

// json says whether facts are printed for programs.
func (c *cli) json() bool { return c.output == "json" }
