package fsck

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdall/holdall"
)

// What follows shows single structures, for people who want to see the bytes'
// meaning. It reads by the same second reading as Check, and may be used while a
// server runs: it then sees a moment.

// DiskView is what the superblock log of a disk says.
type DiskView struct {
	Path        string         `json:"path"`
	Cell        holdall.CellID `json:"cell"`
	Disk        holdall.DiskID `json:"disk"`
	ZoneSize    int64          `json:"zone_size"`
	Incarnation uint64         `json:"incarnation"`
	State       string         `json:"state"`
	Reason      string         `json:"reason"`
	Extents     []ExtentView   `json:"extents"`
	Problems    []string       `json:"problems"`
}

// ExtentView is an extent as the superblock log describes it.
type ExtentView struct {
	Volume  holdall.VolumeID `json:"volume"`
	Member  int              `json:"member"`
	Created string           `json:"created"` // epoch
	Epoch   string           `json:"epoch"`
	Scheme  string           `json:"scheme"`
	Limit   int64            `json:"limit"`
	State   string           `json:"state"` // open, sealed, trashed
	End     int64            `json:"end"`   // sealed: where records end
	Last    uint64           `json:"last"`  // sealed: the volume's last stripe
	Footer  int64            `json:"footer"`
	Zones   []int            `json:"zones"`
	Records []RecordView     `json:"records,omitempty"`
}

// ZoneView is a zone: its header, and the superblock's word on it.
type ZoneView struct {
	Zone       int         `json:"zone"`
	Generation uint32      `json:"generation"`
	Place      int         `json:"place"` // in its extent; -1: of none
	Extent     *ExtentView `json:"extent"`
	Problem    string      `json:"problem"` // of the header sector
}

// RecordView is one record.
type RecordView struct {
	Offset  int64       `json:"offset"`
	Zone    int         `json:"zone"`
	Stripe  uint64      `json:"stripe"`
	Epoch   string      `json:"epoch"`
	Shard   int         `json:"shard"`
	Kind    string      `json:"kind"` // data, parity
	Length  uint32      `json:"length"`
	Shards  []PlaceView `json:"shards"`
	Blocks  []BlockView `json:"blocks"`
	Problem string      `json:"problem"`
}

// PlaceView is where a shard of the record's stripe lies.
type PlaceView struct {
	Shard  int    `json:"shard"`
	Member int    `json:"member"`
	Offset int64  `json:"offset"`
	Length uint32 `json:"length"` // 0: absent
}

// BlockView is one line of a pack's directory.
type BlockView struct {
	ID        holdall.BlockID     `json:"id"`
	Namespace holdall.NamespaceID `json:"namespace"`
	Offset    uint32              `json:"offset"`
	Length    uint32              `json:"length"`
	HashOK    bool                `json:"hash_ok"`
}

// View is a disk that is open to be looked at. Close it.
type View struct {
	d        *disk
	problems []string
}

// Open opens the disk at path to be looked at. Errors wrap ErrNotFound (nothing,
// or no disk, is there).
func Open(path string) (*View, error) {
	m, err := openMedium(path)
	if err != nil {
		return nil, fmt.Errorf("disk %s: %v: %w", path, err, holdall.ErrNotFound)
	}
	d, findings := readSuper(m)
	v := &View{d: d}
	for _, f := range findings {
		v.problems = append(v.problems, f.Detail)
	}
	if d == nil {
		return nil, errors.Join(fmt.Errorf("disk %s: %v: %w", path, v.problems, holdall.ErrNotFound), m.close())
	}
	return v, nil
}

// Close closes the disk.
func (v *View) Close() error { return v.d.medium.close() }

// Disk shows the superblock log.
func (v *View) Disk() DiskView {
	d := v.d
	out := DiskView{
		Path: d.medium.path, Cell: d.cell, Disk: d.id, ZoneSize: d.medium.zone, Incarnation: d.incarnation,
		State: holdall.DiskState(d.state).String(), Reason: d.reason, Extents: []ExtentView{}, Problems: append([]string{}, v.problems...),
	}
	for _, e := range v.sorted() {
		out.Extents = append(out.Extents, viewExtent(e))
	}
	return out
}

func (v *View) sorted() []*extent {
	list := make([]*extent, 0, len(v.d.extents))
	for _, e := range v.d.extents {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *extent) int {
		if a.id.Volume != b.id.Volume {
			return int(min(max(int64(a.id.Volume)-int64(b.id.Volume), -1), 1))
		}
		return int(a.id.Member) - int(b.id.Member)
	})
	return list
}

func viewExtent(e *extent) ExtentView {
	state := "open"
	if e.sealed {
		state = "sealed"
	}
	if e.trashed {
		state = "trashed"
	}
	return ExtentView{
		Volume: e.id.Volume, Member: int(e.id.Member), Created: e.id.Created.String(), Epoch: e.epoch.String(), Scheme: e.scheme.String(), Limit: e.limit,
		State: state, End: e.end, Last: e.last, Footer: e.footer, Zones: append([]int{}, e.zones...),
	}
}

// Zone shows one zone.
func (v *View) Zone(zone int) (ZoneView, error) {
	out := ZoneView{Zone: zone, Generation: v.d.gens[zone], Place: -1}
	for _, e := range v.d.extents {
		place := slices.Index(e.zones, zone)
		if place < 0 {
			continue
		}
		x := viewExtent(e)
		out.Extent, out.Place = &x, place
		buf := v.d.medium.pool.Take(sector)
		defer buf.Release()
		err := v.d.medium.read(zone, 0, buf.Bytes())
		if err == nil {
			err = checkZone(buf.Bytes(), v.d, e, place)
		}
		if err != nil {
			out.Problem = err.Error()
		}
	}
	return out, nil
}

// find returns the extent of a volume; a disk has one, unless a member came back
// to it, and then the latest counts.
func (v *View) find(id holdall.VolumeID) (*extent, error) {
	var found *extent
	for _, e := range v.d.extents {
		if e.id.Volume == id && (found == nil || e.id.Created > found.id.Created) {
			found = e
		}
	}
	if found == nil {
		return nil, fmt.Errorf("disk %v has no extent of volume %v: %w", v.d.id, id, holdall.ErrNotFound)
	}
	return found, nil
}

// Extent shows an extent with its records, without their blocks.
func (v *View) Extent(id holdall.VolumeID) (ExtentView, error) {
	e, err := v.find(id)
	if err != nil {
		return ExtentView{}, err
	}
	out := viewExtent(e)
	end := v.d.capacity(e)
	if e.sealed {
		end = e.end
	}
	for off := int64(0); off < end; {
		r, size := v.record(e, off, false)
		if size == 0 {
			if !e.sealed {
				break // an open extent ends where no header follows
			}
			out.Records = append(out.Records, r)
			break
		}
		out.Records = append(out.Records, r)
		off += size
	}
	return out, nil
}

// Record shows one record with the blocks it holds, all of it checked.
func (v *View) Record(id holdall.VolumeID, off int64) (RecordView, error) {
	e, err := v.find(id)
	if err != nil {
		return RecordView{}, err
	}
	if off < 0 || off%sector != 0 {
		return RecordView{}, fmt.Errorf("record at %d: records begin at multiples of %d: %w", off, sector, holdall.ErrInvalid)
	}
	r, _ := v.record(e, off, true)
	return r, nil
}

// record reads the record at off of e, with its payload if whole is set. A size
// of 0 says that there is no header.
func (v *View) record(e *extent, off int64, whole bool) (RecordView, int64) {
	out := RecordView{Offset: off, Zone: v.d.zoneOf(e, off), Blocks: []BlockView{}}
	head := v.d.medium.pool.Take(sector)
	defer head.Release()
	err := v.d.read(e, off, head.Bytes())
	var r *record
	if err == nil {
		r, err = parseRecord(head.Bytes(), v.d, e, off)
	}
	if err != nil {
		out.Problem = err.Error()
		return out, 0
	}
	out.Stripe, out.Epoch, out.Shard, out.Length, out.Kind = r.stripe.Number, r.stripe.Epoch.String(), r.shard, r.length, "data"
	if r.shard >= e.scheme.K() {
		out.Kind = "parity"
	}
	for i, p := range r.stripe.Shards {
		out.Shards = append(out.Shards, PlaceView{i, holdall.ShardMember(r.stripe.Number, i, len(r.stripe.Shards)), p.Offset, p.Length})
	}
	size := holdall.RecordSize(r.length)
	if !whole {
		return out, size
	}
	buf := v.d.medium.pool.Take(int(size))
	defer buf.Release()
	if err := v.d.read(e, off, buf.Bytes()); err != nil {
		out.Problem = err.Error()
		return out, size
	}
	payload := buf.Bytes()[sector : sector+int(r.length)]
	if err := r.checkPayload(payload, buf.Bytes()[sector+int(r.length):]); err != nil {
		out.Problem = err.Error()
	}
	if out.Kind == "data" {
		lines, err := parsePack(payload)
		if err != nil {
			out.Problem = err.Error()
		}
		for _, l := range lines {
			ok := holdall.HashBlock(payload[l.offset:l.offset+l.length]) == l.id
			out.Blocks = append(out.Blocks, BlockView{l.id, l.namespace, l.offset, l.length, ok})
		}
	}
	return out, size
}
