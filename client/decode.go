package client

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// What servers answer, made into facts. Numbers are taken as they are; ids of
// the wrong length are ErrCorrupt.

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func timeOrNil(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}

func diskID(b []byte) (holdall.DiskID, error) {
	if len(b) != len(holdall.DiskID{}) {
		return holdall.DiskID{}, fmt.Errorf("the server sent a disk id of %d bytes: %w", len(b), holdall.ErrCorrupt)
	}
	return holdall.DiskID(b), nil
}

func blockStat(m *holdallv1.StatResponse) (*BlockStat, error) {
	ids, err := blockIDs([][]byte{m.Id})
	if err != nil {
		return nil, err
	}
	scheme, err := holdall.ParseScheme(m.Scheme)
	if err != nil {
		return nil, fmt.Errorf("stat %v: %w", ids[0], err)
	}
	s := &BlockStat{
		ID: ids[0], Size: m.Size, Namespace: m.Namespace,
		Volume: holdall.VolumeID(m.Volume), Scheme: scheme, Stripe: m.Stripe,
		Shard: int(m.Shard), Member: int(m.Member), Offset: int64(m.Offset),
		Members:  make([]StatMember, 0, len(m.Members)),
		ShardsOK: int(m.ShardsOk), ShardsTotal: int(m.ShardsTotal),
		Direct: m.Direct, References: m.References, TrashedAt: timeOrNil(m.TrashedAt),
	}
	for _, d := range m.Members {
		id, err := diskID(d.Disk)
		if err != nil {
			return nil, err
		}
		s.Members = append(s.Members, StatMember{Disk: id, Node: d.Node, State: d.State})
	}
	return s, nil
}

func cellStatus(m *holdallv1.CellStatusResponse) *CellStatus {
	s := &CellStatus{
		Health: m.Health, Cell: m.Cell, Version: m.Version, Started: timeOf(m.Started),
		Incarnation: m.Incarnation, Quarantine: m.Quarantine, RaftIndex: m.RaftIndex,
		Scheme: m.Scheme, Domain: m.Domain,
		Blocks: m.Blocks, UserBytes: m.UserBytes, DiskBytes: m.DiskBytes, Overhead: m.Overhead,
		TrashBlocks: m.TrashBlocks, TrashBytes: m.TrashBytes,
		StripesMissing: m.StripesMissing,
		Disks:          DiskCounts{Active: m.DisksActive, Failed: m.DisksFailed, Draining: m.DisksDraining},
		VolumesOpen:    m.VolumesOpen, VolumesSealed: m.VolumesSealed,
		Tasks: []TaskStatus{}, Notes: append([]string{}, m.Notes...),
	}
	for _, t := range m.Tasks {
		s.Tasks = append(s.Tasks, TaskStatus{Kind: t.Kind, Count: t.Count, Rate: t.BytesPerSecond, ETA: t.EtaSeconds})
	}
	return s
}

func diskStatus(m *holdallv1.Disk) (*DiskStatus, error) {
	id, err := diskID(m.GetId())
	if err != nil {
		return nil, err
	}
	return &DiskStatus{
		ID: id, Path: m.Path, Node: m.Node, Domain: m.Domain,
		State: m.State, Reason: m.Reason, Since: timeOf(m.Since),
		Capacity: m.Capacity, Written: m.Written,
		FreeZones: m.FreeZones, TotalZones: m.TotalZones, OpenZones: m.OpenZones, MaxOpen: m.MaxOpen,
		ZoneSize: m.ZoneSize, Incarnation: m.Incarnation, Extents: m.Extents,
	}, nil
}

func volumeStatus(m *holdallv1.Volume) (*VolumeStatus, error) {
	if m == nil {
		return nil, fmt.Errorf("the server sent no volume: %w", holdall.ErrCorrupt)
	}
	v := &VolumeStatus{
		ID: holdall.VolumeID(m.Id), Scheme: m.Scheme, State: m.State, Epoch: m.Epoch, Gateway: m.Gateway,
		Created: timeOf(m.Created), Sealed: timeOrNil(m.Sealed), Limit: m.Limit,
		Stripes: m.Stripes, Blocks: m.Blocks, BlockBytes: m.BlockBytes, LiveBytes: m.LiveBytes,
		PackBytes: m.PackBytes, ShardBytes: m.ShardBytes, System: m.System,
	}
	for _, p := range m.Members {
		id, err := diskID(p.Disk)
		if err != nil {
			return nil, err
		}
		v.Members = append(v.Members, VolumeMember{Disk: id, Path: p.Path, State: p.State, End: p.End, Footer: p.Footer})
	}
	return v, nil
}

func purgeStatus(m *holdallv1.PurgeStatusResponse) *PurgeStatus {
	s := &PurgeStatus{
		Trash: []TrashAge{}, PurgedLastHour: m.PurgedLastHour, LimitPerHour: m.LimitPerHour,
		BreakerTripped: m.BreakerTripped, Reason: m.Reason,
		RetentionSeconds: m.RetentionSeconds, FreeHoldSeconds: m.FreeHoldSeconds,
	}
	for _, a := range m.Trash {
		s.Trash = append(s.Trash, TrashAge{UpToSeconds: a.UpToSeconds, Blocks: a.Blocks, Bytes: a.Bytes})
	}
	return s
}

func processStats(m *holdallv1.ProcessStatsResponse) *ProcessStats {
	return &ProcessStats{
		CPUSeconds: m.CpuSeconds, RSSBytes: m.RssBytes, PeakRSSBytes: m.PeakRssBytes,
		Goroutines: m.Goroutines, Started: timeOf(m.Started),
		DeviceReads: m.DeviceReads, DeviceWrites: m.DeviceWrites, DeviceSyncs: m.DeviceSyncs,
		DeviceReadBytes: m.DeviceReadBytes, DeviceWrittenBytes: m.DeviceWrittenBytes,
	}
}
