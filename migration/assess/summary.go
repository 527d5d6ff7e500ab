package assess

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/catalogue"
)

// Amount is a number of objects and their bytes.
type Amount struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (a *Amount) add(size int64) {
	a.Objects++
	a.Bytes += size
}

// Bin is an amount under a name.
type Bin struct {
	Name string `json:"name"`
	Amount
}

// ClassBin is what a storage class holds, old versions included.
type ClassBin struct {
	Bin
	Billed int64 `json:"billed_bytes"` // with the class's smallest billed size
	Priced bool  `json:"priced"`       // the price sheet has the class
}

// OddBin is what a kind of odd keys holds.
type OddBin struct {
	Name    string `json:"name"`
	Trap    bool   `json:"trap"`
	Meaning string `json:"meaning"`
	Objects int64  `json:"objects"`
	Example string `json:"example"`
}

// Summary is all that a catalogue adds up to.
type Summary struct {
	Bucket     string    `json:"bucket"`
	Prefix     string    `json:"prefix"`
	Endpoint   string    `json:"endpoint"`
	From       string    `json:"from"` // listing, or inventory
	Versioning string    `json:"versioning"`
	UploadsSay string    `json:"uploads_listed"` // listed, or why not
	Began      time.Time `json:"began"`
	Finished   time.Time `json:"finished"`

	Current  Amount `json:"current"`
	Old      Amount `json:"old_versions"`
	Markers  int64  `json:"delete_markers"`
	Uploads  Amount `json:"unfinished_uploads"`
	Empty    int64  `json:"empty_objects"`
	Inline   Amount `json:"inline"` // up to 64 KiB: they lie in their manifests
	InParts  int64  `json:"multipart_etags"`
	Archived Amount `json:"archived"`
	Largest  int64  `json:"largest_bytes"`
	Mean     int64  `json:"mean_bytes"`
	Median   int64  `json:"median_bytes"` // to within the bin of a factor of two
	TrapKeys int64  `json:"trap_keys"`

	Sizes    []Bin      `json:"sizes"`
	Ages     []Bin      `json:"ages"`
	Classes  []ClassBin `json:"classes"`
	Prefixes []Bin      `json:"prefixes"` // the largest first directories
	OtherPre Bin        `json:"other_prefixes"`
	Odd      []OddBin   `json:"odd_keys"`

	Footprint Footprint `json:"footprint"`
	Cost      Cost      `json:"cost"`
	Times     []Time    `json:"times"`
}

// topPrefixes is how many directories a report lists by name.
const topPrefixes = 25

// ageBins are the bounds of ages.
var ageBins = []struct {
	name string
	days float64
}{{"under a week", 7}, {"under a month", 30}, {"under 3 months", 91}, {"under a year", 365}, {"1 to 2 years", 730}, {"2 to 5 years", 1826}, {"over 5 years", 1e9}}

// tally adds up a catalogue in one pass over its keys in order: what it holds does
// not grow with the bucket.
type tally struct {
	s       *Summary
	prices  *Prices
	now     time.Time
	sizes   [65]Amount // by bits of the size
	ages    [7]Amount
	classes map[string]*ClassBin
	odd     []OddBin
	kinds   []catalogue.OddKind
	blocks  blockCount

	run   Bin // the directory that the keys are in now
	bare  Bin // keys without a directory
	other Bin
}

// Summarize adds a catalogue up and prices it.
func Summarize(ctx context.Context, c *catalogue.Catalogue, p *Prices, bandwidth int64, now time.Time) (*Summary, error) {
	s := &Summary{}
	if err := s.facts(ctx, c); err != nil {
		return nil, err
	}
	t := &tally{s: s, prices: p, now: now, classes: map[string]*ClassBin{}, kinds: catalogue.OddKinds(), bare: Bin{Name: "(no directory)"}, other: Bin{Name: "(others)"}}
	for _, k := range t.kinds {
		t.odd = append(t.odd, OddBin{Name: k.Name, Trap: k.Trap, Meaning: k.Meaning})
	}
	if err := c.Scan(ctx, t.add); err != nil {
		return nil, err
	}
	if err := c.Uploads(ctx, func(u catalogue.Upload) error { s.Uploads.add(u.Size); return nil }); err != nil {
		return nil, err
	}
	t.finish()
	s.Footprint = t.blocks.footprint(p.Holdall.Scheme, p.Holdall.Fill)
	s.Cost = p.cost(s)
	s.Times = p.times(s, bandwidth)
	return s, nil
}

func (s *Summary) facts(ctx context.Context, c *catalogue.Catalogue) error {
	var began, finished string
	for name, into := range map[string]*string{
		catalogue.FactBucket: &s.Bucket, catalogue.FactPrefix: &s.Prefix, catalogue.FactEndpoint: &s.Endpoint, catalogue.FactSource: &s.From,
		catalogue.FactVersioning: &s.Versioning, catalogue.FactUploads: &s.UploadsSay, catalogue.FactBegan: &began, catalogue.FactFinished: &finished,
	} {
		value, err := c.Fact(ctx, name)
		if err != nil {
			return err
		}
		*into = value
	}
	s.Began, _ = time.Parse(time.RFC3339, began) // absent = zero
	s.Finished, _ = time.Parse(time.RFC3339, finished)
	return nil
}

// add takes one version in.
func (t *tally) add(o *catalogue.Object, odd int) error {
	if o.Marker {
		t.s.Markers++
		return nil
	}
	t.class(o)
	if !o.Latest {
		t.s.Old.add(o.Size)
		return nil
	}
	t.s.Current.add(o.Size)
	t.s.Largest = max(t.s.Largest, o.Size)
	t.sizes[bits.Len64(uint64(o.Size))].add(o.Size)
	t.blocks.add(o.Size, len(o.Key))
	if o.Size == 0 {
		t.s.Empty++
	}
	if o.Size <= holdall.MaxInline {
		t.s.Inline.add(o.Size)
	}
	if strings.IndexByte(o.ETag, '-') >= 0 {
		t.s.InParts++
	}
	if o.Class == "GLACIER" || o.Class == "DEEP_ARCHIVE" {
		t.s.Archived.add(o.Size)
	}
	days := t.now.Sub(o.Modified).Hours() / 24
	for i := range ageBins {
		if days < ageBins[i].days {
			t.ages[i].add(o.Size)
			break
		}
	}
	t.oddities(o.Key, odd)
	t.prefix(o)
	return nil
}

// class counts what is billed.
func (t *tally) class(o *catalogue.Object) {
	b := t.classes[o.Class]
	if b == nil {
		b = &ClassBin{Bin: Bin{Name: o.Class}}
		_, b.Priced = t.prices.class(o.Class)
		t.classes[o.Class] = b
	}
	b.add(o.Size)
	c, _ := t.prices.class(o.Class)
	b.Billed += max(o.Size, c.MinBytes) + c.OverheadBytes
}

func (t *tally) oddities(key string, odd int) {
	if odd == 0 {
		return
	}
	trap := false
	for i := range t.odd {
		if odd&t.kinds[i].Bit == 0 {
			continue
		}
		if t.odd[i].Objects++; t.odd[i].Example == "" {
			t.odd[i].Example = key
		}
		trap = trap || t.odd[i].Trap
	}
	if trap {
		t.s.TrapKeys++
	}
}

// prefix counts by first directory. Keys come in order, so a directory's keys come
// together, and only the largest are kept.
func (t *tally) prefix(o *catalogue.Object) {
	dir, _, found := strings.Cut(o.Key, "/")
	if !found {
		t.bare.add(o.Size)
		return
	}
	if dir += "/"; dir != t.run.Name {
		t.rank(t.run)
		t.run = Bin{Name: strings.Clone(dir)}
	}
	t.run.add(o.Size)
}

// rank puts a directory among the largest, and what falls out with the others.
func (t *tally) rank(b Bin) {
	if b.Objects == 0 {
		return
	}
	top := t.s.Prefixes
	at, _ := slices.BinarySearchFunc(top, b, func(a, b Bin) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Objects, a.Objects), cmp.Compare(a.Name, b.Name))
	})
	top = slices.Insert(top, at, b)
	if len(top) > topPrefixes {
		last := top[topPrefixes]
		t.other.Objects, t.other.Bytes = t.other.Objects+last.Objects, t.other.Bytes+last.Bytes
		top = top[:topPrefixes]
	}
	t.s.Prefixes = top
}

func (t *tally) finish() {
	t.rank(t.run)
	t.rank(t.bare)
	t.s.OtherPre = t.other
	if t.s.Current.Objects > 0 {
		t.s.Mean = t.s.Current.Bytes / t.s.Current.Objects
	}
	for i, a := range t.ages {
		t.s.Ages = append(t.s.Ages, Bin{ageBins[i].name, a})
	}
	for _, o := range t.odd {
		if o.Objects > 0 {
			t.s.Odd = append(t.s.Odd, o)
		}
	}
	for _, c := range t.classes {
		t.s.Classes = append(t.s.Classes, *c)
	}
	slices.SortFunc(t.s.Classes, func(a, b ClassBin) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	})
	below := int64(0)
	for n, a := range t.sizes {
		if below < (t.s.Current.Objects+1)/2 && below+a.Objects >= (t.s.Current.Objects+1)/2 && n > 0 {
			t.s.Median = 1 << (n - 1)
		}
		below += a.Objects
	}
	t.sizeBins()
}

// sizeBins folds the counts by bit into bins of a factor of four.
func (t *tally) sizeBins() {
	t.s.Sizes = append(t.s.Sizes, Bin{"empty", t.sizes[0]})
	first, last := 1, 0
	for n, a := range t.sizes {
		if a.Objects > 0 {
			last = n
		}
	}
	for n := first; n <= last; n += 2 {
		upTo := min(n+1, len(t.sizes)-1)
		b := Bin{Name: "under " + Bytes(1<<upTo)}
		for i := n; i <= upTo; i++ {
			b.Objects, b.Bytes = b.Objects+t.sizes[i].Objects, b.Bytes+t.sizes[i].Bytes
		}
		t.s.Sizes = append(t.s.Sizes, b)
	}
}
