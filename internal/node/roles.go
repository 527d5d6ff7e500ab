package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/internal/wire"
	"github.com/holdall/holdall/metadata"
)

// putter is the gateway's way in, as the gRPC server sees it.
type putter struct{ g *gateway.Gateway }

// Admit gives leave to send one block.
func (p putter) Admit(size int64) (wire.Admission, error) {
	a, err := p.g.Admit(size)
	if err != nil {
		return nil, err
	}
	return admission{a}, nil
}

type admission struct{ *gateway.Admission }

// Receive takes the buffer for the block.
func (a admission) Receive(ns holdall.NamespaceID, size int) (wire.Incoming, error) {
	in, err := a.Admission.Receive(ns, size)
	if err != nil {
		return nil, err
	}
	return incoming{in}, nil
}

type incoming struct{ *gateway.Incoming }

// Put stores the block.
func (i incoming) Put(ctx context.Context, want *holdall.BlockID) (wire.PutResult, error) {
	r, err := i.Incoming.Put(ctx, want)
	return wire.PutResult{ID: r.ID, Existed: r.Existed}, err
}

// getter is the gateway's way out, as the gRPC server sees it.
type getter struct{ n *Node }

// Get returns a block, or a range of it.
func (g getter) Get(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID, o wire.GetOptions) (wire.GetResult, error) {
	r, err := g.n.gateway.Get(ctx, ns, id, gateway.GetOptions{Offset: o.Offset, Length: o.Length,
		Consistent: o.Consistent, CallerVerifies: o.CallerVerifies})
	if err != nil {
		return wire.GetResult{}, g.n.doubt(err)
	}
	return wire.GetResult{View: r.View, Size: r.Size, Proof: r.Proof}, nil
}

// Stat tells where a block lies.
func (g getter) Stat(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID) (client.BlockStat, error) {
	s, err := g.n.gateway.Stat(ctx, ns, id)
	if err != nil {
		return client.BlockStat{}, g.n.doubt(err)
	}
	return g.n.blockStat(ns, &s)
}

// doubt turns "not found" into "unavailable" while the cell is in quarantine:
// metadata that was rebuilt proves nothing by not knowing a block.
func (n *Node) doubt(err error) error {
	if !errors.Is(err, holdall.ErrNotFound) {
		return err
	}
	c, cellErr := n.store.Cell()
	if cellErr == nil && c.Quarantine == "" {
		return err
	}
	return fmt.Errorf("%v, but the cell is in quarantine (%s), where that proves nothing; look at what came back, then run `holdall metadata release`: %w", err, c.Quarantine, holdall.ErrUnavailable)
}

// gone is doubt for calls that name what they did not find: a delete of a block
// that metadata does not know yet has not deleted it.
func (n *Node) gone(call string, ids []holdall.BlockID, err error) ([]holdall.BlockID, error) {
	if err != nil || len(ids) == 0 {
		return ids, err
	}
	if err := n.doubt(fmt.Errorf("%s: %d blocks are not there, the first is %v: %w", call, len(ids), ids[0], holdall.ErrNotFound)); !errors.Is(err, holdall.ErrNotFound) {
		return nil, err
	}
	return ids, nil
}

// ids is the gateway's work by name, as the gRPC server sees it.
type ids struct{ n *Node }

// Missing names the ids that are not stored.
func (i ids) Missing(ctx context.Context, ns holdall.NamespaceID, list []holdall.BlockID) ([]holdall.BlockID, error) {
	return i.n.gateway.Missing(ctx, ns, list)
}

// Claim secures blocks as a put would.
func (i ids) Claim(ctx context.Context, ns holdall.NamespaceID, list []holdall.BlockID) ([]holdall.BlockID, error) {
	return i.n.gateway.Claim(ctx, ns, list)
}

// Delete moves blocks to trash.
func (i ids) Delete(ctx context.Context, ns holdall.NamespaceID, list []holdall.BlockID) ([]holdall.BlockID, error) {
	gone, err := i.n.gateway.Delete(ctx, ns, list)
	if err == nil && i.n.cfg.Retention == 0 {
		i.n.upkeep.Kick()
	}
	return i.n.gone("delete", gone, err)
}

// Undelete takes blocks out of trash.
func (i ids) Undelete(ctx context.Context, ns holdall.NamespaceID, list []holdall.BlockID) ([]holdall.BlockID, error) {
	gone, err := i.n.gateway.Undelete(ctx, ns, list)
	return i.n.gone("undelete", gone, err)
}

// namespaces finds namespaces by name.
type namespaces struct{ store *metadata.Store }

// NamespaceID returns the id of a namespace.
func (s namespaces) NamespaceID(name string) (holdall.NamespaceID, error) {
	if name == holdall.DefaultNamespaceName {
		return holdall.DefaultNamespace, nil // what almost every call says
	}
	ns, err := s.store.Namespace(name)
	if err == nil && ns.ID == holdall.SystemNamespace {
		return 0, fmt.Errorf("namespace %q is the cell's own: %w", name, holdall.ErrRefused)
	}
	return ns.ID, err
}
