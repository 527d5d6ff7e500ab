package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// Found is what a rebuild reads. *volume.Server is one.
type Found interface {
	shards
	Status() []volume.DiskStatus
	Extents(ctx context.Context, disk holdall.DiskID) ([]volume.ExtentInfo, error)
}

// Survey is what the disks of a cell say when nobody else can: which volumes
// there are, and what the change journal has.
type Survey struct {
	Incarnation uint32 // the highest that anything carries
	Volumes     []*FoundVolume
	Problems    []string // what could not be read, for people

	unlisted []string // problems: disks that are here and do not say what they hold

	changes []metadata.Change // in order, each once
	gaps    bool              // the journal lacks changes
	solid   int               // index in changes: from there to the last none is lacking
	torn    bool              // what is lacking may lie after the last of changes
	coders  coders
	recent  []*FoundVolume // whose tables are in memory, the latest last
	from    Found
	pool    *buffer.Pool
}

// FoundVolume is a volume as its extents describe it.
type FoundVolume struct {
	metadata.Volume         // Last and ends are not those of metadata: see the fields below
	ends            []int64 // where the records of each member end on its disk; -1: the member is not there
	sealed          bool
	freed           bool   // an extent is in trash: metadata had said that it is dead
	partial         bool   // members are on no disk that is here
	written         bool   // a record of some member is here
	last            uint64 // of a sealed volume, by a footer
	stripes         map[uint64]*holdall.Stripe
	spots           [][]spot // of the same, by member
}

// surveyWidth is how many disks, and how many packs, are read at once.
const surveyWidth = 16

// Look reads the extents of all disks, and the change journal. pool lends the
// memory for packs. progress, which may be nil, is told volumes looked at and in
// all.
func Look(ctx context.Context, from Found, cell holdall.CellID, pool *buffer.Pool, progress func(done, total int)) (*Survey, error) {
	s := &Survey{from: from, pool: pool}
	infos, err := s.extents(ctx)
	if err != nil {
		return nil, err
	}
	s.group(infos)
	var blocks []journalBlock
	for i, v := range s.Volumes {
		if v.freed {
			continue
		}
		if progress != nil {
			progress(i, len(s.Volumes))
		}
		if v.System, err = s.isSystem(ctx, v); err != nil {
			return nil, err
		}
		if v.System {
			blocks = append(blocks, s.readJournal(ctx, v, cell)...)
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
	}
	s.orderJournal(blocks)
	return s, nil
}

func (s *Survey) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

// extents lists the extents of all disks.
func (s *Survey) extents(ctx context.Context) ([]volume.ExtentInfo, error) {
	disks := s.from.Status()
	lists, errs := make([][]volume.ExtentInfo, len(disks)), make([]error, len(disks))
	var wg sync.WaitGroup
	for i, d := range disks {
		wg.Go(func() { lists[i], errs[i] = s.from.Extents(ctx, d.ID) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			s.problem("disk %v (%s): its extents cannot be listed: %v", disks[i].ID, disks[i].Path, err)
			s.unlisted = append(s.unlisted, s.Problems[len(s.Problems)-1])
		}
	}
	return slices.Concat(lists...), ctx.Err()
}

// group makes volumes of extents. Of two extents that claim one place the later
// made counts: a member that moved leaves its former self behind.
func (s *Survey) group(infos []volume.ExtentInfo) {
	byID := map[holdall.VolumeID]*FoundVolume{}
	for i := range infos {
		e := &infos[i]
		v := byID[e.Extent.Volume]
		if v == nil {
			v = &FoundVolume{
				Volume: metadata.Volume{ID: e.Extent.Volume, Scheme: e.Scheme, Limit: e.Limit, State: holdall.VolumeOpen, Members: make([]metadata.Member, e.Scheme.N())},
				ends:   slices.Repeat([]int64{-1}, e.Scheme.N()),
			}
			byID[v.ID] = v
			s.Volumes = append(s.Volumes, v)
		}
		m := int(e.Extent.Member)
		if e.Scheme != v.Scheme || m >= len(v.Members) {
			s.problem("extent %v on disk %v: its scheme %v is not that of its volume, %v: left out", e.Extent, e.Disk, e.Scheme, v.Scheme)
			continue
		}
		v.Epoch = max(v.Epoch, e.Epoch, e.Extent.Created)
		v.freed = v.freed || e.State == volume.ExtentTrashed
		if v.ends[m] >= 0 && v.Members[m].Created >= e.Extent.Created {
			continue
		}
		v.Members[m], v.ends[m] = metadata.Member{Disk: e.Disk, Created: e.Extent.Created}, e.End
		if e.State == volume.ExtentSealed {
			v.sealed, v.last = true, max(v.last, e.Last)
		}
	}
	slices.SortFunc(s.Volumes, func(a, b *FoundVolume) int { return compare(a.ID, b.ID) })
	for _, v := range s.Volumes {
		s.Incarnation = max(s.Incarnation, v.ID.Incarnation(), v.Epoch.Incarnation())
		s.nameMissing(v)
	}
}

func compare[T ~uint32 | ~uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// nameMissing gives members whose extent was not found the epoch of the others:
// their disk may come back, but which it is no byte here tells.
func (s *Survey) nameMissing(v *FoundVolume) {
	missing := 0
	for m := range v.Members {
		v.written = v.written || v.ends[m] > 0
		if v.ends[m] < 0 {
			missing++
			for o := range v.Members {
				v.Members[m].Created = max(v.Members[m].Created, v.Members[o].Created)
			}
		}
	}
	v.partial = missing > 0
	if missing > 0 && v.written { // else it was being made: no block is missed
		s.problem("volume %v: %d of its %d members are on no disk that is here", v.ID, missing, len(v.Members))
	}
}

// Missing names the members that are on no disk that is here and can be read.
// Metadata made without their disks could never take these up again. Volumes that
// were being made, or given up, lack extents also where no disk is missing: they
// are left out.
func (s *Survey) Missing() []string {
	freed := map[holdall.VolumeID]bool{}
	for i := range s.changes {
		if s.changes[i].Kind == metadata.ChangeFree {
			freed[s.changes[i].Volume] = true
		}
	}
	list := slices.Clone(s.unlisted)
	for _, v := range s.Volumes {
		if !v.written || v.freed || freed[v.ID] {
			continue
		}
		for m, end := range v.ends {
			if end < 0 {
				list = append(list, fmt.Sprintf("member %d of volume %v", m, v.ID))
			}
		}
	}
	return list
}

// maxTables is how many volumes' tables are kept: a cell writes to a few at a
// time, and a table of 65,536 stripes takes some 16 MB.
const maxTables = 16

// table returns the stripes of v by number, as the members that can be read list
// them. One goroutine at a time may call it.
func (s *Survey) table(ctx context.Context, v *FoundVolume) (map[uint64]*holdall.Stripe, error) {
	if v.stripes != nil {
		return v.stripes, nil
	}
	all := v.Volume
	all.Last = 1<<64 - 1
	stripes, err := stripesOf(ctx, s.from, &all)
	if errors.Is(err, errDisagree) || ctx.Err() != nil {
		return nil, err
	}
	v.stripes = stripes // what unreadable members alone would list is found missing later
	if s.recent = append(s.recent, v); len(s.recent) > maxTables {
		s.recent[0].stripes, s.recent[0].spots = nil, nil // who reads them keeps them
		s.recent = s.recent[1:]
	}
	return stripes, nil
}

// reader returns a reader of a stripe's packs.
func (s *Survey) reader(v *FoundVolume, stripe *holdall.Stripe) (*packReader, error) {
	coder, err := s.coders.of(v.Scheme)
	if err != nil {
		return nil, err
	}
	return newPackReader(s.from, s.pool, coder, &v.Volume, stripe), nil
}

// isSystem says whether v holds the cell's own blocks: whether the first pack
// that can be read lists one. A volume holds only such, or none.
func (s *Survey) isSystem(ctx context.Context, v *FoundVolume) (bool, error) {
	stripes, err := s.table(ctx, v)
	if err != nil {
		s.problem("volume %v: %v", v.ID, err)
		return false, ctx.Err()
	}
	for _, number := range sortedNumbers(stripes) {
		r, err := s.reader(v, stripes[number])
		if err != nil {
			return false, err
		}
		for shard := range v.Scheme.K() {
			if stripes[number].Shards[shard].Length == 0 {
				continue
			}
			if entries, err := r.directory(ctx, shard); err == nil {
				return entries[0].Namespace == holdall.SystemNamespace, nil
			}
		}
	}
	return false, ctx.Err()
}

func sortedNumbers(stripes map[uint64]*holdall.Stripe) []uint64 {
	numbers := make([]uint64, 0, len(stripes))
	for n := range stripes {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}

// journalBlock is one journal block that was read.
type journalBlock struct {
	JournalHeader
	changes []metadata.Change
}

// readJournal reads every journal block of a system volume.
func (s *Survey) readJournal(ctx context.Context, v *FoundVolume, cell holdall.CellID) []journalBlock {
	stripes, err := s.table(ctx, v)
	if err != nil {
		s.gaps, s.torn = true, true
		s.problem("volume %v, of the change journal: %v", v.ID, err)
		return nil
	}
	var list []journalBlock
	for _, number := range sortedNumbers(stripes) {
		r, err := s.reader(v, stripes[number])
		if err == nil {
			err = s.journalStripe(ctx, r, cell, &list)
		}
		if err == nil {
			s.torn = false
		} else if !v.maybeUncommitted(number, stripes) {
			s.gaps, s.torn = true, true
			s.problem("stripe %d of volume %v, of the change journal: %v", number, v.ID, err)
		}
	}
	return list
}

// maybeUncommitted says whether a stripe may be one that was being written when
// the cell died.
func (v *FoundVolume) maybeUncommitted(number uint64, stripes map[uint64]*holdall.Stripe) bool {
	return !v.sealed && stripes[number+1] == nil || v.sealed && number > v.last
}

func (s *Survey) journalStripe(ctx context.Context, r *packReader, cell holdall.CellID, list *[]journalBlock) error {
	for shard := range r.v.Scheme.K() {
		if r.s.Shards[shard].Length == 0 {
			continue
		}
		entries, err := r.directory(ctx, shard)
		if err != nil {
			return err
		}
		for _, e := range entries {
			view, err := r.bytes(ctx, shard, int(e.Offset), int(e.Length))
			if err != nil {
				return err
			}
			id := holdall.HashBlock(view.Data)
			h, changes, err := ParseJournal(view.Data)
			view.Release()
			switch {
			case id != e.ID:
				return fmt.Errorf("block %v hashes to %v: %w", e.ID, id, holdall.ErrCorrupt)
			case err != nil:
				return err
			case h.Cell != cell:
				return fmt.Errorf("block %v is of the journal of cell %v: %w", e.ID, h.Cell, holdall.ErrCorrupt)
			}
			*list = append(*list, journalBlock{h, changes})
		}
	}
	return nil
}

// orderJournal puts the changes of all blocks in order, each once: a flush that
// was repeated lists its changes again.
func (s *Survey) orderJournal(blocks []journalBlock) {
	slices.SortFunc(blocks, func(a, b journalBlock) int {
		if c := compare(a.Incarnation, b.Incarnation); c != 0 {
			return c
		}
		return compare(a.First, b.First)
	})
	for i := range blocks {
		b := &blocks[i]
		s.Incarnation = max(s.Incarnation, b.Incarnation)
		newer := i > 0 && b.Incarnation > blocks[i-1].Incarnation
		var last uint64
		if n := len(s.changes); n > 0 {
			last = s.changes[n-1].Seq
		}
		if b.First > last+1 {
			s.gaps, s.solid = true, len(s.changes)
			s.problem("changes %d to %d are in no journal block that can be read", last+1, b.First-1)
		}
		for _, c := range b.changes {
			if c.Seq > last || newer {
				s.changes = append(s.changes, c)
				last, newer = c.Seq, false
			}
		}
	}
}
