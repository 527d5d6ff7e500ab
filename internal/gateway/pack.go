package gateway

import (
	"sync/atomic"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

// maxTries bounds how often one block is put elsewhere because the copy that
// its row names is not safe.
const maxTries = 3

// item is a block on its way into a stripe. It owns one reference to buf.
type item struct {
	flight  *flight
	size    int
	buf     *buffer.Buffer
	data    []byte           // the block, in buf
	fresh   bool             // buf holds nothing else, with data where a record's payload begins
	replace holdall.Location // compare-and-swap the row from here; zero = no row
	tries   int
}

// finish ends the item's flight and gives its memory back.
func (it *item) finish(g *Gateway, err error) {
	it.buf.Release()
	it.buf, it.data = nil, nil
	g.flights.end(it.flight, err)
}

func finishAll(g *Gateway, packs []*pack, err error) {
	for _, p := range packs {
		for _, it := range p.items {
			it.finish(g, err)
		}
		p.release(g)
	}
}

// pack is the payload of one data shard, inside its record.
type pack struct {
	items  []*item
	bytes  int
	record *buffer.Buffer // nil until build; header sector, payload, padding
	length uint32         // of the payload, directory included
	places []uint32       // offset of each item in the payload
	writes *atomic.Int32  // appends of this very record that have not returned
	beyond int64          // bytes that the record holds beyond what its blocks were admitted with
}

// repack makes a pack of each item: rare, and then few.
func repack(items []*item) []*pack {
	var packs []*pack
	for _, it := range items {
		packs = append(packs, &pack{items: []*item{it}, bytes: it.size})
	}
	return packs
}

// build lays the pack's blocks end to end in a record buffer, directory last.
// The buffer of a lone block becomes the record as it is. A record that a late
// append may still be reading is left alone, and copied.
func (p *pack) build(g *Gateway) {
	if p.record != nil && p.writes.Load() == 0 {
		return
	}
	old := p.record
	entries := make([]volume.BlockEntry, len(p.items))
	p.places = make([]uint32, len(p.items))
	at := 0
	for i, it := range p.items {
		key := it.flight.key
		p.places[i] = uint32(at)
		entries[i] = volume.BlockEntry{ID: key.id, Namespace: key.ns, Offset: uint32(at), Length: uint32(it.size)}
		if it.replace != (holdall.Location{}) {
			entries[i].Flags = volume.BlockCopy
		}
		if it.flight.pending {
			entries[i].Flags |= volume.BlockPending
		}
		at += it.size
	}
	p.length = uint32(at + volume.DirectorySize(len(entries)))
	whole := int(holdall.RecordSize(p.length))
	if lone := p.items[0]; old == nil && len(p.items) == 1 && lone.fresh && whole <= lone.buf.Cap() {
		p.record = lone.buf.Ref()
		p.record.Resize(whole)
		lone.data = p.record.Bytes()[holdall.RecordHeaderSize:][:lone.size]
	} else {
		p.record = g.pool.Take(whole)
		p.adopt()
		p.count(g)
	}
	mem := p.record.Bytes()[holdall.RecordHeaderSize:]
	volume.AppendDirectory(mem[:at:at+volume.DirectorySize(len(entries))], entries)
	clear(mem[p.length:])
	p.writes = new(atomic.Int32)
	if old != nil {
		old.Release()
	}
}

// adopt copies the blocks into the record and lets go of where they were.
func (p *pack) adopt() {
	mem := p.record.Bytes()[holdall.RecordHeaderSize:]
	for i, it := range p.items {
		data := mem[p.places[i]:][:it.size]
		copy(data, it.data)
		it.buf.Release()
		it.buf, it.data, it.fresh = p.record.Ref(), data, false
	}
}

// count makes the record count against the memory for puts as far as its blocks'
// admissions do not cover it: a record may take a buffer of the next class up.
func (p *pack) count(g *Gateway) {
	beyond := int64(p.record.Cap())
	for _, it := range p.items {
		beyond -= receiveCost(it.size)
	}
	g.receive.hold(max(0, beyond) - p.beyond)
	p.beyond = max(0, beyond)
}

// payload returns the pack's bytes as they are coded.
func (p *pack) payload() []byte { return p.record.Bytes()[holdall.RecordHeaderSize:][:p.length] }

func (p *pack) release(g *Gateway) {
	g.receive.hold(-p.beyond)
	p.beyond = 0
	if p.record != nil {
		p.record.Release()
		p.record = nil
	}
}
