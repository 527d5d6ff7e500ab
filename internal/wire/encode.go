package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdall/holdall/client"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// Facts, made into messages: the inverse of client/decode.go.

func encodeTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func encodeOptional(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return encodeTime(*t)
}

func encodeStat(s *client.BlockStat) *holdallv1.StatResponse {
	m := &holdallv1.StatResponse{
		Id: s.ID[:], Size: s.Size, Namespace: s.Namespace,
		Volume: uint64(s.Volume), Scheme: s.Scheme.String(), Stripe: s.Stripe,
		Shard: int32(s.Shard), Member: uint32(s.Member), Offset: uint64(s.Offset),
		ShardsOk: uint32(s.ShardsOK), ShardsTotal: uint32(s.ShardsTotal),
		Direct: s.Direct, References: s.References, TrashedAt: encodeOptional(s.TrashedAt),
	}
	for _, d := range s.Members {
		m.Members = append(m.Members, &holdallv1.StatResponse_Member{Disk: d.Disk[:], Node: d.Node, State: d.State})
	}
	return m
}

func encodeCell(s *client.CellStatus) *holdallv1.CellStatusResponse {
	m := &holdallv1.CellStatusResponse{
		Health: s.Health, Cell: s.Cell, Version: s.Version, Started: encodeTime(s.Started),
		Incarnation: s.Incarnation, Quarantine: s.Quarantine, RaftIndex: s.RaftIndex,
		Scheme: s.Scheme, Domain: s.Domain,
		Blocks: s.Blocks, UserBytes: s.UserBytes, DiskBytes: s.DiskBytes, Overhead: s.Overhead,
		TrashBlocks: s.TrashBlocks, TrashBytes: s.TrashBytes, StripesMissing: s.StripesMissing,
		DisksActive: s.Disks.Active, DisksFailed: s.Disks.Failed, DisksDraining: s.Disks.Draining,
		VolumesOpen: s.VolumesOpen, VolumesSealed: s.VolumesSealed, Notes: s.Notes,
	}
	for _, t := range s.Tasks {
		m.Tasks = append(m.Tasks, &holdallv1.CellStatusResponse_Task{Kind: t.Kind, Count: t.Count, BytesPerSecond: t.Rate, EtaSeconds: t.ETA})
	}
	return m
}

func encodeDisk(d *client.DiskStatus) *holdallv1.Disk {
	return &holdallv1.Disk{
		Id: d.ID[:], Path: d.Path, Node: d.Node, Domain: d.Domain,
		State: d.State, Reason: d.Reason, Since: encodeTime(d.Since),
		Capacity: d.Capacity, Written: d.Written,
		FreeZones: d.FreeZones, TotalZones: d.TotalZones, OpenZones: d.OpenZones, MaxOpen: d.MaxOpen,
		ZoneSize: d.ZoneSize, Incarnation: d.Incarnation, Extents: d.Extents,
	}
}

func encodeVolume(v *client.VolumeStatus) *holdallv1.Volume {
	m := &holdallv1.Volume{
		Id: uint64(v.ID), Scheme: v.Scheme, State: v.State, Epoch: v.Epoch, Gateway: v.Gateway,
		Created: encodeTime(v.Created), Sealed: encodeOptional(v.Sealed), Limit: v.Limit,
		Stripes: v.Stripes, Blocks: v.Blocks, BlockBytes: v.BlockBytes, LiveBytes: v.LiveBytes,
		PackBytes: v.PackBytes, ShardBytes: v.ShardBytes, System: v.System,
	}
	for _, p := range v.Members {
		m.Members = append(m.Members, &holdallv1.Volume_Member{Disk: p.Disk[:], Path: p.Path, State: p.State, End: p.End, Footer: p.Footer})
	}
	return m
}

func encodePurge(s *client.PurgeStatus) *holdallv1.PurgeStatusResponse {
	m := &holdallv1.PurgeStatusResponse{
		PurgedLastHour: s.PurgedLastHour, LimitPerHour: s.LimitPerHour,
		BreakerTripped: s.BreakerTripped, Reason: s.Reason,
		RetentionSeconds: s.RetentionSeconds, FreeHoldSeconds: s.FreeHoldSeconds,
	}
	for _, a := range s.Trash {
		m.Trash = append(m.Trash, &holdallv1.PurgeStatusResponse_Age{UpToSeconds: a.UpToSeconds, Blocks: a.Blocks, Bytes: a.Bytes})
	}
	return m
}

func encodeStats(s *client.ProcessStats) *holdallv1.ProcessStatsResponse {
	return &holdallv1.ProcessStatsResponse{
		CpuSeconds: s.CPUSeconds, RssBytes: s.RSSBytes, PeakRssBytes: s.PeakRSSBytes,
		Goroutines: s.Goroutines, Started: encodeTime(s.Started),
		DeviceReads: s.DeviceReads, DeviceWrites: s.DeviceWrites, DeviceSyncs: s.DeviceSyncs,
		DeviceReadBytes: s.DeviceReadBytes, DeviceWrittenBytes: s.DeviceWrittenBytes,
	}
}
