package holdall

import (
	"encoding/hex"
	"fmt"
)

// CellID names a cell: one metadata group and the disks it owns. Random.
type CellID [16]byte

// String returns the 32 hex digits of c.
func (c CellID) String() string { return hex.EncodeToString(c[:]) }

// DiskID names a disk for ever. A wiped disk comes back under a new one. Random.
type DiskID [16]byte

// String returns the 32 hex digits of d.
func (d DiskID) String() string { return hex.EncodeToString(d[:]) }

// MarshalText makes a DiskID its hex digits in JSON.
func (d DiskID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (d *DiskID) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDiskID(string(b))
	return err
}

// MarshalText makes a CellID its hex digits in JSON.
func (c CellID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (c *CellID) UnmarshalText(b []byte) error {
	d, err := ParseDiskID(string(b))
	*c = CellID(d)
	return err
}

// ParseDiskID reads 32 hex digits.
func ParseDiskID(s string) (DiskID, error) {
	var d DiskID
	if b, err := hex.DecodeString(s); err != nil || len(b) != len(d) {
		return d, fmt.Errorf("disk id %.80q: want 32 hex digits: %w", s, ErrInvalid)
	} else {
		copy(d[:], b)
	}
	return d, nil
}

// DiskState says what a disk may be used for.
type DiskState uint8

// The states of a disk.
const (
	DiskActive   DiskState = 1 // reads and writes
	DiskFailed   DiskState = 2 // no writes until readmitted; reads where it still answers
	DiskDraining DiskState = 3 // no new extents; its extents are being moved away
	DiskRemoved  DiskState = 4 // gone for good; its id is never used again
)

var diskStates = map[DiskState]string{DiskActive: "active", DiskFailed: "failed", DiskDraining: "draining", DiskRemoved: "removed"}

// String returns the word operators see.
func (s DiskState) String() string {
	if w, ok := diskStates[s]; ok {
		return w
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// Limits on disks.
const (
	MaxDisksPerCell    = 10000 // the disks table stays in memory
	MaxDisksPerProcess = 200   // a JBOD or two; a goroutine set each
)
