package worker

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/pace"
	"github.com/holdall/holdall/migration/source"
)

// result is what became of one key.
type result uint8

const (
	resultSame   result = iota // the cell has it already
	resultTaken                // a client's version or delete marker is there
	resultGone                 // the source has it no more
	resultCopied               // it was copied
	resultFault                // it was not, or not whole: quarantine says why
)

// copied is what a copy came to.
type copied struct {
	result result
	size   int64
	fault  string // of resultFault, and of a copy that lost something
}

// copier copies keys of one bucket from the source to the cell.
type copier struct {
	cfg   Config
	place place
	src   Source

	// settle goes with each commit: of a repair, which holds the key's intent.
	settle metadata.Settlement

	// tellsTags is set once the source has said of an object how many tags it has:
	// from then on one without that number has none.
	tellsTags *atomic.Bool
}

const (
	copyTries = 6        // of one object, whose source or row changes under the copy, or whose bytes come wrong
	largeSize = 64 << 20 // bytes: larger objects go part by part, so that a copy that ends goes on there
)

// errAgain is a copy that has to begin anew: something changed meanwhile.
var errAgain = errors.New("changed meanwhile")

// one copies what the source holds under a key, if the cell's row allows it. Its
// error is of the cell or of a source that does not answer, never of the object.
func (c *copier) one(ctx context.Context, key string) (out copied, err error) {
	var seen string
	backoff := pace.Backoff{}
	for try := 1; ; try++ {
		out, err = c.attempt(ctx, key, &seen)
		switch {
		case err == nil || ctx.Err() != nil || spent(err):
			return out, err
		case errors.Is(err, errAgain) || errors.Is(err, holdall.ErrCondition) || errors.Is(err, errWrong) || errors.Is(err, holdall.ErrUnavailable) || errors.Is(err, holdall.ErrExhausted):
		case errors.Is(err, source.ErrDenied) || errors.Is(err, source.ErrArchived) || errors.Is(err, holdall.ErrInvalid) || errors.Is(err, holdall.ErrCorrupt):
			return copied{result: resultFault, fault: err.Error()}, nil
		default:
			return out, err
		}
		if try == copyTries {
			if errors.Is(err, errWrong) || errors.Is(err, errAgain) || errors.Is(err, holdall.ErrCondition) {
				return copied{result: resultFault, fault: err.Error()}, nil
			}
			return out, err
		}
		if err := c.cfg.Sleep(ctx, backoff.Delay(try, c.cfg.Chance())); err != nil {
			return out, err
		}
	}
}

// row returns the newest row of a key, nil = there is none.
func (c *copier) row(ctx context.Context, key string) (*metadata.Object, error) {
	o, err := c.cfg.Names.Object(ctx, c.place.Bucket, key)
	if errors.Is(err, metadata.ErrNoBucket) {
		return nil, fmt.Errorf("worker: the bucket is gone: %w", err)
	}
	if errors.Is(err, holdall.ErrNotFound) {
		return nil, nil
	}
	return &o, err
}

// attempt reads the row first: what changes it after that refuses the commit.
func (c *copier) attempt(ctx context.Context, key string, seen *string) (copied, error) {
	row, err := c.row(ctx, key)
	if err != nil {
		return copied{}, err
	}
	info, err := c.src.Head(ctx, key, "", "")
	if errors.Is(err, holdall.ErrNotFound) {
		return copied{result: resultGone}, nil
	}
	if err != nil {
		return copied{}, err
	}
	switch judge(&source.Entry{Key: key, Size: info.Size, ETag: info.ETag, Modified: info.Modified}, row) {
	case taken:
		return copied{result: resultTaken}, nil
	case same:
		return copied{result: resultSame}, nil
	}
	if busy, err := c.busy(key); err != nil || busy {
		return copied{result: resultTaken}, err
	}
	_, lost, err := c.bring(ctx, &info, bringing{cond: only(row), origin: metadata.OriginBackfill, seen: seen})
	if err != nil {
		return copied{}, err
	}
	return copied{result: resultCopied, size: info.Size, fault: lost}, nil
}

// busy says whether a key is being written, or waits to be repaired: then that
// makes both sides equal, and nothing about it is news.
func (c *copier) busy(key string) (bool, error) { return busy(c.cfg, c.place.Bucket, key) }

func busy(cfg Config, bucket holdall.BucketID, key string) (bool, error) {
	if _, ok, err := cfg.Intents.Intent(bucket, key); err != nil || ok {
		return ok, err
	}
	_, ok, err := cfg.Outbox.Entry(bucket, key)
	return ok, err
}

// bringing is how an object is brought into the cell.
type bringing struct {
	cond   metadata.Condition
	origin metadata.Origin
	seen   *string // digest that an attempt before this one had of the bytes
}

// bring stores what the source holds, pinned to what info says, with all that the
// cell can keep of it. lost says what it cannot.
func (c *copier) bring(ctx context.Context, info *source.Info, how bringing) (o metadata.Object, lost string, err error) {
	if err := holdall.CheckKey(info.Key); err != nil {
		return o, "", err
	}
	if info.Size > 0 && info.ETag == "" {
		return o, "", fmt.Errorf("worker: the source gives %.80q no ETag: its bytes cannot be pinned: %w", info.Key, holdall.ErrInvalid)
	}
	tags, err := c.tags(ctx, info)
	if err != nil {
		return o, "", err
	}
	parts, err := c.parts(ctx, info)
	if err != nil {
		return o, "", err
	}
	k := keep(info, tags, parts)
	if info.Size > largeSize {
		o, err = c.large(ctx, info, &k, how)
	} else {
		o, err = c.small(ctx, info, &k, how)
	}
	return o, k.loss(), err
}

func (c *copier) tags(ctx context.Context, info *source.Info) ([]source.Tag, error) {
	if info.Tags > 0 {
		c.tellsTags.Store(true)
	} else if c.tellsTags.Load() {
		return nil, nil
	}
	tags, err := c.src.Tags(ctx, info.Key, info.Version)
	if errors.Is(err, holdall.ErrNotFound) {
		return nil, errAgain
	}
	return tags, err
}

func (c *copier) parts(ctx context.Context, info *source.Info) ([]int64, error) {
	n := partsOf(info.ETag)
	teller, ok := c.src.(PartSizes)
	switch {
	case n == 1:
		return []int64{info.Size}, nil
	case n == 0 || !ok:
		return nil, nil
	}
	sizes, err := teller.PartSizes(ctx, info.Key, info.Version, info.ETag)
	if errors.Is(err, holdall.ErrNotFound) {
		return nil, errAgain
	}
	if errors.Is(err, holdall.ErrInvalid) {
		return nil, nil // a server that knows no part numbers
	}
	return sizes, err
}

// small streams an object in one piece.
func (c *copier) small(ctx context.Context, info *source.Info, k *kept, how bringing) (metadata.Object, error) {
	body, err := c.open(ctx, info, 0, info.Size)
	if err != nil {
		return metadata.Object{}, err
	}
	defer body.Close()
	sum := newProof(info.ETag, k)
	r := c.request(info, k, how)
	r.Body, r.Size = io.TeeReader(body, sum), info.Size
	r.Finish = func(f object.Finished) (object.Finished, error) { return f, sum.check(how.seen) }
	return c.cfg.Objects.Put(ctx, r)
}

// request is a put of an object whose body is still to be named.
func (c *copier) request(info *source.Info, k *kept, how bringing) object.PutRequest {
	settled := object.Settled{Settlement: c.settle, Source: facts(info)}
	return object.PutRequest{
		Place: c.place.at(info.Key), Attributes: k.attributes, Tags: k.tags, ETag: info.ETag, Modified: info.Modified, Origin: how.origin, If: how.cond,
		Settle: func(context.Context) (object.Settled, error) { return settled, nil },
	}
}

func facts(info *source.Info) metadata.SourceFacts {
	return metadata.SourceFacts{ETag: info.ETag, Version: info.Version, Modified: info.Modified.UTC().Truncate(time.Millisecond)}
}

// open reads a stretch of an object, pinned.
func (c *copier) open(ctx context.Context, info *source.Info, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	body, err := c.src.Get(ctx, source.GetRequest{Key: info.Key, Version: info.Version, ETag: info.ETag, Offset: offset, Length: length})
	if errors.Is(err, holdall.ErrNotFound) {
		return nil, errAgain
	}
	return body, err
}

// errWrong says that the bytes are not those that the ETag is of.
var errWrong = errors.New("the bytes that came are not those that their ETag is of")

// proof compares bytes with an ETag, where that is the MD5 of them: a flipped bit on
// the way must not be stored.
type proof struct {
	md5  hash.Hash // nil: the ETag says nothing of the bytes
	want string
}

// newProof makes a proof for all bytes of an object.
func newProof(etag string, k *kept) *proof {
	p := &proof{want: etag}
	switch n := partsOf(etag); {
	case n == 0 && len(etag) == 2*md5.Size:
		p.md5 = md5.New()
	case n == 1 || n > 1 && len(k.attributes.PartSizes) > 0:
		p.md5 = newPartsMD5(k)
	}
	return p
}

// Write takes the next bytes.
func (p *proof) Write(b []byte) (int, error) {
	if p.md5 != nil {
		p.md5.Write(b)
	}
	return len(b), nil
}

// check says whether the bytes are right. An ETag that is of no bytes at all, as
// with some ways of encryption, shows in that a second reading comes to the same.
func (p *proof) check(seen *string) error {
	if p.md5 == nil {
		return nil
	}
	got := hex.EncodeToString(p.md5.Sum(nil))
	want, _, _ := strings.Cut(p.want, "-")
	if got == want || seen != nil && got == *seen {
		return nil
	}
	if seen != nil {
		*seen = got
	}
	return errWrong
}

// partsMD5 is the MD5 of the MD5s of an object's parts, as S3 makes ETags of it.
type partsMD5 struct {
	hash.Hash // over the parts' sums
	part      hash.Hash
	sizes     []int64
	left      int64 // of the part under way
}

func newPartsMD5(k *kept) *partsMD5 {
	p := &partsMD5{Hash: md5.New(), part: md5.New()}
	for _, run := range k.attributes.PartSizes {
		for range run.Count {
			p.sizes = append(p.sizes, run.Size)
		}
	}
	p.next()
	return p
}

func (p *partsMD5) next() {
	if len(p.sizes) > 0 {
		p.left, p.sizes = p.sizes[0], p.sizes[1:]
	}
}

// Write takes the next bytes, over the ends of parts.
func (p *partsMD5) Write(b []byte) (int, error) {
	total := len(b)
	for len(b) > 0 {
		if p.left == 0 {
			p.end()
			if p.left == 0 && len(p.sizes) == 0 {
				p.left = int64(len(b)) // more than was told: the sum will say so
			}
			continue
		}
		n := min(int64(len(b)), p.left)
		p.part.Write(b[:n])
		b, p.left = b[n:], p.left-n
	}
	return total, nil
}

func (p *partsMD5) end() {
	p.Hash.Write(p.part.Sum(nil))
	p.part.Reset()
	p.next()
}

// Sum ends the last part.
func (p *partsMD5) Sum(b []byte) []byte {
	p.end()
	return p.Hash.Sum(b)
}
