package source

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/pace"
)

// Entry is one version of one object, as a listing tells it. In a bucket without
// versions Version is "" and Latest is set.
type Entry struct {
	Key      string
	Version  string
	Size     int64
	ETag     string // without quotes
	Modified time.Time
	Class    string // of storage; "" = STANDARD
	Latest   bool
	Marker   bool // a delete marker: no bytes
}

// Position is a place between two entries of a listing: after this version of
// this key, or after all of the key's versions if Version is "". The zero Position
// is the beginning.
type Position struct {
	Key     string
	Version string
}

// ListRequest is what one page is asked with.
type ListRequest struct {
	Prefix    string // added to by the source's own
	Delimiter string // "" or "/": what lies below a common prefix is folded into it
	After     Position
	Most      int  // entries; 0 = 1,000, the most that S3 gives
	Versions  bool // every version and delete marker, not only what is current
}

// Page is a page of a listing.
type Page struct {
	Entries  []Entry
	Prefixes []string // common prefixes
	Next     Position // where the next page begins
	More     bool

	repeated bool // the page gave the key again that it was to begin after
}

// List returns one page. A page that is not in order, that begins before After or
// that lacks what it counts is not believed: it is asked for again.
func (s *Source) List(ctx context.Context, r ListRequest) (p Page, err error) {
	if r.Most == 0 {
		r.Most = holdall.MaxListPage
	}
	if r.Prefix == "" {
		r.Prefix = s.cfg.Prefix
	}
	c := call{op: "ListObjectsV2", key: r.After.Key, class: pace.List}
	list := s.objects
	if r.Versions {
		c.op, list = "ListObjectVersions", s.versions
	}
	err = s.do(ctx, c, func(ctx context.Context) (err error) {
		if p, err = list(ctx, c, r); err != nil {
			return err
		}
		return s.believe(c, r, p)
	})
	return p, err
}

func (s *Source) objects(ctx context.Context, c call, r ListRequest) (p Page, err error) {
	in := &s3.ListObjectsV2Input{Bucket: &s.cfg.Bucket, Prefix: some(r.Prefix), Delimiter: some(r.Delimiter), StartAfter: some(r.After.Key), MaxKeys: aws.Int32(int32(r.Most)), EncodingType: types.EncodingTypeUrl}
	out, err := s.s3.ListObjectsV2(ctx, in)
	if err != nil {
		return p, err
	}
	if n := int(aws.ToInt32(out.KeyCount)); out.KeyCount != nil && n != len(out.Contents)+len(out.CommonPrefixes) {
		return p, s.broken(c, "the page has %d entries and says %d", len(out.Contents)+len(out.CommonPrefixes), n)
	}
	d := decoder{encoded: out.EncodingType == types.EncodingTypeUrl}
	if err := s.echoed(c, &d, out.StartAfter, r.After.Key); err != nil {
		return p, err
	}
	p.Entries = make([]Entry, 0, len(out.Contents))
	for _, o := range out.Contents {
		p.Entries = append(p.Entries, Entry{Key: d.text(o.Key), Size: aws.ToInt64(o.Size), ETag: bare(o.ETag), Modified: aws.ToTime(o.LastModified), Class: string(o.StorageClass), Latest: true})
	}
	for _, c := range out.CommonPrefixes {
		p.Prefixes = append(p.Prefixes, d.text(c.Prefix))
	}
	p.More = aws.ToBool(out.IsTruncated)
	if n := len(p.Entries); n > 0 {
		p.Next.Key = p.Entries[n-1].Key
	}
	if n := len(p.Prefixes); n > 0 {
		// The next page begins after everything below the last common prefix.
		p.Next.Key = max(p.Next.Key, p.Prefixes[n-1]+string(rune(0x10ffff)))
	}
	return p, d.failed(s, c)
}

func (s *Source) versions(ctx context.Context, c call, r ListRequest) (p Page, err error) {
	in := &s3.ListObjectVersionsInput{Bucket: &s.cfg.Bucket, Prefix: some(r.Prefix), Delimiter: some(r.Delimiter), KeyMarker: some(r.After.Key), VersionIdMarker: some(r.After.Version), MaxKeys: aws.Int32(int32(r.Most)), EncodingType: types.EncodingTypeUrl}
	out, err := s.s3.ListObjectVersions(ctx, in)
	if err != nil {
		return p, err
	}
	d := decoder{encoded: out.EncodingType == types.EncodingTypeUrl}
	if err := s.echoed(c, &d, out.KeyMarker, r.After.Key); err != nil {
		return p, err
	}
	p.Entries = make([]Entry, 0, len(out.Versions)+len(out.DeleteMarkers))
	for _, o := range out.Versions {
		p.Entries = append(p.Entries, Entry{d.text(o.Key), aws.ToString(o.VersionId), aws.ToInt64(o.Size), bare(o.ETag), aws.ToTime(o.LastModified), string(o.StorageClass), aws.ToBool(o.IsLatest), false})
	}
	for _, o := range out.DeleteMarkers {
		p.Entries = append(p.Entries, Entry{Key: d.text(o.Key), Version: aws.ToString(o.VersionId), Modified: aws.ToTime(o.LastModified), Latest: aws.ToBool(o.IsLatest), Marker: true})
	}
	// The library gives versions and markers in two lists, each in order.
	slices.SortStableFunc(p.Entries, func(a, b Entry) int {
		if a.Key != b.Key {
			return compareKeys(a.Key, b.Key)
		}
		return b.Modified.Compare(a.Modified)
	})
	if r.After.Version == "" { // some servers give the key of the marker again
		n := len(p.Entries)
		p.Entries = slices.DeleteFunc(p.Entries, func(e Entry) bool { return e.Key == r.After.Key })
		p.repeated = len(p.Entries) < n
	}
	for _, c := range out.CommonPrefixes {
		p.Prefixes = append(p.Prefixes, d.text(c.Prefix))
	}
	p.More = aws.ToBool(out.IsTruncated)
	p.Next = Position{d.text(out.NextKeyMarker), aws.ToString(out.NextVersionIdMarker)}
	if n := len(p.Entries); !p.More && n > 0 {
		p.Next = Position{Key: p.Entries[n-1].Key}
	}
	return p, d.failed(s, c)
}

// echoed refuses a page that says itself that it begins elsewhere: a page of
// another request has keys in order too, and believing it would leave out what
// lies between.
//
// Servers repeat what was asked; one that did so once is held to it.
func (s *Source) echoed(c call, d *decoder, said *string, asked string) error {
	if said == nil && (asked == "" || !s.echoes.Load()) {
		return nil
	}
	if begin := aws.ToString(said); begin != asked && d.text(said) != asked {
		return s.broken(c, "the page begins after %.200q, asked for was %.200q", begin, asked)
	}
	if asked != "" {
		s.echoes.Store(true)
	}
	return nil
}

// believe refuses a page that cannot be what was asked for.
func (s *Source) believe(c call, r ListRequest, p Page) error {
	last := r.After.Key
	for i := range p.Entries {
		key := p.Entries[i].Key
		again := key == last && r.Versions && (i > 0 || r.After.Version != "")
		if key <= last && !again && !(i == 0 && last == "") {
			return s.broken(c, "the page is not in order: %.200q comes after %.200q", key, last)
		}
		last = key
	}
	if !slices.IsSorted(p.Prefixes) || r.Delimiter == "" && len(p.Prefixes) > 0 {
		return s.broken(c, "the page has common prefixes out of order, or that were not asked for")
	}
	if p.More && len(p.Entries)+len(p.Prefixes) == 0 && !p.repeated {
		return s.broken(c, "the page is empty and says that there is more")
	}
	if p.More && (p.Next == r.After || p.Next.Key < last) {
		return s.broken(c, "the next page is said to begin at %.200q, before this one ends", p.Next.Key)
	}
	return nil
}

// decoder undoes the URL encoding of keys, without which XML cannot carry all of
// them. Servers that do not know it send keys as they are.
type decoder struct {
	encoded bool
	bad     string
}

func (d *decoder) text(s *string) string {
	raw := aws.ToString(s)
	if !d.encoded {
		return raw
	}
	key, err := url.QueryUnescape(raw)
	if err != nil {
		d.bad = raw
	}
	return key
}

func (d *decoder) failed(s *Source, c call) error {
	if d.bad != "" {
		return s.broken(c, "the key %.200q is not URL-encoded, though the page says so", d.bad)
	}
	return nil
}

// some is s, or nil for "".
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// bare is an ETag without its quotes.
func bare(etag *string) string {
	s := aws.ToString(etag)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func compareKeys(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}
