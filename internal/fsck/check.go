package fsck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
)

// Config says what to check.
type Config struct {
	Data     string                  // the data directory
	Disks    []string                // paths of disks; none: those in Data, and where metadata last saw them
	Progress func(done, total int64) // bytes of records; nil = not told
	Found    func(Finding)           // each finding as it is made; nil = not told
}

// Finding is one difference between what is and what should be.
type Finding struct {
	Kind   string `json:"kind"` // see the constants
	Disk   string `json:"disk,omitempty"`
	Path   string `json:"path,omitempty"`
	Zone   int    `json:"zone"` // -1: of no zone
	Volume string `json:"volume,omitempty"`
	Member int    `json:"member"` // -1: of no member
	Stripe uint64 `json:"stripe,omitempty"`
	Offset int64  `json:"offset"` // in the extent; of the record, where there is one
	Block  string `json:"block,omitempty"`
	Detail string `json:"detail"`
}

// The kinds of finding.
const (
	KindDisk       = "disk"        // missing, doubled, or not of this cell
	KindSuperblock = "superblock"  // the superblock log
	KindZone       = "zone_header" // a zone's first sector
	KindExtent     = "extent"      // missing, or of no volume
	KindHeader     = "record_header"
	KindPayload    = "record_payload" // a 64-KiB checksum, or padding
	KindDirectory  = "directory"      // of a pack
	KindBlock      = "block_hash"     // bytes that are not what the id names
	KindParity     = "parity"         // shards whose parity is of other bytes
	KindFooter     = "footer"
	KindStripe     = "stripe" // in no place, or in two
	KindVolume     = "volume" // a volume's row against its bytes
	KindRow        = "row"    // a block's row against the directories
	KindMetadata   = "metadata"
)

// Result is what a check saw.
type Result struct {
	Cell     holdall.CellID `json:"cell"`
	Disks    int            `json:"disks"`
	Volumes  int            `json:"volumes"`
	Stripes  uint64         `json:"stripes"`
	Records  uint64         `json:"records"`
	Blocks   uint64         `json:"blocks"`     // in directories
	Rows     uint64         `json:"rows"`       // of metadata
	Bytes    int64          `json:"bytes"`      // of records read
	Dead     int64          `json:"dead_bytes"` // after committed ends: never acknowledged
	Findings int            `json:"findings"`
}

// say completes a finding with what is wrong.
func (f Finding) say(format string, args ...any) Finding {
	f.Detail = fmt.Sprintf(format, args...)
	return f
}

// checker is one check under way.
type checker struct {
	cfg    Config
	pool   *buffer.Pool
	disks  map[holdall.DiskID]*disk
	reader *metadata.Reader // nil: metadata cannot be read
	rows   map[holdall.VolumeID]*metadata.Volume
	gone   map[holdall.DiskID]bool     // disks of metadata that are not here
	coding map[holdall.Scheme][][]byte // matrices
	total  int64
	places rowPlaces

	mu     sync.Mutex // guards result and what is told to the config's functions
	result Result
}

// Check reads everything. The error says why it could not; what is wrong with
// the cell is told to Found and counted in the result.
func Check(ctx context.Context, cfg Config) (_ Result, err error) {
	c := &checker{
		cfg: cfg, pool: buffer.NewPool(256 << 20), disks: map[holdall.DiskID]*disk{}, rows: map[holdall.VolumeID]*metadata.Volume{},
		gone: map[holdall.DiskID]bool{}, coding: map[holdall.Scheme][][]byte{}, places: rowPlaces{},
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.openMetadata(); err != nil {
		return c.result, err
	}
	if err := c.openDisks(); err != nil {
		return c.result, err
	}
	if c.nothing() {
		return c.result, fmt.Errorf("data directory %s holds no cell: neither metadata nor disks are there; give --data the directory that `holdall serve` uses, and --disk for each disk elsewhere: %w",
			c.cfg.Data, holdall.ErrNotFound)
	}
	if err := c.checkDisks(); err != nil {
		return c.result, err
	}
	for _, v := range c.volumes() {
		if ctx.Err() != nil {
			return c.result, context.Cause(ctx)
		}
		if err := c.checkVolume(ctx, v); err != nil {
			return c.result, err
		}
	}
	if c.reader != nil {
		if err := c.checkRows(ctx); err != nil {
			return c.result, err
		}
	}
	return c.result, nil
}

// nothing says whether there is no trace of a cell: somebody mistyped a path.
func (c *checker) nothing() bool {
	_, err := os.Stat(filepath.Join(c.cfg.Data, "metadata"))
	return errors.Is(err, os.ErrNotExist) && len(c.disks) == 0 && c.result.Findings == 1 // that metadata is missing
}

func (c *checker) close() error {
	var errs []error
	for _, d := range c.disks {
		errs = append(errs, d.medium.close())
	}
	if c.reader != nil {
		errs = append(errs, c.reader.Close())
	}
	return errors.Join(errs...)
}

// find tells a finding.
func (c *checker) find(f Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Findings++
	if c.cfg.Found != nil {
		c.cfg.Found(f)
	}
}

// read notes that n more bytes of records were read.
func (c *checker) read(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Records++
	c.result.Bytes += n
	if c.cfg.Progress != nil {
		c.cfg.Progress(c.result.Bytes, c.total)
	}
}

// nowhere is a finding of no particular place.
func nowhere(kind, format string, args ...any) Finding {
	return Finding{Kind: kind, Zone: -1, Member: -1, Detail: fmt.Sprintf(format, args...)}
}

// openMetadata opens the metadata. A server that runs, or no such directory, is
// an error; metadata that is damaged is a finding, and the disks are read all
// the same.
func (c *checker) openMetadata() error {
	r, err := metadata.OpenReadOnly(filepath.Join(c.cfg.Data, "metadata"), nil)
	if errors.Is(err, holdall.ErrRefused) {
		return fmt.Errorf("%w; stop the server first", err)
	}
	if _, statErr := os.Stat(c.cfg.Data); statErr != nil {
		return fmt.Errorf("data directory %s: %v; give --data the directory that `holdall serve` uses: %w", c.cfg.Data, statErr, holdall.ErrNotFound)
	}
	if err != nil {
		c.find(nowhere(KindMetadata, "metadata cannot be read: %v", err))
		return nil
	}
	c.reader = r
	cell, err := r.Cell()
	if err != nil {
		c.find(nowhere(KindMetadata, "the cell's row cannot be read: %v", err))
		return nil
	}
	c.result.Cell = cell.ID
	for v, err := range r.Volumes() {
		if err != nil {
			c.find(nowhere(KindMetadata, "the volumes table cannot be read: %v", err))
			return nil
		}
		c.rows[v.ID] = &v
	}
	return nil
}

// openDisks opens every disk that is where disks are looked for.
func (c *checker) openDisks() error {
	paths := slices.Clone(c.cfg.Disks)
	if len(paths) == 0 {
		found, err := filepath.Glob(filepath.Join(c.cfg.Data, "disk-[0-9][0-9]"))
		if err != nil {
			return err
		}
		paths = found
	}
	for i := range paths {
		abs, err := filepath.Abs(paths[i])
		if err != nil {
			return err
		}
		paths[i] = abs
	}
	given := len(paths)
	if c.reader != nil {
		for d, err := range c.reader.Disks() {
			if err != nil {
				c.find(nowhere(KindMetadata, "the disks table cannot be read: %v", err))
				break
			}
			if d.Path != "" && !slices.Contains(paths, d.Path) {
				paths = append(paths, d.Path)
			}
		}
	}
	for i, path := range paths {
		// A place known from metadata alone is looked at for disks that were not
		// met before.
		if err := c.openDisk(path, i >= given); err != nil {
			return err
		}
	}
	return nil
}

// openDisk adds the disk at path. With known set, a disk that was met already is
// passed over.
func (c *checker) openDisk(path string, known bool) error {
	m, err := openMedium(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // said when its disk is missed
	}
	if err != nil {
		c.find(Finding{Kind: KindDisk, Path: path, Zone: -1, Member: -1, Detail: err.Error()})
		return nil
	}
	d, findings := readSuper(m)
	for _, f := range findings {
		c.find(f)
	}
	if d == nil {
		return m.close()
	}
	if other := c.disks[d.id]; other != nil {
		if !known && other.medium.path != path {
			c.find(Finding{Kind: KindDisk, Disk: d.id.String(), Path: path, Zone: -1, Member: -1, Detail: "the disk is at " + other.medium.path + " too: one is a copy"})
		}
		return m.close()
	}
	for _, f := range d.readLost() {
		c.find(f)
	}
	c.disks[d.id] = d
	c.result.Disks++
	return nil
}

// checkDisks compares the disks that are here with those of metadata.
func (c *checker) checkDisks() error {
	for _, d := range c.disks {
		for _, e := range d.extents {
			if !e.trashed {
				c.total += d.written(e)
			}
		}
	}
	if c.reader == nil {
		return nil
	}
	known := map[holdall.DiskID]bool{}
	for row, err := range c.reader.Disks() {
		if err != nil {
			return nil // told by openDisks
		}
		known[row.ID] = true
		d := c.disks[row.ID]
		switch {
		case row.State == holdall.DiskRemoved:
		case d == nil:
			c.gone[row.ID] = true
			c.find(Finding{Kind: KindDisk, Disk: row.ID.String(), Path: row.Path, Zone: -1, Member: -1, Detail: "the disk is missing: it was last at this path"})
		case d.cell != c.result.Cell:
			c.find(d.finding(KindDisk, -1).say("the disk is of cell %v", d.cell))
		case d.incarnation != row.Incarnation && d.incarnation != row.Granted:
			c.find(d.finding(KindDisk, -1).say("the disk shows incarnation %d, metadata knows %d (confirmed) and %d (granted): a copy, or an old image", d.incarnation, row.Incarnation, row.Granted))
		}
	}
	for id, d := range c.disks {
		if !known[id] {
			c.find(d.finding(KindDisk, -1).say("metadata knows no such disk"))
		}
	}
	return nil
}

// volumes returns the ids of all volumes, of metadata and of disks, in order.
func (c *checker) volumes() []holdall.VolumeID {
	seen := map[holdall.VolumeID]bool{}
	for id := range c.rows {
		seen[id] = true
	}
	for _, d := range c.disks {
		for _, e := range d.extents {
			seen[e.id.Volume] = true
		}
	}
	list := make([]holdall.VolumeID, 0, len(seen))
	for id := range seen {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// matrixOf returns the matrix of a scheme.
func (c *checker) matrixOf(s holdall.Scheme) ([][]byte, error) {
	if p := c.coding[s]; p != nil {
		return p, nil
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	c.coding[s] = matrix(s)
	return c.coding[s], nil
}
