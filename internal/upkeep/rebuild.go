package upkeep

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// Loader makes metadata anew. *metadata.Rebuilder is one.
type Loader interface {
	AddDisk(metadata.Disk) error
	AddVolume(metadata.Volume) error
	AddStripe(metadata.FoundStripe) (metadata.CommitResult, error)
	Replay([]metadata.Change) error
	EndLoader
}

// EndLoader is what comes after the blocks. *metadata.Rebuilder is one.
type EndLoader interface {
	NameLoader
	Seal(holdall.VolumeID) (metadata.Volume, error)
}

// Report is what came of a rebuild.
type Report struct {
	Disks     int
	Volumes   int
	Changes   int // replayed from the journal
	Stripes   int // put back in their order
	Late      int // durable, but younger than the journal: their blocks are live, and listed
	Unordered int // of unknown place in the order: new blocks are in trash, and listed
	Lost      int // committed, but too few of their shards can be read; listed

	Objects     int // versions put back; those purged since are not counted
	LateObjects int // versions that are younger than the journal; listed
	LostObjects int // versions whose root cannot be read; listed
	Held        int // blocks that no one is known to refer to, but someone may: direct now, and listed

	Problems []string
}

// Listed is one thing that a rebuild could not put where it was for certain: a
// stripe, a block or, if it has a bucket, a version of a key.
type Listed struct {
	Kind      string              `json:"kind"` // "late", "unordered", "lost", "held"
	Volume    holdall.VolumeID    `json:"volume,omitempty"`
	Stripe    uint64              `json:"stripe,omitempty"`
	Namespace holdall.NamespaceID `json:"namespace,omitempty"`
	Block     *holdall.BlockID    `json:"block,omitempty"` // nil: the whole stripe; of a version, its root
	Bucket    holdall.BucketID    `json:"bucket,omitempty"`
	Key       string              `json:"key,omitempty"`
	Version   holdall.Version     `json:"version,omitempty"` // 0: it was not put back
	Reason    string              `json:"reason"`
}

// rebuild is one Rebuild under way.
type rebuild struct {
	s        *Survey
	to       Loader
	list     func(Listed) error
	progress func(done, total int)
	volumes  map[holdall.VolumeID]*rebuiltVolume
	pending  []metadata.Change
	report   Report
	named    named
	locating sync.Mutex // guards the survey's tables while names are replayed
}

// rebuiltVolume is how far a volume has come.
type rebuiltVolume struct {
	*FoundVolume
	journaled uint64 // the last stripe that the journal lists
	solid     bool   // it lists that one after all that it lacks
	seen      map[uint64]bool
	ended     bool   // the journal says that it was sealed, or freed
	final     uint64 // of an ended volume: its last stripe
}

// Rebuild replays the survey into to: disks, volumes, then stripes and changes
// in the order of the journal, then what is younger than it. Whatever could not
// be put where it was is told to list. The caller finishes the loader, or aborts
// it after an error. progress may be nil.
func (s *Survey) Rebuild(ctx context.Context, to Loader, disks []metadata.Disk, list func(Listed) error, progress func(done, total int)) (Report, error) {
	r := &rebuild{s: s, to: to, list: list, progress: progress, volumes: map[holdall.VolumeID]*rebuiltVolume{}}
	r.report.Problems = s.Problems
	for _, d := range disks {
		if err := to.AddDisk(d); err != nil {
			return r.report, err
		}
		r.report.Disks++
	}
	for _, v := range s.Volumes {
		v.Volume.Last = 0
		if err := to.AddVolume(v.Volume); err != nil {
			return r.report, fmt.Errorf("volume %v: %w", v.ID, err)
		}
		r.volumes[v.ID] = &rebuiltVolume{FoundVolume: v, seen: map[uint64]bool{}}
		r.report.Volumes++
	}
	r.note()
	r.know()
	for _, step := range []func(context.Context) error{r.system, r.journal, r.leftovers, r.names, r.seal} {
		if err := step(ctx); err != nil {
			return r.report, err
		}
	}
	return r.report, nil
}

// note learns from the journal which stripes it lists, and where volumes end.
func (r *rebuild) note() {
	for i := range r.s.changes {
		c := &r.s.changes[i]
		v := r.volumes[c.Volume]
		if v == nil || !ofVolume(c.Kind) {
			continue
		}
		switch c.Kind {
		case metadata.ChangeStripe:
			v.journaled, v.seen[c.Stripe] = max(v.journaled, c.Stripe), true
			v.solid = v.solid || i >= r.s.solid
		case metadata.ChangeSeal, metadata.ChangeFree:
			v.ended, v.final = true, c.Stripe
			v.freed = v.freed || c.Kind == metadata.ChangeFree
		}
	}
	for _, v := range r.volumes {
		if v.sealed && !v.ended {
			v.ended, v.final = true, v.last
		}
	}
}

// system puts back the journal's own volumes, which no journal lists.
func (r *rebuild) system(ctx context.Context) error {
	for _, v := range r.s.Volumes {
		if !v.System {
			continue
		}
		w := r.volumes[v.ID]
		if err := r.run(ctx, w, func(f *loaded) { f.Journaled = true }, nil); err != nil {
			return err
		}
	}
	return nil
}

// loaded is a stripe read from disks, or why it could not be.
type loaded struct {
	metadata.FoundStripe
	v   *rebuiltVolume
	err error
}

// journal replays every change in its order. Stripes are read ahead by several
// goroutines; they are put back one by one.
func (r *rebuild) journal(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	queue := make(chan chan *loaded, surveyWidth)
	wg.Go(func() {
		defer close(queue)
		for i := range r.s.changes {
			c := &r.s.changes[i]
			v := r.volumes[c.Volume]
			if c.Kind != metadata.ChangeStripe || v == nil || v.System {
				continue
			}
			stripes, err := r.s.table(ctx, v.FoundVolume)
			slot := make(chan *loaded, 1)
			select {
			case queue <- slot:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				f := r.load(ctx, v, stripes[c.Stripe], c.Stripe, err)
				f.Journaled, f.Time = true, c.Time
				slot <- f
			})
		}
	})
	for i := range r.s.changes {
		c := &r.s.changes[i]
		if v := r.volumes[c.Volume]; c.Kind == metadata.ChangeStripe && v != nil && !v.System {
			slot, ok := <-queue
			if !ok {
				return context.Cause(ctx)
			}
			if err := r.put(<-slot); err != nil {
				return err
			}
		}
		r.pending = append(r.pending, *c)
		r.step(i, len(r.s.changes))
	}
	r.report.Changes = len(r.s.changes)
	return r.flush()
}

func (r *rebuild) step(done, total int) {
	if r.progress != nil && done%256 == 0 {
		r.progress(done, total)
	}
}

// flush replays what waits, before something that must come after it.
func (r *rebuild) flush() error {
	err := r.to.Replay(r.pending)
	r.pending = r.pending[:0]
	return err
}

// put adds one stripe to the loader.
func (r *rebuild) put(f *loaded) error {
	if f.err != nil && f.v.freed {
		return nil // no row was left in it when it was given up
	}
	if f.err != nil {
		r.report.Lost++
		return r.list(Listed{Kind: "lost", Volume: f.Volume, Stripe: f.Stripe, Reason: f.err.Error()})
	}
	if err := r.flush(); err != nil {
		return err
	}
	if _, err := r.to.AddStripe(f.FoundStripe); err != nil {
		return fmt.Errorf("stripe %d of volume %v: %w", f.Stripe, f.Volume, err)
	}
	r.report.Stripes++
	r.notice(f)
	return nil
}

// leftovers puts back the stripes that the journal does not list. Those after
// the last it lists of a volume are younger than its last flush: they come last,
// and are live. Those before it have no known place, nor have those after it if
// a part of the journal that was lost may have listed them: what they alone hold
// comes back as trash, or is held if an object may refer to it.
func (r *rebuild) leftovers(ctx context.Context) error {
	for _, v := range r.s.Volumes {
		w := r.volumes[v.ID]
		if v.System || v.freed {
			continue
		}
		lost := r.s.torn || r.s.gaps && !w.solid
		unordered := func(number uint64) bool { return number <= w.journaled || lost }
		err := r.run(ctx, w, func(f *loaded) { f.Trashed = unordered(f.Stripe) }, func(f *loaded) error {
			kind, reason := "late", "younger than the last journal block"
			if f.Trashed {
				kind, reason = "unordered", "not listed by the journal, which lists later ones or has lost a part: its new blocks are in trash, those of objects are held"
				r.report.Unordered++
			} else {
				r.report.Late++
			}
			r.report.Stripes--
			for i := range f.Blocks {
				if err := r.list(Listed{Kind: kind, Volume: v.ID, Stripe: f.Stripe, Block: &f.Blocks[i].ID, Reason: reason}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// run puts back the stripes of v that the journal does not list, in order, after
// set has completed each. A stripe that cannot be read ends an open volume's: it
// was being written when the cell died, and so were any after it.
func (r *rebuild) run(ctx context.Context, v *rebuiltVolume, set func(*loaded), then func(*loaded) error) error {
	stripes, err := r.s.table(ctx, v.FoundVolume)
	if err != nil {
		r.report.Problems = append(r.report.Problems, fmt.Sprintf("volume %v: %v", v.ID, err))
		return ctx.Err()
	}
	next := uint64(1)
	for _, number := range sortedNumbers(stripes) {
		if v.seen[number] || v.ended && number > v.final {
			next = max(next, number+1)
			continue
		}
		if !v.ended && number > v.journaled && number != next {
			break // committed stripes have no gaps: this one was never committed
		}
		next = number + 1
		f := r.load(ctx, v, stripes[number], number, nil)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if f.err != nil && !v.ended && number > v.journaled {
			if v.partial {
				r.report.Problems = append(r.report.Problems, fmt.Sprintf("volume %v: stripe %d, and any after it, cannot be read without the missing disks and will be given up: they may have been acknowledged since the last journal block", v.ID, number))
			}
			break
		}
		set(f)
		if err := r.put(f); err != nil {
			return err
		}
		if f.err == nil && then != nil {
			if err := then(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// load reads the directories of a stripe's packs and makes of them what its
// commit was.
func (r *rebuild) load(ctx context.Context, v *rebuiltVolume, s *holdall.Stripe, number uint64, err error) *loaded {
	f := &loaded{v: v}
	f.Volume, f.Stripe = v.ID, number
	if err == nil && s == nil {
		err = fmt.Errorf("no member that can be read lists it: %w", holdall.ErrUnavailable)
	}
	if err != nil {
		f.err = err
		return f
	}
	f.Epoch, f.Ends = s.Epoch, make([]int64, len(s.Shards))
	reader, err := r.s.reader(v.FoundVolume, s)
	if err != nil {
		f.err = err
		return f
	}
	for shard, p := range s.Shards {
		m := holdall.ShardMember(number, shard, len(s.Shards))
		if end := p.Offset + holdall.RecordSize(p.Length); p.Length > 0 && end <= v.ends[m] {
			f.Ends[m] = end
		}
		f.ShardBytes += holdall.RecordSize(p.Length)
		if shard >= v.Scheme.K() || p.Length == 0 {
			continue
		}
		f.PackBytes += int64(p.Length)
		entries, err := reader.directory(ctx, shard)
		if err != nil {
			f.err = fmt.Errorf("shard %d: %w", shard, err)
			return f
		}
		for i := range entries {
			f.Blocks = append(f.Blocks, putBlock(&entries[i], m, p.Offset))
		}
	}
	return f
}

func putBlock(e *volume.BlockEntry, member int, record int64) metadata.PutBlock {
	return metadata.PutBlock{
		Namespace: e.Namespace, ID: e.ID, Member: uint8(member), Offset: record + holdall.RecordHeaderSize + int64(e.Offset), Length: e.Length,
		Pending: e.Flags&volume.BlockPending != 0,
	}
}

// seal ends the volumes that are still open: nothing may be appended after what
// a dead cell left behind. Those whose extents are in trash are freed again, as
// far as no row names them.
func (r *rebuild) seal(ctx context.Context) error {
	for _, v := range r.s.Volumes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := r.to.Seal(v.ID); err != nil {
			return err
		}
		if !v.freed {
			continue
		}
		free := metadata.Change{Kind: metadata.ChangeFree, Volume: v.ID, Epoch: v.Epoch, Stripe: r.volumes[v.ID].final}
		if err := r.to.Replay([]metadata.Change{free}); err != nil {
			return err
		}
	}
	return nil
}
