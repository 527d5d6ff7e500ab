package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

const gib = 1 << 30

func id(n int) (d holdall.DiskID) {
	binary.BigEndian.PutUint64(d[:], uint64(n))
	return d
}

// disksOn returns n disks, with label(i) the label of disk i.
func disksOn(n int, label func(i int) string) []Disk {
	d := make([]Disk, n)
	for i := range d {
		d[i] = Disk{ID: id(i), State: holdall.DiskActive, Free: 100 * gib}
		if label != nil {
			d[i].Domain = label(i)
		}
	}
	return d
}

func scheme(t testing.TB, name string) holdall.Scheme {
	t.Helper()
	s, err := holdall.ParseScheme(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func pick(t *testing.T, r Request) Choice {
	t.Helper()
	c, err := Pick(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// perDomain returns how many members each domain holds.
func perDomain(r Request, c Choice) map[string]int {
	held := map[string]int{}
	for _, d := range r.Disks {
		if slices.Contains(c.Disks, d.ID) {
			name, _ := r.Level.of(d)
			held[name]++
		}
	}
	return held
}

func TestTheWidestSchemeThatFits(t *testing.T) {
	for _, c := range []struct {
		scheme string
		disks  int
		failed int
		want   string
	}{
		{"rs-6-3", 9, 0, "rs-6-3"}, {"rs-6-3", 12, 0, "rs-6-3"},
		{"rs-6-3", 9, 1, "rs-5-3"}, {"rs-6-3", 9, 2, "rs-4-3"}, {"rs-6-3", 9, 3, "rs-3-3"}, {"rs-6-3", 9, 5, "rs-1-3"},
		{"lrc-12-2-2", 16, 0, "lrc-12-2-2"}, {"lrc-12-2-2", 16, 1, "rs-12-3"}, {"lrc-12-2-2", 16, 2, "rs-11-3"},
		{"rep-3", 3, 0, "rep-3"}, {"rep-3", 4, 1, "rep-3"},
	} {
		r := Request{Scheme: scheme(t, c.scheme), Disks: disksOn(c.disks, nil)}
		for i := range c.failed {
			r.Disks[i].State, r.Disks[i].Reason = holdall.DiskFailed, "sync failed"
		}
		got := pick(t, r)
		if got.Scheme.String() != c.want || len(got.Disks) != got.Scheme.N() || len(got.Refused) != c.failed {
			t.Errorf("%s with %d of %d disks gone: %v on %d, %d refused, want %s", c.scheme, c.failed, c.disks, got.Scheme, len(got.Disks), len(got.Refused), c.want)
		}
		for d, n := range perDomain(r, got) {
			if n > 1 {
				t.Errorf("%s: disk %s has %d members", c.scheme, d, n)
			}
		}
	}
}

func TestTooFewDisks(t *testing.T) {
	fail := func(d []Disk) { d[0].State, d[0].Reason = holdall.DiskFailed, "sync failed" }
	fill := func(d []Disk) { d[0].Free = 1 }
	noZone := func(d []Disk) { d[0].MaxOpen, d[0].OpenZones = 8, 4 }
	for _, c := range []struct {
		name   string
		scheme string
		disks  int
		change func([]Disk)
		kind   error
		text   string
	}{
		{"one failed", "rep-3", 3, fail, holdall.ErrUnavailable, "failed: sync failed"},
		{"one full", "rep-3", 3, fill, holdall.ErrExhausted, "full: 1 bytes free"},
		{"no zone", "rep-3", 3, noZone, holdall.ErrExhausted, "no open zone left: 4 of 8 open, 4 are reserved"},
		{"too few in all", "rs-6-3", 3, func([]Disk) {}, holdall.ErrRefused, "room for 3 members of at least 4"},
		{"none", "rs-6-3", 0, func([]Disk) {}, holdall.ErrRefused, "room for 0"},
	} {
		r := Request{Scheme: scheme(t, c.scheme), Disks: disksOn(c.disks, nil), Need: gib}
		c.change(r.Disks)
		got, err := Pick(r)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || got.Disks != nil {
			t.Errorf("%s: %v, %v; want %v and %q", c.name, got.Disks, err, c.kind, c.text)
		}
	}
}

func TestEveryRefusalHasItsReason(t *testing.T) {
	r := Request{Scheme: scheme(t, "rs-2-1"), Level: DomainHost, Need: gib, Disks: disksOn(10, func(i int) string { return fmt.Sprint("host", i) })}
	r.Disks[1].State = holdall.DiskDraining
	r.Disks[2].State, r.Disks[2].Reason = holdall.DiskFailed, "write: input/output error"
	r.Disks[3].State = holdall.DiskRemoved
	r.Disks[4].Free = gib - 1
	r.Disks[5].MaxOpen, r.Disks[5].OpenZones = 10, 6
	r.Disks[6].Domain = ""
	r.Disks[7].Reason = "on probation"
	want := []string{
		1: "draining", 2: "failed: write: input/output error", 4: "full: 1073741823 bytes free, needs 1073741824",
		5: "no open zone left: 6 of 10 open, 4 are reserved", 6: `its label "" names no host`, 7: "on probation",
	}
	n := 0
	for _, f := range pick(t, r).Refused {
		i := int(binary.BigEndian.Uint64(f.Disk[:]))
		if f.Reason != want[i] {
			t.Errorf("disk %d: %q, want %q", i, f.Reason, want[i])
		}
		n++
	}
	if n != 6 {
		t.Errorf("%d refusals, want 6", n)
	}
}

func TestDomainsAreShared(t *testing.T) {
	hosts := func(n int) func(int) string {
		return func(i int) string { return fmt.Sprintf("rack%d/host%d", i%n%2, i%n) }
	}
	for _, c := range []struct {
		name  string
		level Level
		disks []Disk
		want  []int // members per domain, sorted; nil = refused
	}{
		{"nine hosts", DomainHost, disksOn(18, hosts(9)), []int{1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"four hosts", DomainHost, disksOn(24, hosts(4)), []int{2, 2, 2, 3}},
		{"three hosts", DomainHost, disksOn(12, hosts(3)), []int{3, 3, 3}},
		{"two hosts", DomainHost, disksOn(24, hosts(2)), nil},
		{"two racks", DomainRack, disksOn(24, hosts(8)), nil},
		{"no region", DomainRegion, disksOn(24, hosts(8)), nil},
		{"two hosts, by disk", DomainDisk, disksOn(24, hosts(2)), []int{1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"three racks", DomainRack, disksOn(36, func(i int) string { return fmt.Sprintf("r%d/h%d", i%3, i/3%4) }), []int{3, 3, 3}},
	} {
		for seed := range uint64(20) {
			r := Request{Scheme: holdall.DefaultScheme, Level: c.level, Disks: c.disks, Seed: seed}
			got, err := Pick(r)
			if c.want == nil {
				if !errors.Is(err, holdall.ErrRefused) {
					t.Fatalf("%s: %v, %v, want it refused", c.name, got, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			var held []int
			for _, n := range perDomain(r, got) {
				held = append(held, n)
			}
			if slices.Sort(held); !slices.Equal(held, c.want) {
				t.Fatalf("%s: domains hold %v members, want %v", c.name, held, c.want)
			}
		}
	}
}

// Within a rack that must hold several members, hosts are not shared either.
func TestInnerDomainsAreSpreadToo(t *testing.T) {
	r := Request{Scheme: holdall.DefaultScheme, Level: DomainRack, Disks: disksOn(36, func(i int) string { return fmt.Sprintf("r%d/h%d", i%3, i/3%4) })}
	for r.Seed = range 50 {
		c := pick(t, r)
		for host, n := range perDomain(Request{Level: DomainHost, Disks: r.Disks}, c) {
			if n > 1 {
				t.Fatalf("host %s has %d members though its rack has four hosts", host, n)
			}
		}
	}
}

// A host that is down makes volumes narrower only as far as the share of each
// other host demands.
func TestHostDown(t *testing.T) {
	for _, c := range []struct {
		hosts int
		want  string
	}{{9, "rs-5-3"}, {4, "rs-6-3"}, {3, "rs-3-3"}} {
		r := Request{Scheme: holdall.DefaultScheme, Level: DomainHost, Disks: disksOn(36, func(i int) string { return fmt.Sprint("host", i%c.hosts) })}
		for i := range r.Disks {
			if r.Disks[i].Domain == "host0" {
				r.Disks[i].State = holdall.DiskFailed
			}
		}
		got := pick(t, r)
		for host, n := range perDomain(r, got) {
			if n > got.Scheme.Tolerance() {
				t.Errorf("%d hosts: %s has %d members", c.hosts, host, n)
			}
		}
		if got.Scheme.String() != c.want {
			t.Errorf("one of %d hosts down: %v, want %s", c.hosts, got.Scheme, c.want)
		}
	}
}

func TestSameSeedSameChoice(t *testing.T) {
	r := Request{Scheme: holdall.DefaultScheme, Disks: disksOn(60, nil), Seed: 7}
	first := pick(t, r)
	slices.Reverse(r.Disks)
	if again := pick(t, r); !slices.Equal(first.Disks, again.Disks) {
		t.Errorf("in another order of disks: %v, want %v", again.Disks, first.Disks)
	}
	r.Seed = 8
	if other := pick(t, r); slices.Equal(first.Disks, other.Disks) {
		t.Error("another seed gives the same choice")
	}
}

// A disk with three times the free space takes about three times the members.
func TestFreeSpaceWeighs(t *testing.T) {
	r := Request{Scheme: scheme(t, "rs-2-1"), Disks: disksOn(60, nil)}
	for i := range 30 {
		r.Disks[i].Free *= 3
	}
	var large, small float64
	for r.Seed = range 3000 {
		for _, d := range pick(t, r).Disks {
			if binary.BigEndian.Uint64(d[:]) < 30 {
				large++
			} else {
				small++
			}
		}
	}
	if ratio := large / small; ratio < 2.6 || ratio > 3.4 {
		t.Errorf("disks with three times the space take %.2f times the members", ratio)
	}
}

// Disks share volumes with about Scatter others, however many volumes there are;
// a disk that comes later is used too.
func TestScatterIsBounded(t *testing.T) {
	r := Request{Scheme: holdall.DefaultScheme, Disks: disksOn(90, nil), Scatter: 24}
	for i := range r.Disks {
		r.Disks[i].Free = 600 * gib
	}
	mates := map[holdall.DiskID]map[holdall.DiskID]bool{}
	used := map[holdall.DiskID]int{}
	place := func() {
		c := pick(t, r)
		r.Volumes = append(r.Volumes, c.Disks)
		r.Seed++
		for _, a := range c.Disks {
			used[a]++
			for i := range r.Disks {
				if r.Disks[i].ID == a {
					r.Disks[i].Free -= 4 * gib
				}
			}
			for _, b := range c.Disks {
				if mates[a] == nil {
					mates[a] = map[holdall.DiskID]bool{}
				}
				mates[a][b] = mates[a][b] || a != b
			}
		}
	}
	for range 900 {
		place()
	}
	pairs := 0
	for _, m := range mates {
		pairs += len(m) - 1
	}
	if mean := float64(pairs) / 90; mean > 24 {
		t.Errorf("a disk shares volumes with %.1f others on average, want at most 24 (unbounded it would be 89)", mean)
	}
	for i := range 90 {
		if n := used[id(i)]; n < 40 || n > 140 {
			t.Errorf("disk %d has %d members, the mean is 90", i, n)
		}
	}
	r.Disks = append(r.Disks, Disk{ID: id(1000), State: holdall.DiskActive, Free: 100 * gib})
	for range 300 {
		place()
	}
	if n := used[id(1000)]; n < 5 {
		t.Errorf("a new disk has %d members of 300 new volumes", n)
	}
}

// Whatever is asked, a choice keeps the rules or the error says which kind of
// change would help.
func TestRandomRequests(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	names := []string{"rs-6-3", "rs-2-1", "rs-10-4", "lrc-12-2-2", "lrc-4-2-1", "rep-2", "rep-4"}
	for range 2000 {
		hosts, racks := 1+rnd.IntN(20), 1+rnd.IntN(6)
		r := Request{Scheme: scheme(t, names[rnd.IntN(len(names))]), Level: Level(rnd.IntN(3)), Need: 10 * gib, Seed: rnd.Uint64(),
			Disks: disksOn(rnd.IntN(40), func(i int) string { return fmt.Sprintf("rack%d/host%d", i%hosts%racks, i%hosts) })}
		for i := range r.Disks {
			d := &r.Disks[i]
			d.State = []holdall.DiskState{1, 1, 1, 1, 1, 1, 2, 3, 4}[rnd.IntN(9)]
			d.Free = rnd.Int64N(100 * gib)
			d.MaxOpen, d.OpenZones = 128, rnd.IntN(140)
		}
		c, err := Pick(r)
		if err != nil {
			if !errors.Is(err, holdall.ErrExhausted) && !errors.Is(err, holdall.ErrUnavailable) && !errors.Is(err, holdall.ErrRefused) {
				t.Fatal(err)
			}
			continue
		}
		checkChoice(t, r, c)
		r.Volumes = append(r.Volumes, c.Disks)
	}
}

func checkChoice(t *testing.T, r Request, c Choice) {
	t.Helper()
	if len(c.Disks) != c.Scheme.N() || c.Scheme.Tolerance() != r.Scheme.Tolerance() {
		t.Fatalf("asked for %v: %v on %d disks", r.Scheme, c.Scheme, len(c.Disks))
	}
	seen := map[holdall.DiskID]bool{}
	for _, d := range r.Disks {
		if !slices.Contains(c.Disks, d.ID) {
			continue
		}
		if d.State != holdall.DiskActive || d.Free < r.Need || d.OpenZones+1 > d.MaxOpen-ReservedZones {
			t.Fatalf("disk %+v is used", d)
		}
		seen[d.ID] = true
	}
	if len(seen) != len(c.Disks) {
		t.Fatalf("members %v are not %d different disks", c.Disks, len(c.Disks))
	}
	for name, n := range perDomain(r, c) {
		if n > 1 && n > c.Scheme.Tolerance() {
			t.Fatalf("%v: %s has %d members", c.Scheme, name, n)
		}
	}
}

func TestBadRequests(t *testing.T) {
	good := func() Request { return Request{Scheme: holdall.DefaultScheme, Disks: disksOn(9, nil)} }
	for name, spoil := range map[string]func(*Request){
		"zero scheme":      func(r *Request) { r.Scheme = holdall.Scheme{} },
		"unknown level":    func(r *Request) { r.Level = 9 },
		"negative scatter": func(r *Request) { r.Scatter = -1 },
		"negative need":    func(r *Request) { r.Need = -1 },
		"a disk twice":     func(r *Request) { r.Disks[1] = r.Disks[0] },
	} {
		r := good()
		spoil(&r)
		if _, err := Pick(r); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLevelsParse(t *testing.T) {
	for l := DomainDisk; l <= DomainRegion; l++ {
		if got, err := ParseLevel(l.String()); err != nil || got != l {
			t.Errorf("%v parses to %v, %v", l, got, err)
		}
	}
	if _, err := ParseLevel("Host"); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("Host parses: %v", err)
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{9, 100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := Request{Scheme: holdall.DefaultScheme, Disks: disksOn(n, nil)}
			for b.Loop() {
				if _, err := Pick(r); err != nil {
					b.Fatal(err)
				}
				r.Seed++
			}
		})
	}
}
