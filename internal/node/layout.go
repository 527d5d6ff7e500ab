package node

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
)

// Defaults of a cell that nobody configured.
const (
	defaultDisks    = 9                 // rs-6-3, one disk a shard
	defaultZone     = 256 << 20         // bytes: the zones of SMR disks
	defaultDirZone  = 16 << 20          // bytes: nine directories on one filesystem are for trying out
	defaultDiskGlob = "disk-[0-9][0-9]" // and nothing else: disk-02.away is not a disk
)

// defaultDiskPaths returns the directories of a cell without --disk.
func defaultDiskPaths(data string) []config.Disk {
	list := make([]config.Disk, defaultDisks)
	for i := range list {
		list[i].Path = filepath.Join(data, fmt.Sprintf("disk-%02d", i))
	}
	return list
}

// zoneSize returns the zone size of new disks.
func zoneSize(c *config.Config) int64 {
	switch {
	case c.ZoneSize != 0:
		return c.ZoneSize
	case len(c.Disks) == 0:
		return defaultDirZone
	}
	return defaultZone
}

// domainsOf counts the distinct domains of disks at a level.
func domainsOf(disks []config.Disk, level string) int {
	seen := map[string]bool{}
	for _, d := range disks {
		if name, ok := domainAt(d, level); ok {
			seen[name] = true
		}
	}
	return len(seen)
}

// domainAt returns the domain of d at a level: the labels from the outermost,
// as in "region/rack/host", down to that level's. It returns false when d has no
// label of that level; placement uses no such disk either.
func domainAt(d config.Disk, level string) (string, bool) {
	if level == "disk" {
		return d.Path, true
	}
	words := strings.Split(d.Domain, "/")
	n := len(words) - map[string]int{"host": 0, "rack": 1, "region": 2}[level]
	if d.Domain == "" || n < 1 {
		return "", false
	}
	return strings.Join(words[:n], "/"), true
}

// chooseScheme returns the scheme of new volumes: the one asked for, else
// rs-6-3 or the widest that the domains allow. It refuses a cell that could not
// lose a single disk.
func chooseScheme(asked holdall.Scheme, disks []config.Disk, level string) (holdall.Scheme, error) {
	n := domainsOf(disks, level)
	if asked != (holdall.Scheme{}) {
		if n < asked.N() {
			return asked, fmt.Errorf("scheme %v puts the %d shards of a stripe in different domains (--domain %s), and there are %d: add disks with --disk, choose a narrower scheme, or leave --scheme out: %w",
				asked, asked.N(), level, n, holdall.ErrRefused)
		}
		return asked, nil
	}
	if n < 2 {
		return asked, fmt.Errorf("%d disks are in %d domains (--domain %s): at least 2 are needed, or the loss of one would lose data; give more --disk, labelled as in PATH:domain=rack1/host3, or none for nine directories: %w",
			len(disks), n, level, holdall.ErrRefused)
	}
	m := min(holdall.DefaultScheme.M(), n-1)
	k := min(holdall.DefaultScheme.K(), n-m)
	if k == 1 {
		return holdall.Scheme{Kind: holdall.Copies, Data: 1, Global: uint8(m)}, nil
	}
	return holdall.Scheme{Kind: holdall.ReedSolomon, Data: uint8(k), Global: uint8(m)}, nil
}
