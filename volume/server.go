package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// ServerConfig is how the disks of a process are served. The zero ServerConfig
// is usable.
type ServerConfig struct {
	// OnDiskFailed is called once for a disk that stops taking writes, or is
	// added when it already has. It runs beside everything else, and must not
	// close the disk or the server: they wait for it.
	OnDiskFailed func(disk holdall.DiskID, reason string)
}

// Server is the disks of a process, by id. Disks share nothing: one that fails,
// stalls or fills leaves the others as they are. It is safe for concurrent use.
type Server struct {
	cfg ServerConfig

	mu    sync.RWMutex // guards disks
	disks map[holdall.DiskID]*Disk
}

// NewServer returns a Server without disks.
func NewServer(cfg ServerConfig) *Server {
	return &Server{cfg: cfg, disks: map[holdall.DiskID]*Disk{}}
}

// Add serves d, which the Server owns from here. A second disk with an id that
// is served is ErrRefused, and stays the caller's: one of the two is a copy.
func (s *Server) Add(d *Disk) error {
	s.mu.Lock()
	other := s.disks[d.ident.Disk]
	if other == nil {
		s.disks[d.ident.Disk] = d
	}
	s.mu.Unlock()
	if other != nil {
		return fmt.Errorf("disk %v is at %s and at %s: one is a copy of the other; remove the copy, or find out which was used last: %w", d.ident.Disk, other.cfg.Path, d.cfg.Path, holdall.ErrRefused)
	}
	if s.cfg.OnDiskFailed != nil {
		d.onFailed(s.cfg.OnDiskFailed)
	}
	return nil
}

// Remove closes the disk and serves it no more. ErrNotFound: it is not served.
func (s *Server) Remove(disk holdall.DiskID) error {
	s.mu.Lock()
	d := s.disks[disk]
	delete(s.disks, disk)
	s.mu.Unlock()
	if d == nil {
		return fmt.Errorf("disk %v is not here: %w", disk, holdall.ErrNotFound)
	}
	return d.Close()
}

// Disk returns a disk that is served. ErrDiskFailed: it is not here, which to
// those who look for its data is the same as a disk that does not answer.
func (s *Server) Disk(disk holdall.DiskID) (*Disk, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if d := s.disks[disk]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("disk %v is not here: %w", disk, holdall.ErrDiskFailed)
}

// list returns the disks in the order of their ids.
func (s *Server) list() []*Disk {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*Disk, 0, len(s.disks))
	for _, d := range s.disks {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *Disk) int { return bytes.Compare(a.ident.Disk[:], b.ident.Disk[:]) })
	return list
}

// Status says how every disk is, in the order of their ids.
func (s *Server) Status() []DiskStatus {
	list := s.list()
	all := make([]DiskStatus, len(list))
	for i, d := range list {
		all[i] = d.Status()
	}
	return all
}

// Close closes all disks at once, and waits for them: for one that hangs no
// longer than Disk.Close does.
func (s *Server) Close() error {
	list := s.list()
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, d := range list {
		wg.Go(func() { errs[i] = d.Close() })
	}
	wg.Wait()
	s.mu.Lock()
	clear(s.disks)
	s.mu.Unlock()
	return errors.Join(errs...)
}

// CreateExtent is Disk.CreateExtent on the disk that the grant names.
func (s *Server) CreateExtent(ctx context.Context, g Grant) error {
	d, err := s.Disk(g.Disk)
	if err != nil {
		return err
	}
	return d.CreateExtent(ctx, g)
}

// Append is Disk.Append.
func (s *Server) Append(ctx context.Context, disk holdall.DiskID, a *Append) error {
	d, err := s.Disk(disk)
	if err != nil {
		return err
	}
	return d.Append(ctx, a)
}

// Fence is Disk.Fence.
func (s *Server) Fence(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, epoch holdall.Epoch, end int64, last uint64) (ExtentInfo, error) {
	d, err := s.Disk(disk)
	if err != nil {
		return ExtentInfo{}, err
	}
	return d.Fence(ctx, id, epoch, end, last)
}

// Seal is Disk.Seal.
func (s *Server) Seal(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, epoch holdall.Epoch, last uint64, end int64) error {
	d, err := s.Disk(disk)
	if err != nil {
		return err
	}
	return d.Seal(ctx, id, epoch, last, end)
}

// Read is Disk.Read.
func (s *Server) Read(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, off int64, n int) (buffer.View, error) {
	d, err := s.Disk(disk)
	if err != nil {
		return buffer.View{}, err
	}
	return d.Read(ctx, id, off, n)
}

// ReadChecked is Disk.ReadChecked.
func (s *Server) ReadChecked(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, rec int64, off, n int) (buffer.View, error) {
	d, err := s.Disk(disk)
	if err != nil {
		return buffer.View{}, err
	}
	return d.ReadChecked(ctx, id, rec, off, n)
}

// StripeAt is Disk.StripeAt.
func (s *Server) StripeAt(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, member int, off int64) (holdall.Stripe, error) {
	d, err := s.Disk(disk)
	if err != nil {
		return holdall.Stripe{}, err
	}
	return d.StripeAt(ctx, id, member, off)
}

// Stripes is Disk.Stripes.
func (s *Server) Stripes(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, each func(holdall.Stripe) error) error {
	d, err := s.Disk(disk)
	if err != nil {
		return err
	}
	return d.Stripes(ctx, id, each)
}

// Scan is Disk.Scan.
func (s *Server) Scan(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, record func(Record) error) error {
	d, err := s.Disk(disk)
	if err != nil {
		return err
	}
	return d.Scan(ctx, id, record)
}

// ScanFaults is Disk.ScanFaults.
func (s *Server) ScanFaults(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID, record func(Record) error, bad func(Fault) error) error {
	d, err := s.Disk(disk)
	if err != nil {
		return err
	}
	return d.ScanFaults(ctx, id, record, bad)
}

// Extents is Disk.Extents.
func (s *Server) Extents(ctx context.Context, disk holdall.DiskID) ([]ExtentInfo, error) {
	d, err := s.Disk(disk)
	if err != nil {
		return nil, err
	}
	return d.Extents(ctx)
}

// Trash is Disk.Trash.
func (s *Server) Trash(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID) error {
	d, err := s.Disk(disk)
	if err != nil {
		return err
	}
	return d.Trash(ctx, id)
}

// Free is Disk.Free.
func (s *Server) Free(ctx context.Context, disk holdall.DiskID, id holdall.ExtentID) error {
	d, err := s.Disk(disk)
	if err != nil {
		return err
	}
	return d.Free(ctx, id)
}

// Readmit is Disk.Readmit.
func (s *Server) Readmit(ctx context.Context, disk holdall.DiskID) (Readmission, error) {
	d, err := s.Disk(disk)
	if err != nil {
		return Readmission{}, err
	}
	return d.Readmit(ctx)
}
