package client

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// NamespaceOptions say what a namespace allows. What is nil stays as it is, or
// is the cell's default.
type NamespaceOptions struct {
	Retention *time.Duration // that what was deleted stays in trash
	Quota     *int64         // bytes that it may use; 0 = any
}

func (o NamespaceOptions) message() (retention *durationpb.Duration, quota *uint64, err error) {
	if o.Retention != nil {
		retention = durationpb.New(*o.Retention)
	}
	if o.Quota != nil {
		if *o.Quota < 0 {
			return nil, nil, fmt.Errorf("quota of %d bytes, want 0 or more: %w", *o.Quota, holdall.ErrInvalid)
		}
		quota = new(uint64(*o.Quota))
	}
	return retention, quota, nil
}

// CreateNamespace makes a namespace. ErrExists when there is one of this name.
func (c *Client) CreateNamespace(ctx context.Context, name string, o NamespaceOptions) (*Namespace, error) {
	retention, quota, err := o.message()
	if err != nil {
		return nil, err
	}
	in := holdallv1.CreateNamespaceRequest{Name: name, Retention: retention}
	if quota != nil {
		in.Quota = *quota
	}
	var out holdallv1.CreateNamespaceResponse
	if err := c.once(ctx, holdallv1.AdminService_CreateNamespace_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	return namespaceFacts(out.Namespace)
}

// Namespaces calls f with every namespace of the cell, by name, until f returns
// an error, which is returned.
func (c *Client) Namespaces(ctx context.Context, f func(Namespace) error) error {
	var in holdallv1.ListNamespacesRequest
	for {
		var out holdallv1.ListNamespacesResponse
		if err := c.ask(ctx, holdallv1.AdminService_ListNamespaces_FullMethodName, &in, &out); err != nil {
			return err
		}
		last := in.After
		for _, m := range out.Namespaces {
			n, err := namespaceFacts(m)
			if err != nil {
				return err
			}
			if err := f(*n); err != nil {
				return err
			}
			last = n.Name
		}
		if !out.More {
			return nil
		}
		if last <= in.After {
			return fmt.Errorf("namespaces after %q: %w", in.After, errNoProgress)
		}
		in.After = last
	}
}

// Namespace returns one namespace. ErrNotFound where there is none.
func (c *Client) Namespace(ctx context.Context, name string) (*Namespace, error) {
	var out holdallv1.ShowNamespaceResponse
	if err := c.ask(ctx, holdallv1.AdminService_ShowNamespace_FullMethodName, &holdallv1.ShowNamespaceRequest{Name: name}, &out); err != nil {
		return nil, err
	}
	return namespaceFacts(out.Namespace)
}

// SetNamespace changes what a namespace allows.
func (c *Client) SetNamespace(ctx context.Context, name string, o NamespaceOptions) (*Namespace, error) {
	retention, quota, err := o.message()
	if err != nil {
		return nil, err
	}
	in := holdallv1.SetNamespaceRequest{Name: name, Retention: retention, Quota: quota}
	var out holdallv1.SetNamespaceResponse
	if err := c.ask(ctx, holdallv1.AdminService_SetNamespace_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	return namespaceFacts(out.Namespace)
}

// RemoveNamespace removes a namespace that has nothing any more: ErrRefused while
// it has blocks, buckets or credentials.
func (c *Client) RemoveNamespace(ctx context.Context, name string) error {
	in := holdallv1.RemoveNamespaceRequest{Name: name}
	return c.once(ctx, holdallv1.AdminService_RemoveNamespace_FullMethodName, &in, &holdallv1.RemoveNamespaceResponse{})
}

// CreateCredential makes an access key of the S3 front door for the client's
// namespace. The secret is told once: keep it, and print it nowhere.
func (c *Client) CreateCredential(ctx context.Context, note string) (_ *Credential, secret string, err error) {
	in := holdallv1.CreateCredentialRequest{Namespace: c.options.Namespace, Note: note}
	var out holdallv1.CreateCredentialResponse
	if err := c.once(ctx, holdallv1.AdminService_CreateCredential_FullMethodName, &in, &out); err != nil {
		return nil, "", err
	}
	facts, err := credentialFacts(out.Credential)
	return facts, out.Secret, err
}

// Credentials calls f with every access key of the client's namespace, in order,
// until f returns an error, which is returned.
func (c *Client) Credentials(ctx context.Context, f func(Credential) error) error {
	in := holdallv1.ListCredentialsRequest{Namespace: c.options.Namespace}
	for {
		var out holdallv1.ListCredentialsResponse
		if err := c.ask(ctx, holdallv1.AdminService_ListCredentials_FullMethodName, &in, &out); err != nil {
			return err
		}
		last := in.After
		for _, m := range out.Credentials {
			k, err := credentialFacts(m)
			if err != nil {
				return err
			}
			if err := f(*k); err != nil {
				return err
			}
			last = k.AccessKey
		}
		if !out.More {
			return nil
		}
		if last <= in.After {
			return fmt.Errorf("credentials after %q: %w", in.After, errNoProgress)
		}
		in.After = last
	}
}

// RemoveCredential removes an access key of the client's namespace: from then on
// it opens nothing.
func (c *Client) RemoveCredential(ctx context.Context, accessKey string) error {
	in := holdallv1.RemoveCredentialRequest{Namespace: c.options.Namespace, AccessKey: accessKey}
	return c.once(ctx, holdallv1.AdminService_RemoveCredential_FullMethodName, &in, &holdallv1.RemoveCredentialResponse{})
}
