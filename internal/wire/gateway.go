package wire

import (
	"context"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/gateway"
)

// Engine is a gateway as a Server wants it: a Putter, a Getter and IDs.
type Engine struct{ *gateway.Gateway }

// Admit makes room for a put of size bytes.
func (e Engine) Admit(size int64) (Admission, error) {
	a, err := e.Gateway.Admit(size)
	if err != nil {
		return nil, err
	}
	return admission{a}, nil
}

type admission struct{ *gateway.Admission }

func (a admission) Receive(ns holdall.NamespaceID, size int) (Incoming, error) {
	in, err := a.Admission.Receive(ns, size)
	if err != nil {
		return nil, err
	}
	return incoming{in}, nil
}

type incoming struct{ *gateway.Incoming }

func (in incoming) Put(ctx context.Context, want *holdall.BlockID) (PutResult, error) {
	r, err := in.Incoming.Put(ctx, want)
	return PutResult(r), err
}

// Get returns a block's bytes, or a range of them, verified.
func (e Engine) Get(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID, o GetOptions) (GetResult, error) {
	r, err := e.Gateway.Get(ctx, ns, id, gateway.GetOptions(o))
	return GetResult(r), err
}

// Stat tells where a block lies. The name of its namespace is left out.
func (e Engine) Stat(ctx context.Context, ns holdall.NamespaceID, id holdall.BlockID) (client.BlockStat, error) {
	r, err := e.Gateway.Stat(ctx, ns, id)
	if err != nil {
		return client.BlockStat{}, err
	}
	s := client.BlockStat{
		ID: r.ID, Size: uint32(r.Size), Volume: r.Volume, Scheme: r.Scheme, Stripe: r.Stripe,
		Shard: r.Shard, Member: r.Member, Offset: r.Offset,
		ShardsOK: r.ShardsOK, ShardsTotal: r.ShardsTotal,
		Direct: r.Direct, References: r.References, TrashedAt: optional(r.TrashedAt),
	}
	for _, m := range r.Members {
		s.Members = append(s.Members, client.StatMember{Disk: m.Disk, Node: m.Node, State: m.State.String()})
	}
	return s, nil
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
