package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/wire"
	"github.com/holdall/holdall/metadata"
)

// objects are the cell's objects, as the gRPC server sees them: in quarantine,
// that something is not there proves nothing.
type objects struct{ n *Node }

// Put stores an object.
func (o objects) Put(ctx context.Context, r object.PutRequest) (metadata.Object, error) {
	row, err := o.n.door.Put(ctx, r)
	return row, o.n.doubt(err)
}

// Open finds an object to read.
func (o objects) Open(ctx context.Context, at object.Place, options object.GetOptions) (wire.Opened, error) {
	r, err := o.n.door.Open(ctx, at, options)
	if err != nil {
		return wire.Opened{}, o.n.doubt(err)
	}
	return wire.Opened{Object: r.Object, Offset: r.Offset, Length: r.Length, Body: r}, nil
}

// Head returns a version of an object.
func (o objects) Head(ctx context.Context, at object.Place, version holdall.Version) (metadata.Object, error) {
	row, err := o.n.door.Head(ctx, at, version)
	return row, o.n.doubt(err)
}

// List returns a page of a bucket's listing.
func (o objects) List(ctx context.Context, ns holdall.NamespaceID, bucket string, q metadata.ListQuery) (metadata.ListPage, error) {
	page, err := o.n.door.List(ctx, ns, bucket, q)
	return page, o.n.doubt(err)
}

// Delete puts a delete marker on a key.
func (o objects) Delete(ctx context.Context, r object.DeleteRequest) (metadata.Object, error) {
	row, err := o.n.door.Delete(ctx, r)
	if err == nil && o.n.cfg.Retention == 0 {
		o.n.upkeep.Kick()
	}
	return row, o.n.doubt(err)
}

// Undelete takes a delete marker away.
func (o objects) Undelete(ctx context.Context, at object.Place) (metadata.Object, error) {
	row, err := o.n.door.Undelete(ctx, at)
	return row, o.n.doubt(err)
}

// Copy makes an object of another one's blocks.
func (o objects) Copy(ctx context.Context, r object.CopyRequest) (metadata.Object, error) {
	row, err := o.n.door.Copy(ctx, r)
	return row, o.n.doubt(err)
}

// SetTags replaces the tags of a version.
func (o objects) SetTags(ctx context.Context, at object.Place, version holdall.Version, tags []manifest.Tag) (metadata.Object, error) {
	row, err := o.n.door.SetTags(ctx, at, version, tags)
	return row, o.n.doubt(err)
}

// CreateBucket makes a bucket.
func (o objects) CreateBucket(ctx context.Context, ns holdall.NamespaceID, name string) (metadata.Bucket, error) {
	return o.n.door.CreateBucket(ctx, ns, name)
}

// RemoveBucket removes a bucket.
func (o objects) RemoveBucket(ctx context.Context, ns holdall.NamespaceID, name string) error {
	return o.n.doubt(o.n.door.RemoveBucket(ctx, ns, name))
}

// ListBuckets returns buckets of a namespace.
func (o objects) ListBuckets(ctx context.Context, ns holdall.NamespaceID, after string, limit int) ([]metadata.Bucket, error) {
	return o.n.door.ListBuckets(ctx, ns, after, limit)
}

// spaces is the table of namespaces and that of their credentials, as operators
// see them.
type spaces struct{ n *Node }

// row returns a namespace that is not the cell's own.
func (s spaces) row(name string) (metadata.Namespace, error) {
	row, err := s.n.store.Namespace(name)
	if err == nil && row.ID == holdall.SystemNamespace {
		err = fmt.Errorf("namespace %q is the cell's own: %w", name, holdall.ErrRefused)
	}
	return row, s.n.doubt(err)
}

func namespaceFacts(r *metadata.Namespace) client.Namespace {
	return client.Namespace{
		Name: r.Name, ID: r.ID, RetentionSeconds: r.Retention.Seconds(), Quota: r.Quota,
		Blocks: uint64(r.Blocks), Bytes: uint64(r.Bytes), Buckets: uint64(r.Buckets), Credentials: uint64(r.Credentials),
	}
}

// CreateNamespace makes a namespace; its retention is the cell's unless it is
// given.
func (s spaces) CreateNamespace(ctx context.Context, name string, retention *time.Duration, quota int64) (client.Namespace, error) {
	keep := s.n.cfg.Retention
	if retention != nil {
		keep = *retention
	}
	row, err := s.n.store.CreateNamespace(ctx, name, keep, quota)
	if err != nil {
		return client.Namespace{}, err
	}
	return namespaceFacts(&row), nil
}

// ListNamespaces returns namespaces by name.
func (s spaces) ListNamespaces(_ context.Context, after string, limit int) ([]client.Namespace, error) {
	rows, err := s.n.store.Namespaces()
	if err != nil {
		return nil, err
	}
	var list []client.Namespace
	for i := range rows {
		if rows[i].ID != holdall.SystemNamespace && rows[i].Name > after {
			list = append(list, namespaceFacts(&rows[i]))
		}
	}
	slices.SortFunc(list, func(a, b client.Namespace) int { return strings.Compare(a.Name, b.Name) })
	return list[:min(limit, len(list))], nil
}

// ShowNamespace returns a namespace.
func (s spaces) ShowNamespace(_ context.Context, name string) (client.Namespace, error) {
	row, err := s.row(name)
	if err != nil {
		return client.Namespace{}, err
	}
	return namespaceFacts(&row), nil
}

// SetNamespace changes what a namespace allows.
func (s spaces) SetNamespace(ctx context.Context, name string, retention *time.Duration, quota *int64) (client.Namespace, error) {
	row, err := s.row(name)
	if err != nil {
		return client.Namespace{}, err
	}
	keep, most := row.Retention, int64(-1) // as it is
	if retention != nil {
		keep = *retention
	}
	if quota != nil {
		most = *quota
	}
	if err := s.n.store.SetNamespace(ctx, row.ID, keep, most); err != nil {
		return client.Namespace{}, err
	}
	return s.ShowNamespace(ctx, name)
}

// RemoveNamespace removes a namespace that has nothing any more.
func (s spaces) RemoveNamespace(ctx context.Context, name string) error {
	row, err := s.row(name)
	if err != nil {
		return err
	}
	return s.n.store.RemoveNamespace(ctx, row.ID)
}

// CreateCredential makes an access key. Its secret leaves the process in this
// answer alone.
func (s spaces) CreateCredential(ctx context.Context, namespace, note string) (client.Credential, string, error) {
	row, err := s.row(namespace)
	if err != nil {
		return client.Credential{}, "", err
	}
	c, secret, err := s.n.MakeCredential(ctx, row.ID, note)
	if err != nil {
		return client.Credential{}, "", err
	}
	return credentialFacts(&c, namespace), secret.Reveal(), nil
}

func credentialFacts(c *metadata.Credential, namespace string) client.Credential {
	return client.Credential{AccessKey: c.AccessKey, Namespace: namespace, Created: c.Created, Note: c.Note}
}

// ListCredentials returns access keys of a namespace, in order.
func (s spaces) ListCredentials(_ context.Context, namespace, after string, limit int) ([]client.Credential, error) {
	row, err := s.row(namespace)
	if err != nil {
		return nil, err
	}
	rows, err := s.n.store.Credentials(row.ID)
	if err != nil {
		return nil, err
	}
	var list []client.Credential
	for i := range rows {
		if rows[i].AccessKey > after && len(list) < limit {
			list = append(list, credentialFacts(&rows[i], namespace))
		}
	}
	return list, nil
}

// RemoveCredential removes an access key of a namespace.
func (s spaces) RemoveCredential(ctx context.Context, namespace, accessKey string) error {
	row, err := s.row(namespace)
	if err != nil {
		return err
	}
	c, err := s.n.store.Credential(accessKey)
	if err == nil && c.Namespace != row.ID {
		err = fmt.Errorf("access key %s is not of namespace %q: %w", accessKey, namespace, holdall.ErrNotFound)
	}
	if err != nil {
		return s.n.doubt(err)
	}
	return s.n.store.RemoveCredential(ctx, accessKey)
}
