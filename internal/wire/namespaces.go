package wire

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// The part of AdminService for namespaces and credentials.

// maxNote is the most bytes of a credential's note.
const maxNote = 256

// maxAfter is the most bytes of the name after which a page begins.
const maxAfter = 255

func checkAfter(name string) error {
	if len(name) > maxAfter {
		return fmt.Errorf("after: name of %d bytes, the most is %d: %w", len(name), maxAfter, holdall.ErrInvalid)
	}
	return nil
}

// quota checks a number of bytes.
func quota(n uint64) (int64, error) {
	if n > math.MaxInt64 {
		return 0, fmt.Errorf("quota of %d bytes, at most %d: %w", n, int64(math.MaxInt64), holdall.ErrInvalid)
	}
	return int64(n), nil
}

// retention checks a time; nil is none.
func retention(d *durationpb.Duration) (*time.Duration, error) {
	if d == nil {
		return nil, nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < 0 {
		return nil, fmt.Errorf("retention of %d s and %d ns, want a time that is not negative: %w", d.Seconds, d.Nanos, holdall.ErrInvalid)
	}
	out := d.AsDuration()
	return &out, nil
}

func (a *adminServer) CreateNamespace(ctx context.Context, in *holdallv1.CreateNamespaceRequest) (*holdallv1.CreateNamespaceResponse, error) {
	if a.cfg.NamespaceTable == nil {
		return nil, absent("the table of namespaces")
	}
	if err := holdall.CheckNamespaceName(in.Name); err != nil {
		return nil, err
	}
	q, err := quota(in.Quota)
	if err != nil {
		return nil, err
	}
	keep, err := retention(in.Retention)
	if err != nil {
		return nil, err
	}
	n, err := a.cfg.NamespaceTable.CreateNamespace(ctx, in.Name, keep, q)
	if err != nil {
		return nil, err
	}
	return &holdallv1.CreateNamespaceResponse{Namespace: encodeNamespace(&n)}, nil
}

func (a *adminServer) ListNamespaces(ctx context.Context, in *holdallv1.ListNamespacesRequest) (*holdallv1.ListNamespacesResponse, error) {
	if a.cfg.NamespaceTable == nil {
		return nil, absent("the table of namespaces")
	}
	if err := checkAfter(in.After); err != nil {
		return nil, err
	}
	limit := pageLimit(in.Limit)
	list, err := a.cfg.NamespaceTable.ListNamespaces(ctx, in.After, limit+1)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.ListNamespacesResponse{More: len(list) > limit}
	for i := range list[:min(limit, len(list))] {
		out.Namespaces = append(out.Namespaces, encodeNamespace(&list[i]))
	}
	return out, nil
}

// checkNamespace refuses a name that no namespace can have.
func (a *adminServer) checkNamespace(name string) error {
	if a.cfg.NamespaceTable == nil {
		return absent("the table of namespaces")
	}
	return holdall.CheckNamespaceName(name)
}

func (a *adminServer) ShowNamespace(ctx context.Context, in *holdallv1.ShowNamespaceRequest) (*holdallv1.ShowNamespaceResponse, error) {
	if err := a.checkNamespace(in.Name); err != nil {
		return nil, err
	}
	n, err := a.cfg.NamespaceTable.ShowNamespace(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &holdallv1.ShowNamespaceResponse{Namespace: encodeNamespace(&n)}, nil
}

func (a *adminServer) SetNamespace(ctx context.Context, in *holdallv1.SetNamespaceRequest) (*holdallv1.SetNamespaceResponse, error) {
	if err := a.checkNamespace(in.Name); err != nil {
		return nil, err
	}
	keep, err := retention(in.Retention)
	if err != nil {
		return nil, err
	}
	var most *int64
	if in.Quota != nil {
		q, err := quota(*in.Quota)
		if err != nil {
			return nil, err
		}
		most = &q
	}
	if keep == nil && most == nil {
		return nil, fmt.Errorf("namespace %q: nothing to set, want a retention, a quota, or both: %w", in.Name, holdall.ErrInvalid)
	}
	n, err := a.cfg.NamespaceTable.SetNamespace(ctx, in.Name, keep, most)
	if err != nil {
		return nil, err
	}
	return &holdallv1.SetNamespaceResponse{Namespace: encodeNamespace(&n)}, nil
}

func (a *adminServer) RemoveNamespace(ctx context.Context, in *holdallv1.RemoveNamespaceRequest) (*holdallv1.RemoveNamespaceResponse, error) {
	if err := a.checkNamespace(in.Name); err != nil {
		return nil, err
	}
	return &holdallv1.RemoveNamespaceResponse{}, a.cfg.NamespaceTable.RemoveNamespace(ctx, in.Name)
}

// owner checks the namespace of a credential.
func (a *adminServer) owner(name string) (string, error) {
	if a.cfg.Credentials == nil {
		return "", absent("credentials")
	}
	name = nameOf(name)
	return name, holdall.CheckNamespaceName(name)
}

func (a *adminServer) CreateCredential(ctx context.Context, in *holdallv1.CreateCredentialRequest) (*holdallv1.CreateCredentialResponse, error) {
	ns, err := a.owner(in.Namespace)
	if err != nil {
		return nil, err
	}
	if len(in.Note) > maxNote {
		return nil, fmt.Errorf("credential: note of %d bytes, the most is %d: %w", len(in.Note), maxNote, holdall.ErrInvalid)
	}
	c, secret, err := a.cfg.Credentials.CreateCredential(ctx, ns, in.Note)
	if err != nil {
		return nil, err
	}
	return &holdallv1.CreateCredentialResponse{Credential: encodeCredential(&c), Secret: secret}, nil
}

func (a *adminServer) ListCredentials(ctx context.Context, in *holdallv1.ListCredentialsRequest) (*holdallv1.ListCredentialsResponse, error) {
	ns, err := a.owner(in.Namespace)
	if err != nil {
		return nil, err
	}
	if err := checkAfter(in.After); err != nil {
		return nil, err
	}
	limit := pageLimit(in.Limit)
	var list []client.Credential
	if list, err = a.cfg.Credentials.ListCredentials(ctx, ns, in.After, limit+1); err != nil {
		return nil, err
	}
	out := &holdallv1.ListCredentialsResponse{More: len(list) > limit}
	for i := range list[:min(limit, len(list))] {
		out.Credentials = append(out.Credentials, encodeCredential(&list[i]))
	}
	return out, nil
}

func (a *adminServer) RemoveCredential(ctx context.Context, in *holdallv1.RemoveCredentialRequest) (*holdallv1.RemoveCredentialResponse, error) {
	ns, err := a.owner(in.Namespace)
	if err != nil {
		return nil, err
	}
	if in.AccessKey == "" || len(in.AccessKey) > maxAfter {
		return nil, fmt.Errorf("credential: access key of %d bytes, want 1 to %d: %w", len(in.AccessKey), maxAfter, holdall.ErrInvalid)
	}
	return &holdallv1.RemoveCredentialResponse{}, a.cfg.Credentials.RemoveCredential(ctx, ns, in.AccessKey)
}
