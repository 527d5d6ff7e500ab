package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// CellStatus returns the health of the cell in one screen.
func (c *Client) CellStatus(ctx context.Context) (*CellStatus, error) {
	var out holdallv1.CellStatusResponse
	if err := c.ask(ctx, holdallv1.AdminService_CellStatus_FullMethodName, &holdallv1.CellStatusRequest{}, &out); err != nil {
		return nil, err
	}
	return cellStatus(&out), nil
}

// Disks returns every disk of the cell that was not removed.
func (c *Client) Disks(ctx context.Context) ([]DiskStatus, error) {
	var out holdallv1.ListDisksResponse
	if err := c.ask(ctx, holdallv1.AdminService_ListDisks_FullMethodName, &holdallv1.ListDisksRequest{}, &out); err != nil {
		return nil, err
	}
	disks := make([]DiskStatus, 0, len(out.Disks))
	for _, m := range out.Disks {
		d, err := diskStatus(m)
		if err != nil {
			return nil, err
		}
		disks = append(disks, *d)
	}
	return disks, nil
}

// Disk returns the disk with an id (32 hex digits) or a path. ErrNotFound where
// there is none.
func (c *Client) Disk(ctx context.Context, disk string) (*DiskStatus, error) {
	var out holdallv1.ShowDiskResponse
	if err := c.ask(ctx, holdallv1.AdminService_ShowDisk_FullMethodName, &holdallv1.ShowDiskRequest{Disk: disk}, &out); err != nil {
		return nil, err
	}
	return diskStatus(out.Disk)
}

// AddDisk formats an empty disk of the server, at path, and begins to use it.
// domain labels it, outermost first, as in "rack1/host3"; "" = no labels.
// ErrRefused when there is anything on the disk.
func (c *Client) AddDisk(ctx context.Context, path, domain string) (*DiskStatus, error) {
	out, err := c.admin().AddDisk(ctx, &holdallv1.AddDiskRequest{Path: path, Domain: domain})
	if err != nil {
		return nil, FromStatus(err)
	}
	return diskStatus(out.Disk)
}

// ReadmitDisk lets a failed disk take writes again, once every unsealed record
// on it was read back. progress is called with the bytes read and to read; nil
// is allowed.
func (c *Client) ReadmitDisk(ctx context.Context, disk string, progress func(done, total uint64)) (*DiskStatus, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream, if it is left early
	defer cancel()
	stream, err := c.admin().ReadmitDisk(ctx, &holdallv1.ReadmitDiskRequest{Disk: disk})
	if err != nil {
		return nil, FromStatus(err)
	}
	var last *holdallv1.Disk
	err = receive(stream, func(m *holdallv1.ReadmitDiskResponse) error {
		if progress != nil {
			progress(m.Done, m.Total)
		}
		last = m.Disk
		return nil
	})
	if err != nil {
		return nil, err
	}
	return diskStatus(last)
}

// Volumes calls f with every volume, by id, without its members, until f
// returns an error, which is returned.
func (c *Client) Volumes(ctx context.Context, f func(VolumeStatus) error) error {
	in := holdallv1.ListVolumesRequest{}
	for {
		var out holdallv1.ListVolumesResponse
		if err := c.ask(ctx, holdallv1.AdminService_ListVolumes_FullMethodName, &in, &out); err != nil {
			return err
		}
		for _, m := range out.Volumes {
			v, err := volumeStatus(m)
			if err != nil {
				return err
			}
			if err := f(*v); err != nil {
				return err
			}
		}
		if !out.More {
			return nil
		}
		if len(out.Volumes) == 0 || out.Volumes[len(out.Volumes)-1].Id <= in.After {
			return fmt.Errorf("volumes after %v: the server says that there are more and sends none: %w", holdall.VolumeID(in.After), holdall.ErrCorrupt)
		}
		in.After = out.Volumes[len(out.Volumes)-1].Id
	}
}

// Volume returns one volume, with its members. ErrNotFound where there is none.
func (c *Client) Volume(ctx context.Context, id holdall.VolumeID) (*VolumeStatus, error) {
	var out holdallv1.ShowVolumeResponse
	if err := c.ask(ctx, holdallv1.AdminService_ShowVolume_FullMethodName, &holdallv1.ShowVolumeRequest{Id: uint64(id)}, &out); err != nil {
		return nil, err
	}
	return volumeStatus(out.Volume)
}

// SealVolumes ends appends to volumes for ever and returns those that were open
// until now. No ids means every open volume.
func (c *Client) SealVolumes(ctx context.Context, ids ...holdall.VolumeID) ([]holdall.VolumeID, error) {
	in := &holdallv1.SealVolumesRequest{All: len(ids) == 0}
	for _, id := range ids {
		in.Ids = append(in.Ids, uint64(id))
	}
	var out holdallv1.SealVolumesResponse
	if err := c.ask(ctx, holdallv1.AdminService_SealVolumes_FullMethodName, in, &out); err != nil {
		return nil, err
	}
	sealed := make([]holdall.VolumeID, 0, len(out.Sealed))
	for _, id := range out.Sealed {
		sealed = append(sealed, holdall.VolumeID(id))
	}
	return sealed, nil
}

// PurgeStatus returns what waits in trash, and whether the breaker has tripped.
func (c *Client) PurgeStatus(ctx context.Context) (*PurgeStatus, error) {
	var out holdallv1.PurgeStatusResponse
	if err := c.ask(ctx, holdallv1.AdminService_PurgeStatus_FullMethodName, &holdallv1.PurgeStatusRequest{}, &out); err != nil {
		return nil, err
	}
	return purgeStatus(&out), nil
}

// ReleasePurge lets a tripped breaker purge again.
func (c *Client) ReleasePurge(ctx context.Context) error {
	return c.ask(ctx, holdallv1.AdminService_ReleasePurge_FullMethodName, &holdallv1.ReleasePurgeRequest{}, &holdallv1.ReleasePurgeResponse{})
}

// BackupMetadata writes a consistent copy of the metadata to w, as a tar
// archive. After an error what was written is not a backup.
func (c *Client) BackupMetadata(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx) // ends the stream, if it is left early
	defer cancel()
	stream, err := c.admin().BackupMetadata(ctx, &holdallv1.BackupMetadataRequest{})
	if err != nil {
		return FromStatus(err)
	}
	return receive(stream, func(m *holdallv1.BackupMetadataResponse) error {
		_, err := w.Write(m.Data)
		return err
	})
}

// DumpMetadata writes every row of the metadata to w, as JSON lines. After an
// error the dump is not whole.
func (c *Client) DumpMetadata(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx) // ends the stream, if it is left early
	defer cancel()
	stream, err := c.admin().DumpMetadata(ctx, &holdallv1.DumpMetadataRequest{})
	if err != nil {
		return FromStatus(err)
	}
	return receive(stream, func(m *holdallv1.DumpMetadataResponse) error {
		_, err := w.Write(m.Data)
		return err
	})
}

// ReleaseMetadata ends the quarantine that follows a rebuild.
func (c *Client) ReleaseMetadata(ctx context.Context) error {
	return c.ask(ctx, holdallv1.AdminService_ReleaseMetadata_FullMethodName, &holdallv1.ReleaseMetadataRequest{}, &holdallv1.ReleaseMetadataResponse{})
}

// ProcessStats returns what the server process used since it began.
func (c *Client) ProcessStats(ctx context.Context) (*ProcessStats, error) {
	var out holdallv1.ProcessStatsResponse
	if err := c.ask(ctx, holdallv1.AdminService_ProcessStats_FullMethodName, &holdallv1.ProcessStatsRequest{}, &out); err != nil {
		return nil, err
	}
	return processStats(&out), nil
}

// ask makes a unary call that is safe to repeat.
func (c *Client) ask(ctx context.Context, method string, in, out any) error {
	return c.retry(ctx, func(ctx context.Context) error { return c.call(ctx, method, in, out) })
}

// receive calls f with each message of a stream until its end. An error of f
// leaves the rest unread; the caller's context ends the stream.
func receive[M any](stream grpc.ServerStreamingClient[M], f func(*M) error) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return FromStatus(err)
		}
		if err := f(m); err != nil {
			return err
		}
	}
}
