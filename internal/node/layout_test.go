package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
)

func someDisks(n int, domain func(int) string) []config.Disk {
	list := make([]config.Disk, n)
	for i := range list {
		list[i] = config.Disk{Path: fmt.Sprintf("/d%d", i), Domain: domain(i)}
	}
	return list
}

func TestSchemeIsTheWidestThatTheDomainsAllow(t *testing.T) {
	none := func(int) string { return "" }
	pairs := func(i int) string { return fmt.Sprintf("rack%d/host%d", i/4, i/2) }
	for _, c := range []struct {
		disks  []config.Disk
		level  string
		asked  string
		want   string
		refuse bool
	}{
		{someDisks(9, none), "disk", "", "rs-6-3", false},
		{someDisks(20, none), "disk", "", "rs-6-3", false},
		{someDisks(8, none), "disk", "", "rs-5-3", false},
		{someDisks(5, none), "disk", "", "rs-2-3", false},
		{someDisks(4, none), "disk", "", "rep-4", false},
		{someDisks(3, none), "disk", "", "rep-3", false},
		{someDisks(2, none), "disk", "", "rep-2", false},
		{someDisks(1, none), "disk", "", "", true},
		{someDisks(0, none), "disk", "", "", true},
		{someDisks(16, pairs), "host", "", "rs-5-3", false},
		{someDisks(16, pairs), "rack", "", "rep-4", false},
		{someDisks(9, none), "disk", "rs-4-2", "rs-4-2", false},
		{someDisks(9, none), "disk", "rs-10-4", "", true},
		{someDisks(16, pairs), "host", "rs-6-3", "", true},
	} {
		var asked holdall.Scheme
		if c.asked != "" {
			asked, _ = holdall.ParseScheme(c.asked)
		}
		got, err := chooseScheme(asked, c.disks, c.level)
		if c.refuse {
			if !errors.Is(err, holdall.ErrRefused) {
				t.Errorf("%d disks by %s, %q: got %v, %v, want a refusal", len(c.disks), c.level, c.asked, got, err)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("%d disks by %s, %q: got %v, %v, want %s", len(c.disks), c.level, c.asked, got, err, c.want)
		}
		if err == nil && got.Validate() != nil {
			t.Errorf("%v does not validate", got)
		}
	}
}

func TestDataDirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir() + "/data"
	if _, err := LockDataDir(dir, false); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("absent directory: %v", err)
	}
	a, err := LockDataDir(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDataDir(dir, true); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("second owner: %v", err)
	}
	if _, done, err := a.cell(); done || err != nil {
		t.Errorf("a fresh directory names a cell: %v, %v", done, err)
	}
	id := holdall.CellID{1, 2, 3}
	if err := a.setCell(id); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := LockDataDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, done, err := b.cell(); got != id || !done || err != nil {
		t.Errorf("marker reads back as %v, %v, %v", got, done, err)
	}
}
