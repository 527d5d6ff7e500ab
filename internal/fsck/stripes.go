package fsck

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// checkVolume checks one volume: zones, footers, every record of every
// committed stripe, parity, and its row.
func (c *checker) checkVolume(ctx context.Context, id holdall.VolumeID) error {
	v := c.gather(id)
	if v == nil {
		return nil
	}
	c.result.Volumes++
	p, err := c.matrixOf(v.scheme)
	if err != nil {
		return err
	}
	c.learn(v)
	numbers := make([]uint64, 0, len(v.stripes))
	for n := range v.stripes {
		if n <= v.last {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	t := &tally{ends: make([]int64, len(v.members))}
	places := c.places.of(id)
	for i, n := range numbers {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n != uint64(i)+1 && (i == 0 || numbers[i-1] != n-1) {
			c.find(v.about(KindStripe, n-1).say("no member that can be read lists the stripe, or those before it back to %d", prev(numbers, i)+1))
		}
		s := v.stripes[n]
		t.add(c, v, s)
		if err := c.checkStripe(v, p, s, places); err != nil {
			return err
		}
	}
	if v.row != nil && uint64(len(numbers)) < v.last && prev(numbers, len(numbers)) < v.last {
		c.find(v.about(KindStripe, v.last).say("no member that can be read lists the last committed stripes, %d to %d", prev(numbers, len(numbers))+1, v.last))
	}
	for _, m := range v.members {
		c.checkZones(v, m)
		c.checkFooter(v, m)
	}
	c.checkVolumeRow(v, t, uint64(len(numbers)))
	return nil
}

func prev(numbers []uint64, i int) uint64 {
	if i == 0 {
		return 0
	}
	return numbers[i-1]
}

// tally is what the stripes of a volume come to.
type tally struct {
	ends   []int64 // of each member
	packs  int64
	shards int64
}

// add counts a stripe, whose records must follow those before them.
func (t *tally) add(c *checker, v *theVolume, s *holdall.Stripe) {
	c.result.Stripes++
	for i, p := range s.Shards {
		if p.Length == 0 {
			continue
		}
		m := v.members[holdall.ShardMember(s.Number, i, len(s.Shards))]
		if p.Offset != t.ends[m.index] {
			c.find(v.at(m, KindStripe, s.Number, p.Offset).say("the record is said to be at %d, the one before it ends at %d", p.Offset, t.ends[m.index]))
		}
		t.ends[m.index] = p.Offset + holdall.RecordSize(p.Length)
		t.shards += holdall.RecordSize(p.Length)
		if i < s.Scheme.K() {
			t.packs += int64(p.Length)
		}
	}
}

// shard is one shard of a stripe in memory.
type shard struct {
	buf     *buffer.Buffer
	payload []byte // nil: bad or missing
}

// checkStripe reads every shard of a stripe, checks each by itself and all
// against their parity, and matches what the packs list with the block rows.
func (c *checker) checkStripe(v *theVolume, p [][]byte, s *holdall.Stripe, places *volumePlaces) error {
	shards := make([]shard, len(s.Shards))
	defer func() {
		for _, sh := range shards {
			if sh.buf != nil {
				sh.buf.Release()
			}
		}
	}()
	// One goroutine a disk: a medium serves one reader at a time.
	byDisk := map[*disk][]int{}
	for i, p := range s.Shards {
		if p.Length > 0 {
			d := v.members[holdall.ShardMember(s.Number, i, len(s.Shards))].disk
			byDisk[d] = append(byDisk[d], i)
		}
	}
	var wg sync.WaitGroup
	for _, list := range byDisk {
		wg.Go(func() {
			for _, i := range list {
				shards[i] = c.readShard(v, s, i)
			}
		})
	}
	wg.Wait()
	c.checkParity(v, p, s, shards)
	for i := range s.Scheme.K() {
		if s.Shards[i].Length == 0 {
			continue
		}
		payload := shards[i].payload
		if payload == nil {
			payload = rebuild(p, s, shards, i)
		}
		if payload == nil {
			c.find(v.about(KindStripe, s.Number).say("shard %d is bad or missing, and the others do not suffice to rebuild it: its blocks are lost", i))
			places.unknown = true
			continue
		}
		lines, err := parsePack(payload)
		if err != nil {
			continue // told by readShard, if it was read
		}
		if err := c.matchRows(v, s, i, lines, places); err != nil {
			return err
		}
	}
	return nil
}

// readShard reads a record whole and checks it.
func (c *checker) readShard(v *theVolume, s *holdall.Stripe, i int) shard {
	p := s.Shards[i]
	m := v.members[holdall.ShardMember(s.Number, i, len(s.Shards))]
	if m.extent == nil {
		return shard{} // its disk, or its extent, was told once
	}
	buf := c.pool.Take(int(holdall.RecordSize(p.Length)))
	bad := func(kind, format string, args ...any) shard {
		c.find(v.at(m, kind, s.Number, p.Offset).say("shard %d: %s", i, fmt.Sprintf(format, args...)))
		buf.Release()
		return shard{}
	}
	if err := m.disk.read(m.extent, p.Offset, buf.Bytes()); err != nil {
		return bad(KindHeader, "the record cannot be read: %v", err)
	}
	c.read(int64(buf.Len()))
	r, err := parseRecord(buf.Bytes()[:sector], m.disk, m.extent, p.Offset)
	if err != nil {
		return bad(KindHeader, "the header is bad: %v", err)
	}
	if r.stripe.Number != s.Number || r.shard != i || r.length != p.Length {
		return bad(KindHeader, "the record is of shard %d of stripe %d, %d bytes", r.shard, r.stripe.Number, r.length)
	}
	payload := buf.Bytes()[sector : sector+int(p.Length)]
	if err := r.checkPayload(payload, buf.Bytes()[sector+int(p.Length):]); err != nil {
		return bad(KindPayload, "%v", err)
	}
	if i < s.Scheme.K() {
		c.checkPack(v, m, s, i, payload)
	}
	return shard{buf, payload}
}

// checkPack checks a pack's directory and the hash of every block in it.
func (c *checker) checkPack(v *theVolume, m *member, s *holdall.Stripe, i int, payload []byte) {
	lines, err := parsePack(payload)
	if err != nil {
		c.find(v.at(m, KindDirectory, s.Number, s.Shards[i].Offset).say("shard %d: %v", i, err))
		return
	}
	for _, l := range lines {
		if got := holdall.HashBlock(payload[l.offset : l.offset+l.length]); got != l.id {
			f := v.at(m, KindBlock, s.Number, s.Shards[i].Offset).say("shard %d: bytes %d to %d of the pack hash to %v", i, l.offset, l.offset+l.length, got)
			f.Block = l.id.String()
			c.find(f)
		}
	}
}

// checkParity encodes the packs anew and compares. It needs all of them; what
// parities are there are compared.
func (c *checker) checkParity(v *theVolume, p [][]byte, s *holdall.Stripe, shards []shard) {
	k := s.Scheme.K()
	data := make([][]byte, k)
	for i := range k {
		if data[i] = shards[i].payload; data[i] == nil && s.Shards[i].Length > 0 {
			return
		}
	}
	sums := make([]shard, len(p)) // by parity; without a buffer where there is nothing to compare
	var wg sync.WaitGroup
	for i := range p {
		if shards[k+i].payload == nil {
			continue
		}
		buf := c.pool.Take(int(s.Height()))
		defer buf.Release()
		sums[i] = shard{buf, buf.Bytes()}
		wg.Go(func() { weigh(sums[i].payload, p[i], data) })
	}
	wg.Wait()
	for i := range p {
		if have := shards[k+i].payload; have != nil && !bytes.Equal(have, sums[i].payload) {
			m := v.members[holdall.ShardMember(s.Number, k+i, len(s.Shards))]
			c.find(v.at(m, KindParity, s.Number, s.Shards[k+i].Offset).say("shard %d is not the parity of the packs", k+i))
		}
	}
}

// rebuild returns the payload of a pack from the other shards, or nil.
func rebuild(p [][]byte, s *holdall.Stripe, shards []shard, want int) []byte {
	there, payloads := make([]bool, len(shards)), make([][]byte, len(shards))
	for i := range shards {
		payloads[i] = shards[i].payload
		there[i] = s.Shards[i].Length == 0 || payloads[i] != nil // an absent pack is zeros
	}
	by := weights(p, want, there)
	if by == nil {
		return nil
	}
	out := make([]byte, s.Shards[want].Length)
	weigh(out, by, payloads)
	return out
}

// checkFooter compares the footer of a member with the stripes of the volume and
// with the headers of its own records.
func (c *checker) checkFooter(v *theVolume, m *member) {
	f := m.footer
	if f == nil {
		if v.row != nil && v.row.State == holdall.VolumeSealed && v.row.Members[m.index].Footer && m.extent != nil && !m.extent.sealed {
			c.find(v.at(m, KindFooter, 0, v.row.Members[m.index].End).say("metadata says that the footer was written, the superblock knows of none"))
		}
		return
	}
	listed := map[uint64]bool{}
	var running uint32
	for i, s := range f.stripes {
		listed[s.Number] = true
		header, ok := m.headers[s.Number]
		if running = chain(running, header); ok && f.running[i] != running {
			c.find(v.at(m, KindFooter, s.Number, m.extent.footer).say("its running checksum is not that of the records"))
		}
		running = f.running[i]
	}
	for n, s := range v.stripes {
		here := s.Shards[holdall.MemberShard(n, m.index, len(s.Shards))].Length > 0
		if n <= v.last && here && !listed[n] {
			c.find(v.at(m, KindFooter, n, m.extent.footer).say("the footer does not list the stripe"))
		}
	}
	if v.row != nil && (f.last != v.row.Last || v.row.State != holdall.VolumeSealed) {
		c.find(v.at(m, KindFooter, 0, m.extent.footer).say("the footer ends the volume at stripe %d; metadata has %d, and the volume is %v", f.last, v.row.Last, v.row.State))
	}
}

// checkVolumeRow compares a volume's row with what its stripes come to.
func (c *checker) checkVolumeRow(v *theVolume, t *tally, stripes uint64) {
	if v.row == nil || stripes != v.row.Last {
		return // stripes that are missing were told: sums cannot agree
	}
	for i, m := range v.members {
		if end := v.row.Members[i].End; end != t.ends[i] {
			c.find(v.at(m, KindVolume, 0, t.ends[i]).say("its records end at %d, metadata says %d", t.ends[i], end))
		}
	}
	if v.row.Packs != t.packs || v.row.Shards != t.shards {
		c.find(v.about(KindVolume, 0).say("packs have %d bytes and records %d, metadata says %d and %d", t.packs, t.shards, v.row.Packs, v.row.Shards))
	}
}
