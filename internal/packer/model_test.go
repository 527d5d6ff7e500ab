package packer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

// model is a gateway under a closed load, in virtual time: each of a number of
// clients sends a block, waits until its stripe is written, and sends the next.
// Clients share the network, some getting up to three times what others do;
// stripes share the disks, and a few may be written at once.
type model struct {
	clients int
	size    func(*rand.Rand) int
	scheme  holdall.Scheme
	network float64       // bytes a second
	disks   float64       // bytes a second, all of them together
	latency time.Duration // of a stripe's write, besides its bytes
	volumes int           // stripes in flight at most

	now     time.Time
	rnd     *rand.Rand
	packer  *Packer[int] // of clients
	sending map[int]float64
	share   []float64 // each client's part of the network, against the others'
	bytes   []int     // what each client sends, or has waiting
	arrived []time.Time
	writing []write
	timer   time.Time // zero = none
	result  result
}

type write struct {
	clients []int
	left    float64 // bytes, latency included
}

// result is what a run measures.
type result struct {
	user, stored int64
	blocks       int
	rate         float64       // bytes put a second
	waited       time.Duration // from arrival to cut, sum
	longest      time.Duration
	packs        [holdall.MaxMembers + 1]int // stripes by the number of their packs
}

func (r *result) overhead() float64 { return float64(r.stored) / float64(r.user) }

func (r *result) String() string {
	return fmt.Sprintf("%.2f GB/s bytes %.3f, waits %v on average and %v at most, stripes by packs %v",
		r.rate/1e9, r.overhead(), (r.waited / time.Duration(max(1, r.blocks))).Round(10*time.Microsecond), r.longest.Round(time.Millisecond), r.packs[1:7])
}

// run lets the model store blocks until count of them were cut.
func (m *model) run(count int) result {
	m.now, m.rnd, m.packer = start, rand.New(rand.NewPCG(1, 2)), New[int](m.scheme)
	m.sending, m.bytes, m.arrived = map[int]float64{}, make([]int, m.clients), make([]time.Time, m.clients)
	m.share = make([]float64, m.clients)
	for c := range m.clients {
		m.send(c)
	}
	for m.result.blocks < count {
		m.step()
		m.cut()
	}
	m.result.rate = float64(m.result.user) / m.now.Sub(start).Seconds()
	return m.result
}

func (m *model) send(client int) {
	m.bytes[client] = m.size(m.rnd)
	m.share[client] = 0.5 + m.rnd.Float64()
	m.sending[client] = float64(m.bytes[client])
}

// step moves time on to the next event: a block is in, a stripe is written, or
// the timer rings.
func (m *model) step() {
	shares := 0.0
	for c := range m.clients {
		if _, ok := m.sending[c]; ok {
			shares += m.share[c]
		}
	}
	perShare := m.network / max(shares, 0.001)
	perWrite := m.disks / float64(max(1, len(m.writing)))
	next := math.Inf(1)
	for c, left := range m.sending {
		next = min(next, left/(perShare*m.share[c]))
	}
	for _, w := range m.writing {
		next = min(next, w.left/perWrite)
	}
	if !m.timer.IsZero() {
		next = min(next, m.timer.Sub(m.now).Seconds())
	}
	next = math.Ceil(next*1e9) / 1e9
	m.now = m.now.Add(time.Duration(next * 1e9))
	for c := range m.clients { // in order, so that the run is the same each time
		left, ok := m.sending[c]
		if !ok {
			continue
		}
		if m.sending[c] = left - perShare*m.share[c]*next; m.sending[c] < 0.5 {
			delete(m.sending, c)
			m.arrived[c] = m.now
			m.packer.Add(m.now, c, m.bytes[c])
		}
	}
	for i := range m.writing {
		m.writing[i].left -= perWrite * next
	}
	m.writing = slices.DeleteFunc(m.writing, func(w write) bool {
		if w.left >= 0.5 {
			return false
		}
		for _, c := range w.clients {
			m.send(c)
		}
		return true
	})
}

// beingWritten counts the puts whose stripes are being written.
func (m *model) beingWritten() (n int) {
	for _, w := range m.writing {
		n += len(w.clients)
	}
	return n
}

// cut does what the gateway does.
func (m *model) cut() {
	m.timer = time.Time{}
	for len(m.writing) < m.volumes {
		wait, some := m.packer.Wait(m.now, len(m.sending), m.beingWritten())
		if !some {
			return
		}
		if wait > 0 {
			m.timer = m.now.Add(wait)
			return
		}
		m.write(m.packer.Cut())
	}
}

func (m *model) write(packs []Pack[int]) {
	var w write
	var height, stored int64
	for _, p := range packs {
		record := holdall.RecordSize(uint32(p.Bytes + len(p.Items)*directoryEntry))
		height, stored = max(height, record), stored+record
		m.result.user += int64(p.Bytes)
		for _, c := range p.Items {
			waited := m.now.Sub(m.arrived[c])
			m.result.waited += waited
			m.result.longest = max(m.result.longest, waited)
			m.result.blocks++
		}
		w.clients = append(w.clients, p.Items...)
	}
	stored += int64(m.scheme.M()) * height
	m.result.stored += stored
	m.result.packs[len(packs)]++
	w.left = float64(stored) + m.latency.Seconds()*m.disks
	m.writing = append(m.writing, w)
}

func fixed(n int) func(*rand.Rand) int { return func(*rand.Rand) int { return n } }

func lognormal(median int, sigma float64) func(*rand.Rand) int {
	return func(r *rand.Rand) int {
		return max(1, min(holdall.MaxBlockSize, int(float64(median)*math.Exp(sigma*r.NormFloat64()))))
	}
}

// TestOverheadOfPacking runs the loads of ARCHITECTURE.md and logs what packing
// them costs. The bounds are those of the product, bytes on disk for a byte put;
// the run is the same each time.
func TestOverheadOfPacking(t *testing.T) {
	for _, c := range []struct {
		name    string
		size    func(*rand.Rand) int
		clients int
		most    float64
	}{
		{"4 MiB, 1 in flight", fixed(4 << 20), 1, 4.01},
		{"4 MiB, 2 in flight", fixed(4 << 20), 2, 2.60},
		{"4 MiB, 8 in flight", fixed(4 << 20), 8, 1.55},
		{"4 MiB, 16 in flight", fixed(4 << 20), 16, 1.55},
		{"4 MiB, 32 in flight", fixed(4 << 20), 32, 1.55},
		{"4 MiB, 64 in flight", fixed(4 << 20), 64, 1.55},
		{"lognormal 1 MiB, 16 in flight", lognormal(1<<20, 1), 16, 1.65},
		{"lognormal 1 MiB, 32 in flight", lognormal(1<<20, 1), 32, 1.65},
		{"lognormal 1 MiB, 64 in flight", lognormal(1<<20, 1), 64, 1.65},
		{"lognormal 64 KiB, 32 in flight", lognormal(64<<10, 1.5), 32, 1.95},
		{"64 KiB, 32 in flight", fixed(64 << 10), 32, 1.65},
		{"4 KiB, 64 in flight", fixed(4 << 10), 64, 1.85},
	} {
		for _, rate := range []float64{0.5e9, 1e9, 4e9} {
			for _, volumes := range []int{2, 4} {
				m := &model{clients: c.clients, size: c.size, scheme: rs63, network: rate,
					disks: 1.8e9, latency: 2 * time.Millisecond, volumes: volumes}
				r := m.run(4000)
				t.Logf("%s, %.1f GB/s in, %d volumes: %v", c.name, rate/1e9, volumes, &r)
				if r.overhead() > c.most {
					t.Errorf("%s, %.1f GB/s in, %d volumes: %.3f bytes a byte, want at most %.2f", c.name, rate/1e9, volumes, r.overhead(), c.most)
				}
				if c.clients <= volumes && r.longest > MaxWait { // it never waits for a volume
					t.Errorf("%s: a block waited %v", c.name, r.longest)
				}
				if c.clients == 1 && r.longest > 0 {
					t.Errorf("%s: a block waited %v, and nothing else was in flight", c.name, r.longest)
				}
			}
		}
	}
}
