package metadata

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// object carries out a command whose result is a version.
func (s *Store) object(ctx context.Context, c command) (objectAnswer, error) {
	var r objectAnswer
	err := s.r.do(ctx, c, &r)
	return r, err
}

// CommitObject is the commit point of an object: its version is the current one
// of its key, or nothing was done. gone are blocks of it that are not there any
// more: then nothing was done, and they have to be put again. A repeat under the
// same Put returns what the first made, as it is now, and changes nothing.
// ErrNoBucket, ErrNoUpload, ErrCondition; ErrExhausted if the namespace is over
// its quota.
func (s *Store) CommitObject(ctx context.Context, c ObjectCommit) (o Object, gone []holdall.BlockID, err error) {
	r, err := s.object(ctx, &commitObject{c})
	return r.Object, r.Gone, err
}

// DeleteObject puts a delete marker on a key, and its current version in trash.
// The zero Object says that there was nothing to delete. ErrNoBucket,
// ErrCondition.
func (s *Store) DeleteObject(ctx context.Context, d ObjectDelete) (marker Object, err error) {
	r, err := s.object(ctx, &deleteObject{d})
	return r.Object, err
}

// UndeleteObject takes away the delete marker that is the newest row of a key:
// the version below is current again. ErrExists, and nothing changed, if the key
// is not deleted; ErrNotFound if there is nothing to bring back; ErrNoBucket.
func (s *Store) UndeleteObject(ctx context.Context, bucket holdall.BucketID, key string) (Object, error) {
	r, err := s.object(ctx, &undeleteObject{Bucket: bucket, Key: key})
	return r.Object, err
}

// SetTags replaces the tags of a version; Version 0 is the current one.
// ErrNotFound if there is none.
func (s *Store) SetTags(ctx context.Context, key ObjectKey, tags []byte) (Object, error) {
	r, err := s.object(ctx, &setTags{Of: key, Tags: tags})
	return r.Object, err
}

// Object returns the newest row of a key, which may be a delete marker;
// ErrNotFound, which is proved, if there is none.
func (s *Store) Object(ctx context.Context, bucket holdall.BucketID, key string) (o Object, err error) {
	err = s.current(ctx, func(r pebble.Reader) error {
		lower := appendKeyRows(nil, bucket, key)
		for kv, err := range rows(r, lower, after(lower)) {
			if err != nil {
				return err
			}
			o, err = decodeObject(kv)
			return err
		}
		return fmt.Errorf("metadata: key %.80q of bucket %d: %w", key, bucket, holdall.ErrNotFound)
	})
	return o, err
}

// ObjectVersion returns one version of a key, which may be in trash or a marker;
// ErrNotFound, which is proved, if there is none.
func (s *Store) ObjectVersion(ctx context.Context, key ObjectKey) (o Object, err error) {
	err = s.current(ctx, func(r pebble.Reader) error {
		var ok bool
		if o, ok, err = readObject(r, key); err == nil && !ok {
			err = fmt.Errorf("metadata: version %d of key %.80q of bucket %d: %w", key.Version, key.Key, key.Bucket, holdall.ErrNotFound)
		}
		return err
	})
	return o, err
}

// List returns a page of a bucket's listing, in the byte order of keys. It holds
// everything that was acknowledged before. A bucket that is not there is empty.
func (s *Store) List(ctx context.Context, q ListQuery) (page ListPage, err error) {
	err = s.current(ctx, func(r pebble.Reader) error {
		page, err = list(ctx, r, &q)
		return err
	})
	return page, err
}

// ObjectTrash returns at most limit versions that wait in trash since before the
// given time, oldest first, and of them those that come after a given one: also
// delete markers that are current, but for those that their bucket keeps.
// PurgeObjects looks again at each.
func (s *Store) ObjectTrash(after ObjectTrashed, before time.Time, limit int) ([]ObjectTrashed, error) {
	return collect(during(s, func(r pebble.Reader) iter.Seq2[ObjectTrashed, error] {
		return trashedObjects(r, waitingObject{after.ObjectKey, toInstant(after.Since)}, toInstant(before))
	}), limit)
}

// PurgeObjects removes the rows of versions whose retention in trash has ended,
// at most MaxObjectsPerPurge, as far as the breaker lets it, and drops what they
// refer to.
func (s *Store) PurgeObjects(ctx context.Context, keys []ObjectKey) (PurgeResult, error) {
	var r purgeAnswer
	err := s.r.do(ctx, &purgeObjects{Keys: keys}, &r)
	return r.PurgeResult, err
}

// upload carries out a read of an upload.
func (s *Store) upload(ctx context.Context, id holdall.PutID, then func(pebble.Reader) error) (u Upload, err error) {
	err = s.current(ctx, func(r pebble.Reader) error {
		var ok bool
		u, ok, err = readUpload(r, id)
		if err == nil && !ok {
			err = fmt.Errorf("metadata: upload %v: %w", id, ErrNoUpload)
		}
		if err != nil || then == nil {
			return err
		}
		return then(r)
	})
	return u, err
}

// CreateUpload begins a multipart upload with u's ID, Bucket, Key, Attributes and
// Tags. A repeat returns it as it is now. ErrNoBucket; ErrExists if another key
// has an upload of this ID.
func (s *Store) CreateUpload(ctx context.Context, u Upload) (Upload, error) {
	var r uploadAnswer
	err := s.r.do(ctx, &createUpload{u}, &r)
	return r.Upload, err
}

// Upload returns an upload, which may have ended: ErrNoUpload, which is proved,
// if there is none.
func (s *Store) Upload(ctx context.Context, id holdall.PutID) (Upload, error) {
	return s.upload(ctx, id, nil)
}

// Uploads returns at most limit open uploads of a bucket, by key, then id, and
// whether there are more: those of keys with a prefix, and after the upload
// afterID of afterKey; of keys above afterKey, if afterID is zero.
func (s *Store) Uploads(bucket holdall.BucketID, prefix, afterKey string, afterID holdall.PutID, limit int) (found []Upload, more bool, err error) {
	if limit < 0 || limit > holdall.MaxListPage {
		return nil, false, fmt.Errorf("metadata: listing of %d uploads, at most %d: %w", limit, holdall.MaxListPage, holdall.ErrInvalid)
	}
	whole := putBig64([]byte{prefixOpenUpload}, uint64(bucket))
	lower := appendKeyPrefix(whole, prefix)
	upper := after(lower)
	if afterKey != "" {
		from := appendOpenUploadKey(nil, bucket, afterKey, afterID)
		if afterID == (holdall.PutID{}) {
			from = from[:len(from)-len(afterID)]
			from[len(from)-1] = 1 // see skipKey
		} else {
			from = append(from, 0)
		}
		if string(from) > string(lower) {
			lower = from
		}
	}
	if string(lower) >= string(upper) {
		return []Upload{}, false, nil
	}
	found, err = collect(during(s, func(r pebble.Reader) iter.Seq2[Upload, error] {
		ids := table(r, lower, upper, func(kv row) (holdall.PutID, error) {
			_, _, id, err := parseOpenUploadKey(kv.key)
			return id, err
		})
		return looked(ids, func(id holdall.PutID) (Upload, bool, error) { return readUpload(r, id) })
	}), limit+1)
	if more = len(found) > limit; more {
		found = found[:limit]
	}
	return found, more, err
}

// PutPart adds a part to an open upload, or replaces the one of its number, whose
// reference is dropped. gone is the part's block if it is not there any more: then
// nothing was done. ErrNoUpload; ErrInvalid for a node that was not committed;
// ErrExhausted if the namespace is over its quota.
func (s *Store) PutPart(ctx context.Context, upload holdall.PutID, p Part) (gone []holdall.BlockID, err error) {
	var r goneAnswer
	err = s.r.do(ctx, &putPart{Upload: upload, Part: p}, &r)
	return r.IDs, err
}

// Parts returns at most limit parts of an upload with numbers above after, by
// number, and whether there are more. ErrNoUpload if there is none.
func (s *Store) Parts(ctx context.Context, upload holdall.PutID, after, limit int) (found []Part, more bool, err error) {
	if after < 0 || limit < 0 || limit > holdall.MaxParts {
		return nil, false, fmt.Errorf("metadata: listing of %d parts after %d: %w", limit, after, holdall.ErrInvalid)
	}
	_, err = s.upload(ctx, upload, func(r pebble.Reader) error {
		for p, err := range partsOf(r, upload, min(after, holdall.MaxParts)) {
			if err != nil {
				return err
			}
			if more = len(found) == limit; more {
				break
			}
			found = append(found, p.Part)
		}
		return nil
	})
	return found, more, err
}

// AbortUpload ends an upload; again is no error. ErrNoUpload if there is none, or
// it was completed.
func (s *Store) AbortUpload(ctx context.Context, id holdall.PutID) error {
	return s.r.do(ctx, &abortUpload{id}, noResult{})
}

// ReleaseUpload drops the references of at most limit parts of an ended upload
// (at most holdall.MaxIDsPerCall), and returns how many parts are left. With none
// left the upload's row goes: of a completed one, 24 h after its end.
func (s *Store) ReleaseUpload(ctx context.Context, id holdall.PutID, limit int) (left int, err error) {
	var r numberResult
	err = s.r.do(ctx, &releaseUpload{Upload: id, Limit: limit}, &r)
	return int(r.N), err
}

// EndedUploads returns at most limit uploads that wait for ReleaseUpload since
// before the given time.
func (s *Store) EndedUploads(before time.Time, limit int) ([]Upload, error) {
	return collect(during(s, func(r pebble.Reader) iter.Seq2[Upload, error] {
		return looked(endedUploads(r, toInstant(before)), func(id holdall.PutID) (Upload, bool, error) { return readUpload(r, id) })
	}), limit)
}
