package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
)

func everyCommand(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		everyCommand(sub, f)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	everyCommand(newCLI(nil, nil, nil).root(), func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: short %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		if !strings.Contains(c.Example, "holdall") {
			t.Errorf("%s: the example is not a command line: %q", c.CommandPath(), c.Example)
		}
		if !c.HasSubCommands() && c.RunE == nil {
			t.Errorf("%s does nothing", c.CommandPath())
		}
	})
}

func TestKindsOfErrorHaveTheirExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{errors.New("x"), 1}, {holdall.ErrInvalid, 2}, {holdall.ErrNotFound, 3}, {holdall.ErrUnavailable, 4}, {holdall.ErrExhausted, 4},
		{holdall.ErrDiskFull, 4}, {context.DeadlineExceeded, 4}, {holdall.ErrRefused, 5}, {errDifferences, 6}, {holdall.ErrDataLoss, 1}, {holdall.ErrCorrupt, 1},
	} {
		if got := exitCode(fmt.Errorf("wrapped: %w", withNext(c.err, "next"))); got != c.code {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.code)
		}
	}
}

func TestUsageErrorsSayWhatToType(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nonsense"}, "unknown command"},
		{[]string{"block"}, "needs a verb: "},
		{[]string{"block", "fetch"}, "missing, put, rm, stat, undelete"},
		{[]string{"block", "get"}, "accepts 1 arg"},
		{[]string{"block", "get", "abc"}, "64 hex digits"},
		{[]string{"serve", "--colour", "red"}, "unknown flag"},
		{[]string{"serve", "--memory", "lots"}, "want bytes"},
		{[]string{"serve", "--listen", "0.0.0.0:1"}, "loopback"},
		{[]string{"cell", "status", "--output", "xml"}, "want table or json"},
		{[]string{"volume", "seal"}, "name volumes, or --all"},
		{[]string{"bucket", "create"}, "accepts 1 arg"},
		{[]string{"object", "get", "photos"}, "name an object as BUCKET/KEY"},
		{[]string{"object", "get", "Photos/k"}, "bucket name"},
		{[]string{"object", "get", "photos/k", "--range", "9"}, "want A-B"},
		{[]string{"object", "put", "-", "photos/k", "--meta", "x"}, "want NAME=VALUE"},
		{[]string{"object", "put", "-", "photos/k", "--tag", "x=1", "--tag", "x=2"}, "given twice"},
		{[]string{"object", "ls", "x"}, "bucket name"},
		{[]string{"namespace", "set", "photos"}, "give --quota, --retention, or both"},
		{[]string{"namespace", "create", "photos", "--quota", "lots"}, "--quota"},
		{[]string{"namespace", "credential"}, "needs a verb: "},
		{[]string{"metadata", "rebuild"}, "--from-disks"},
	} {
		r := command(t, nil, c.args...)
		if r.code != exitUsage || !strings.Contains(r.err, c.want) || !strings.Contains(r.err, "next: ") {
			t.Errorf("holdall %v: exit %d\n%s\nwant exit 2, %q and a next step", c.args, r.code, r.err, c.want)
		}
	}
}

func TestErrorsAreJSONWhereOutputIs(t *testing.T) {
	r := command(t, nil, "block", "get", "abc", "--output", "json")
	var f failure
	if err := json.Unmarshal([]byte(r.err), &f); err != nil || f.Code != exitUsage || f.Error == "" || f.Next == "" {
		t.Errorf("exit %d, %q: %v", r.code, r.err, err)
	}
}

func TestConfigShowNamesSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "holdall.toml")
	if err := os.WriteFile(file, []byte("memory = \"2GiB\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOLDALL_RETENTION", "1h")
	var list []struct{ Name, Value, Origin string }
	if err := json.Unmarshal([]byte(must(t, "config", "show", "--config", file, "--listen", "127.0.0.1:9", "--output", "json")), &list); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"memory": "2GiB file " + file, "retention": "1h0m0s environment HOLDALL_RETENTION", "listen": "127.0.0.1:9 flag --listen", "domain": "disk default"}
	for _, e := range list {
		if w, ok := want[e.Name]; ok && w != e.Value+" "+e.Origin {
			t.Errorf("%s: %s %s, want %s", e.Name, e.Value, e.Origin, w)
		}
		delete(want, e.Name)
	}
	if len(want) > 0 {
		t.Errorf("not shown: %v", want)
	}
	if err := os.WriteFile(file, []byte("memroy = \"2GiB\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := command(t, nil, "config", "check", "--config", file); r.code != exitUsage || !strings.Contains(r.err, `"memroy" (line 1)`) {
		t.Errorf("misspelt key: exit %d, %s", r.code, r.err)
	}
}

func TestRanges(t *testing.T) {
	for s, want := range map[string][2]int{"": {0, 0}, "0-0": {0, 1}, "0-99": {0, 100}, "10-": {10, 0}, "5-5": {5, 1}} {
		off, n, err := parseRange(s)
		if err != nil || off != want[0] || n != want[1] {
			t.Errorf("range %q: %d, %d, %v", s, off, n, err)
		}
	}
	for _, s := range []string{"-", "5", "9-3", "a-b", "-5", "1-2-3"} {
		if _, _, err := parseRange(s); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("range %q: %v", s, err)
		}
	}
}

func TestTablesLineUp(t *testing.T) {
	tab := newTable("NAME", ">SIZE")
	tab.row("a", "1")
	tab.row("éé", "1,000")
	var b strings.Builder
	tab.print(&b)
	if want := "NAME   SIZE\na         1\néé    1,000\n"; b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 4 << 20: "4.0 MiB", 1<<30 - 1: "1.0 GiB", 5 << 50: "5.0 PiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestProgressShowsRateAndTimeLeft(t *testing.T) {
	begun := time.Unix(0, 0)
	p := &progress{label: "reading", unit: "B", begun: begun, done: 50 << 20, total: 100 << 20}
	if got := p.line(begun.Add(5 * time.Second)); got != "reading [============            ]  50 %  50.0 MiB of 100.0 MiB  10.0 MiB/s  eta 5s" {
		t.Errorf("got %q", got)
	}
	p.total = 0
	if got := p.line(begun.Add(5 * time.Second)); got != "reading  50.0 MiB  10.0 MiB/s" {
		t.Errorf("without a total: %q", got)
	}
}

func TestManPagesCoverEveryCommand(t *testing.T) {
	dir := t.TempDir()
	must(t, "man", dir)
	page, err := os.ReadFile(filepath.Join(dir, "holdall-block-put.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{".TH \"HOLDALL-BLOCK-PUT\"", ".SH EXAMPLES", "\\-\\-endpoint", "holdall\\-block(1)"} {
		if !strings.Contains(string(page), part) {
			t.Errorf("page lacks %q", part)
		}
	}
}

func TestVersionIsJSONToo(t *testing.T) {
	var v versionFacts
	if err := json.Unmarshal([]byte(must(t, "version", "--output", "json")), &v); err != nil || v.Go == "" || v.Platform == "" {
		t.Errorf("%+v, %v", v, err)
	}
}
