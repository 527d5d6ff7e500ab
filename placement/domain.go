package placement

import (
	"fmt"
	"strings"

	"github.com/holdall/holdall"
)

// Level is a level of failure domain: what breaks at once.
type Level uint8

// The levels, from the smallest. A label names a disk's domains down to its host:
// "region/rack/host", "rack/host" or "host".
const (
	DomainDisk   Level = 0
	DomainHost   Level = 1
	DomainRack   Level = 2
	DomainRegion Level = 3
)

// ParseLevel reads "disk", "host", "rack" or "region". Its error wraps
// holdall.ErrInvalid.
func ParseLevel(s string) (Level, error) {
	for l := DomainDisk; l <= DomainRegion; l++ {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("domain %.40q: want disk, host, rack or region: %w", s, holdall.ErrInvalid)
}

// String returns the word that ParseLevel reads.
func (l Level) String() string {
	switch l {
	case DomainDisk:
		return "disk"
	case DomainHost:
		return "host"
	case DomainRack:
		return "rack"
	case DomainRegion:
		return "region"
	}
	return fmt.Sprintf("level-%d", uint8(l))
}

// of returns the name of d's domain at a level, which includes those around it:
// two racks may each have a host "a". It returns false when d's label has none.
func (l Level) of(d Disk) (string, bool) {
	if l == DomainDisk {
		return d.ID.String(), true
	}
	labels := strings.Split(d.Domain, "/")
	n := len(labels) - int(l) + 1
	if d.Domain == "" || n < 1 {
		return "", false
	}
	return strings.Join(labels[:n], "/"), true
}
