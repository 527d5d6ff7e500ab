package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/holdall/holdall"
)

// Rebuilder makes a cell's metadata anew from what is found on its disks.
// Whoever scans the disks calls AddDisk, then AddVolume, then AddStripe and
// Replay in the order of the change journal, then ReplayNames, AddObject and AddNode
// in that order again, then Seal for the volumes still open, and Finish. Nothing is there before Finish; Abort leaves nothing. It is
// not safe for concurrent use, but for Lookup.
type Rebuilder struct{ l *loader }

// RebuildConfig says for what cell metadata are rebuilt.
type RebuildConfig struct {
	Cell        holdall.CellID
	Incarnation uint32        // the highest seen on the disks; the cell gets one above
	Retention   time.Duration // of the default namespace
	Reason      string        // of the quarantine that follows
}

// NewRebuilder begins a cell in cfg.Dir, which must be absent or empty, with
// cfg.NodeID its only voter. cfg.Clock, FS, Logger and OnFatal are used.
func NewRebuilder(cfg Config, rebuild RebuildConfig) (*Rebuilder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l, err := newLoader(cfg.withDefaults())
	if err != nil {
		return nil, err
	}
	b := &Rebuilder{l}
	err = l.open()
	if err == nil {
		err = l.apply(&initCell{Cell: rebuild.Cell, Retention: rebuild.Retention}, noResult{})
	}
	if err == nil {
		err = l.apply(&raiseCell{Above: rebuild.Incarnation, Reason: rebuild.Reason}, new(numberResult))
	}
	if err != nil {
		return nil, errors.Join(err, l.abort())
	}
	return b, nil
}

// AddDisk makes a disk one of the cell's.
func (b *Rebuilder) AddDisk(d Disk) error { return b.l.apply(&addDisk{Disk: d}, noResult{}) }

// AddVolume makes a volume that was found one of the cell's: open, empty, as
// its members' extents say it was made.
func (b *Rebuilder) AddVolume(v Volume) error { return b.l.apply(&adoptVolume{Volume: v}, noResult{}) }

// FoundStripe is a stripe that was found on disks.
type FoundStripe struct {
	StripeCommit           // Ends: 0 for a member whose record was not found
	Journaled    bool      // the change journal on disks lists it
	Trashed      bool      // bring back as trash what has no row: its place in the order is not known
	Time         time.Time // of its commit; zero = not known
}

// AddStripe puts the blocks of a stripe as its commit did.
func (b *Rebuilder) AddStripe(s FoundStripe) (CommitResult, error) {
	c := &adoptStripe{StripeCommit: s.StripeCommit, Journaled: s.Journaled, Trashed: s.Trashed, Time: toInstant(s.Time)}
	var a commitAnswer
	if err := b.l.apply(c, &a); err != nil {
		return CommitResult{}, err
	}
	r := CommitResult{Kept: make([]holdall.Location, len(s.Blocks))}
	for i := range s.Blocks {
		r.Kept[i] = s.Blocks[i].at(s.Volume)
	}
	for i, at := range a.Index {
		r.Kept[at] = a.Kept[i]
	}
	return r, nil
}

// replayBytes bounds the changes of one entry well below holdall.MaxRaftEntry.
const replayBytes = holdall.MaxRaftEntry / 2

// Replay does again what the change journal says was done, in its order.
// Changes of kind ChangeStripe only keep the numbers rising: AddStripe puts
// their blocks, and its caller keeps the order between the two. Those of names, but
// for namespaces, wait for ReplayNames; a node that was removed is a row less.
func (b *Rebuilder) Replay(changes []Change) error {
	return b.inPieces(changes, func(some []Change) command { return &replayChanges{some} })
}

// inPieces applies the command of as many changes at a time as fit an entry.
func (b *Rebuilder) inPieces(changes []Change, of func([]Change) command) error {
	for len(changes) > 0 {
		n, size := 0, 0
		for n < len(changes) && n < maxReplay && (n == 0 || size < replayBytes) {
			size += 2*changeCost + len(changes[n].Key) + len(changes[n].Name) + len(changes[n].Data)
			n++
		}
		if err := b.l.apply(of(changes[:n]), noResult{}); err != nil {
			return err
		}
		changes = changes[n:]
	}
	return nil
}

// Seal ends appends to a volume at the last stripe that was added.
func (b *Rebuilder) Seal(id holdall.VolumeID) (Volume, error) {
	var r volumeResult
	err := b.l.apply(&sealVolume{Volume: id, Force: true}, &r)
	return r.Volume, err
}

// AddTask notes something for upkeep to do.
func (b *Rebuilder) AddTask(t Task) error {
	return b.l.apply(&addTask{Task: t}, new(numberResult))
}

// Lookup returns the row of each id as it is so far; see Store.Lookup.
func (b *Rebuilder) Lookup(ns holdall.NamespaceID, ids []holdall.BlockID) ([]Block, error) {
	return lookup(b.l.state.db, ns, ids, nil)
}

// Volume returns the row of a volume as it is so far, or false.
func (b *Rebuilder) Volume(id holdall.VolumeID) (Volume, bool, error) {
	return readVolume(b.l.state.db, id)
}

// Volumes yields all volumes as they are so far.
func (b *Rebuilder) Volumes() iter.Seq2[Volume, error] { return volumes(b.l.state.db) }

// Blocks yields all rows of blocks as they are so far.
func (b *Rebuilder) Blocks() iter.Seq2[Block, error] { return blocks(b.l.state.db) }

// Dump writes every table to w; see Store.Dump.
func (b *Rebuilder) Dump(ctx context.Context, w io.Writer) error {
	return dump(b.l.state.db, ctxWriter{ctx, w})
}

// Finish makes the directory a cell's, durably: in quarantine, until an operator
// releases it. The Rebuilder is done with.
func (b *Rebuilder) Finish() (Cell, error) {
	c, err := b.l.finish()
	if err != nil {
		return c, fmt.Errorf("metadata: finish the rebuild: %w", err)
	}
	return c, nil
}

// Abort removes what was made. The Rebuilder is done with.
func (b *Rebuilder) Abort() error { return b.l.abort() }
