package metadata

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// Errors that say what was not found; each wraps holdall.ErrNotFound.
var (
	ErrNoBucket = fmt.Errorf("no such bucket: %w", holdall.ErrNotFound)
	ErrNoUpload = fmt.Errorf("no such upload, or it has ended: %w", holdall.ErrNotFound)
)

// current calls f with a snapshot of a state that holds everything that was
// acknowledged before; ErrUnavailable where this voter does not lead.
func (s *Store) current(ctx context.Context, f func(pebble.Reader) error) error {
	return s.view(func(*state) error {
		if err := s.r.linearize(ctx); err != nil {
			return err
		}
		st := s.r.fsm.hold() // a snapshot may have been installed meanwhile
		defer st.release()
		return f(st.db)
	})
}

// CreateNamespace makes a namespace. retention is how long its trash waits; quota
// is the most bytes that it may use, 0 = any. ErrExists if the name is taken,
// ErrExhausted beyond holdall.MaxNamespaces.
func (s *Store) CreateNamespace(ctx context.Context, name string, retention time.Duration, quota int64) (Namespace, error) {
	var r spaceAnswer
	err := s.r.do(ctx, &createNamespace{Name: name, Retention: retention, Quota: quota}, &r)
	return r.Namespace, err
}

// SetNamespace changes the retention and the quota of a namespace; a quota of -1
// leaves it as it is.
func (s *Store) SetNamespace(ctx context.Context, id holdall.NamespaceID, retention time.Duration, quota int64) error {
	return s.r.do(ctx, &setNamespace{Namespace: id, Retention: retention, Quota: quota}, noResult{})
}

// SetRetention sets how long trash of a namespace waits.
func (s *Store) SetRetention(ctx context.Context, ns holdall.NamespaceID, retention time.Duration) error {
	return s.SetNamespace(ctx, ns, retention, -1)
}

// RemoveNamespace removes a namespace that has nothing any more: ErrRefused while
// it has blocks, in trash too, buckets or credentials. The two that every cell
// has stay.
func (s *Store) RemoveNamespace(ctx context.Context, id holdall.NamespaceID) error {
	return s.r.do(ctx, &removeNamespace{Namespace: id}, noResult{})
}

// NamespaceByID returns a namespace, or ErrNotFound: what it uses, and its quota,
// so that a gateway can refuse early.
func (s *Store) NamespaceByID(id holdall.NamespaceID) (n Namespace, err error) {
	err = s.view(func(st *state) error {
		var ok bool
		if n, ok, err = readNamespace(st.db, id); err == nil && !ok {
			err = fmt.Errorf("metadata: namespace %d does not exist: %w", id, holdall.ErrNotFound)
		}
		return err
	})
	return n, err
}

// PutCredential adds a credential, or replaces one of the same namespace;
// ErrExists if the access key is another namespace's.
func (s *Store) PutCredential(ctx context.Context, c Credential) error {
	return s.r.do(ctx, &putCredential{c}, noResult{})
}

// RemoveCredential removes a credential: ErrNotFound if there is none.
func (s *Store) RemoveCredential(ctx context.Context, accessKey string) error {
	return s.r.do(ctx, &removeCredential{accessKey}, noResult{})
}

// Credential returns a credential: ErrNotFound if there is none here.
func (s *Store) Credential(accessKey string) (c Credential, err error) {
	err = s.view(func(st *state) error {
		var ok bool
		if c, ok, err = readCredential(st.db, accessKey); err == nil && !ok {
			err = fmt.Errorf("metadata: access key %.130q: %w", accessKey, holdall.ErrNotFound)
		}
		return err
	})
	return c, err
}

// Credentials returns the credentials of a namespace, by access key.
func (s *Store) Credentials(ns holdall.NamespaceID) ([]Credential, error) {
	list := []Credential{}
	for c, err := range during(s, credentials) {
		if err != nil {
			return nil, err
		}
		if c.Namespace == ns {
			list = append(list, c)
		}
	}
	return list, nil
}

// CreateBucket makes a bucket: ErrExists if the namespace has one of that name,
// ErrExhausted beyond holdall.MaxBuckets.
func (s *Store) CreateBucket(ctx context.Context, ns holdall.NamespaceID, name string) (Bucket, error) {
	var r bucketAnswer
	err := s.r.do(ctx, &createBucket{Namespace: ns, Name: name}, &r)
	return r.Bucket, err
}

// SetBucket says whether a bucket keeps the markers of deleted keys for ever.
func (s *Store) SetBucket(ctx context.Context, id holdall.BucketID, keepsMarkers bool) error {
	return s.r.do(ctx, &setBucket{Bucket: id, KeepsMarkers: keepsMarkers}, noResult{})
}

// RemoveBucket removes a bucket: ErrNoBucket, or ErrRefused while a key has a
// current version or an upload is open. Its name is free at once; what it has in
// trash is due at once.
func (s *Store) RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) error {
	return s.r.do(ctx, &removeBucket{Namespace: ns, Name: name}, noResult{})
}

// Bucket returns the bucket with a name: ErrNoBucket if there is none, which is
// proved.
func (s *Store) Bucket(ctx context.Context, ns holdall.NamespaceID, name string) (b Bucket, err error) {
	err = s.current(ctx, func(r pebble.Reader) error {
		var ok bool
		if b, ok, err = readBucketName(r, ns, name); err == nil && !ok {
			err = fmt.Errorf("metadata: bucket %.80q of namespace %d: %w", name, ns, ErrNoBucket)
		}
		return err
	})
	return b, err
}

// Buckets returns at most limit buckets of a namespace with names above after, by
// name; no limit if negative.
func (s *Store) Buckets(ns holdall.NamespaceID, after string, limit int) ([]Bucket, error) {
	return collect(during(s, func(r pebble.Reader) iter.Seq2[Bucket, error] {
		return looked(bucketNames(r, ns, after), func(id holdall.BucketID) (Bucket, bool, error) { return readBucket(r, id) })
	}), limit)
}

// looked yields the rows that keys lead to.
func looked[K, T any](keys iter.Seq2[K, error], read func(K) (T, bool, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for k, err := range keys {
			var v T
			var ok bool
			if err == nil {
				if v, ok, err = read(k); err == nil && !ok {
					err = fmt.Errorf("metadata: a list names %v, which has no row: %w", k, holdall.ErrCorrupt)
				}
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// ClaimPending holds blocks for another 24 h on behalf of an object, out of trash
// where they were there, and returns the ids that are gone: those have to be put
// again. It makes nothing direct.
func (s *Store) ClaimPending(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	return s.changeBlocks(ctx, tagClaimPending, ns, ids)
}

// CommitNode counts the references of a manifest node to the blocks that it lists
// (once for every time it does), at most holdall.MaxNodeEntries, so that none of
// them goes before it. The first nodes of children are manifest nodes themselves,
// which must have been committed. It returns the blocks that are gone, itself among them:
// then nothing was done, and they have to be put again. A node that was committed
// stays so. ErrExhausted if the namespace is over its quota.
func (s *Store) CommitNode(ctx context.Context, ns holdall.NamespaceID, node holdall.BlockID, children []holdall.BlockID, nodes int) (gone []holdall.BlockID, err error) {
	var r goneAnswer
	err = s.r.do(ctx, &commitNode{Namespace: ns, Node: node, Children: children, Nodes: nodes}, &r)
	return r.IDs, err
}

// ReleaseNode removes the row of a node that is due, and drops its references to
// children, which must be the blocks that its bytes list: one that is Waiting was
// not due. ErrCorrupt, and nothing changed, if the references say otherwise.
func (s *Store) ReleaseNode(ctx context.Context, ns holdall.NamespaceID, node holdall.BlockID, children []holdall.BlockID) (PurgeResult, error) {
	var r purgeAnswer
	err := s.r.do(ctx, &releaseNode{Namespace: ns, Node: node, Children: children}, &r)
	return r.PurgeResult, err
}
