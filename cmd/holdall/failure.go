package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
)

// The exit codes that scripts rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnavailable = 4
	exitRefused     = 5
	exitDifferences = 6
)

// errDifferences ends a command whose verification found something. What it
// found is printed already.
var errDifferences = errors.New("verification found differences")

// hint is an error with the next command to run.
type hint struct {
	err  error
	next string
}

// Error returns the text of the error alone; fail prints the next step.
func (h *hint) Error() string { return h.err.Error() }

// Unwrap returns the error.
func (h *hint) Unwrap() error { return h.err }

// withNext adds the next step to err, which may be nil.
func withNext(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hint{err, fmt.Sprintf(format, args...)}
}

// exitCode maps kinds of error to the codes of the contract.
func exitCode(err error) int {
	switch {
	case errors.Is(err, errDifferences):
		return exitDifferences
	case errors.Is(err, holdall.ErrInvalid):
		return exitUsage
	case errors.Is(err, holdall.ErrNotFound):
		return exitNotFound
	case errors.Is(err, holdall.ErrRefused):
		return exitRefused
	case errors.Is(err, holdall.ErrUnavailable), errors.Is(err, holdall.ErrExhausted), errors.Is(err, holdall.ErrDiskFull),
		errors.Is(err, holdall.ErrDiskFailed), errors.Is(err, context.DeadlineExceeded):
		return exitUnavailable
	}
	return exitFailed
}

// failure is what --output json prints on stderr for an error.
type failure struct {
	Error string `json:"error"`
	Next  string `json:"next,omitempty"`
	Code  int    `json:"exit_code"`
}

// fail prints err and what to do next, and returns the exit code.
func (c *cli) fail(cmd *cobra.Command, err error) int {
	f := failure{Error: err.Error(), Code: exitCode(err)}
	if !c.entered {
		f.Code = exitUsage
	}
	var h *hint
	switch {
	case errors.As(err, &h):
		f.Next = h.next
	case f.Code == exitUsage:
		f.Next = cmd.CommandPath() + " -h"
	default:
		f.Next = c.usualNext(err)
	}
	if f.Code == exitDifferences {
		return f.Code
	}
	if c.json() {
		line, _ := json.Marshal(f) // three plain fields cannot fail
		fmt.Fprintf(c.err, "%s\n", line)
		return f.Code
	}
	fmt.Fprintf(c.err, "holdall: %s\n", f.Error)
	if f.Next != "" {
		fmt.Fprintf(c.err, "  next: %s\n", strings.ReplaceAll(f.Next, "\n", "\n        "))
	}
	return f.Code
}

// usualNext is the next step that a kind of error usually has.
func (c *cli) usualNext(err error) string {
	switch {
	case errors.Is(err, holdall.ErrDataLoss):
		return "put the missing disks back if they still exist; `holdall disk ls` names them"
	case errors.Is(err, holdall.ErrNotFound):
		return "check the id and --namespace; a deleted block comes back with `holdall block undelete ID` until its retention ends"
	case errors.Is(err, holdall.ErrExhausted), errors.Is(err, holdall.ErrDiskFull):
		return "wait and try again; if disks are full (`holdall disk ls`), waiting does not help:\n" +
			"`holdall disk add PATH` gives room now, `holdall block rm ID...` after --retention and --free-hold"
	case errors.Is(err, holdall.ErrDiskFailed):
		return "`holdall disk ls` says which disk failed and why; a disk that is mended comes back with `holdall disk readmit DISK`"
	case errors.Is(err, holdall.ErrUnavailable):
		return "try again; `holdall cell status` shows what is missing"
	case errors.Is(err, syscall.EISDIR):
		return "name files, or - for standard input: a directory is not stored as one"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return "check the path, and who may read it"
	case errors.Is(err, holdall.ErrCorrupt):
		return "stop the server and run `holdall fsck --data DIR`, which names disk, zone and record"
	}
	return ""
}
