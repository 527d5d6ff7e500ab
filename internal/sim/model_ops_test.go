package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// sample returns up to n different blocks of the model, by id.
func (m *model) sample(n int) (blocks []*block, ids []holdall.BlockID) {
	for range n {
		if b := m.some(); b != nil && !slices.Contains(blocks, b) {
			blocks, ids = append(blocks, b), append(ids, b.id)
		}
	}
	return blocks, ids
}

func (m *model) remove() {
	blocks, ids := m.sample(1 + m.r.IntN(3))
	gone, err := m.c.Gateway.Delete(m.ctx, holdall.DefaultNamespace, ids)
	if err != nil {
		m.fatal("delete", err)
		return
	}
	for _, b := range blocks {
		m.known("delete", b, !slices.Contains(gone, b.id))
		if b.state == live {
			b.state = trashed
		}
	}
}

// known compares whether a change found a block's row.
func (m *model) known(op string, b *block, found bool) {
	switch {
	case b.state == unsure:
		b.state = absent
		if found {
			b.state = live
		}
	case found != (b.state == live || b.state == trashed):
		m.fatal(op, fmt.Errorf("block %v has a row: %t, and is %d in the model", b.id, found, b.state))
	}
}

func (m *model) undelete() {
	blocks, ids := m.sample(2)
	gone, err := m.c.Gateway.Undelete(m.ctx, holdall.DefaultNamespace, ids)
	if err != nil {
		m.fatal("undelete", err)
		return
	}
	for _, b := range blocks {
		m.known("undelete", b, !slices.Contains(gone, b.id))
		if b.state == trashed {
			b.state = live
		}
	}
}

// claim secures blocks without sending them. What it names must be sent, and
// nothing that is not stored may be secured.
func (m *model) claim() {
	blocks, ids := m.sample(4)
	missing, err := m.c.Gateway.Missing(m.ctx, holdall.DefaultNamespace, ids)
	if err != nil {
		m.fatal("missing", err)
		return
	}
	for _, b := range blocks {
		if b.state != unsure && b.state != live && !slices.Contains(missing, b.id) {
			m.fatal("missing", fmt.Errorf("block %v is %d in the model, and need not be sent", b.id, b.state))
		}
	}
	gone, err := m.c.Gateway.Claim(m.ctx, holdall.DefaultNamespace, ids)
	if err != nil {
		m.fatal("claim", err)
		return
	}
	for _, b := range blocks {
		switch claimed := !slices.Contains(gone, b.id); {
		case claimed && b.state == absent:
			m.fatal("claim", fmt.Errorf("block %v is not there, and was claimed", b.id))
		case claimed:
			b.state = live
		case b.state != absent && b.state != unsure && len(m.lost)+len(m.extra) == 0 && m.healthy():
			m.fatal("claim", fmt.Errorf("block %v is there, no disk is missing, and it was not claimed", b.id))
		}
	}
}

// healthy says that every disk takes writes.
func (m *model) healthy() bool {
	rows, err := m.c.Store.Disks()
	all := m.c.Server.Status()
	return err == nil && len(all) == 9 &&
		!slices.ContainsFunc(all, func(s volume.DiskStatus) bool { return s.State != holdall.DiskActive || s.Gone }) &&
		!slices.ContainsFunc(rows, func(d metadata.Disk) bool { return d.State != holdall.DiskActive })
}

// purge has retention end, and upkeep do what is due then: trash is purged, dead
// volumes are freed.
func (m *model) purge() {
	if m.r.IntN(3) == 0 {
		if err := m.c.Upkeep.Flush(m.ctx); err != nil && !m.mayFail(err) {
			m.fatal("flush of the journal", err)
		}
		return
	}
	m.c.Advance(Retention + time.Minute)
	m.note("purge")
	for range 2 { // the second frees what the first found dead
		if err := m.c.Upkeep.Round(m.ctx); err != nil {
			m.note("upkeep: %v", err) // of disks that are away
		}
	}
	for _, b := range m.blocks {
		if b.state == trashed {
			b.state = absent
		}
	}
}

func (m *model) seal() {
	if _, err := m.c.Gateway.SealVolumes(m.ctx, nil); err != nil {
		m.fatal("seal", err)
	}
}

// rot damages a sector of a weak disk: of records, footers, zone headers, and now
// and then of the superblock.
func (m *model) rot() {
	i := m.weak[m.r.IntN(len(m.weak))]
	dev := m.c.Array.Disk(i)
	zone := 2 + m.r.IntN(12)
	if m.r.IntN(20) == 0 {
		zone = m.r.IntN(2)
	}
	end, _ := dev.WritePointer(zone)
	if end == 0 {
		return
	}
	off := m.r.Int64N(end)
	m.note("rot disk %d zone %d at %d", i, zone, off)
	switch m.r.IntN(3) {
	case 0:
		dev.Unreadable(zone, off/volume.SectorSize*volume.SectorSize)
	case 1:
		dev.Poke(zone, off/volume.SectorSize*volume.SectorSize, make([]byte, volume.SectorSize))
	default:
		dev.Rot(zone, off, m.r.IntN(8))
	}
}

func (m *model) loseDisk() {
	i := m.weak[m.r.IntN(len(m.weak))]
	m.note("lose disk %d", i)
	m.c.Array.Disk(i).Unplug()
	m.lost[i] = true
}

func (m *model) returnDisk() {
	for i := range m.lost {
		m.back(i)
		return
	}
}

// loseTooMany takes away one disk more than the scheme bears, or gives it back.
func (m *model) loseTooMany() {
	for i := range m.extra {
		m.back(i)
		return
	}
	if m.seed%8 != 0 {
		return
	}
	i := m.r.IntN(9)
	if !slices.Contains(m.weak, i) {
		m.note("lose disk %d too", i)
		m.c.Array.Disk(i).Unplug()
		m.extra[i] = true
	}
}

// back gives a disk back, and readmits it if its superblock lets it.
func (m *model) back(i int) {
	m.note("disk %d is back", i)
	delete(m.lost, i)
	m.c.Array.Disk(i).Plug()
	err := m.c.Readmit(i)
	if errors.Is(err, holdall.ErrDiskFailed) { // it was away at a start
		if err = m.c.Replug(i); err == nil {
			err = m.c.Readmit(i)
		}
	}
	if err != nil {
		m.note("disk %d is not readmitted: %v", i, err)
		if m.extra[i] {
			m.fatal("readmit", err)
		}
	}
	delete(m.extra, i)
}

// again ends the process in some way, and starts the next one.
func (m *model) again(how string, restart func() error) {
	m.note("%s", how)
	if err := restart(); err != nil {
		m.fatal(how, err)
		return
	}
	for _, away := range []map[int]bool{m.lost, m.extra} {
		for i := range away {
			delete(away, i) // its plug is the process's: the next one finds it
		}
	}
}

func (m *model) crash() error {
	how, err := m.c.Crash(m.r)
	m.note("%v", how)
	return err
}
