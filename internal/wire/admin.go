package wire

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// adminServer is AdminService; the methods are documented in admin.proto.
type adminServer struct {
	holdallv1.UnimplementedAdminServiceServer
	cfg Config
}

// volumePage is the most volumes that one answer lists: without members they
// are some 200 bytes each.
const volumePage = 1000

// streamChunk is how many bytes of a backup or a dump go into one message.
const streamChunk = 256 << 10

// absent is the answer where a part of the cell is not served here.
func absent(part string) error {
	return status.Errorf(codes.Unimplemented, "this server does not serve %s", part)
}

func (a *adminServer) CellStatus(ctx context.Context, _ *holdallv1.CellStatusRequest) (*holdallv1.CellStatusResponse, error) {
	if a.cfg.Cell == nil {
		return nil, absent("the cell")
	}
	s, err := a.cfg.Cell.CellStatus(ctx)
	if err != nil {
		return nil, err
	}
	return encodeCell(&s), nil
}

func (a *adminServer) ProcessStats(ctx context.Context, _ *holdallv1.ProcessStatsRequest) (*holdallv1.ProcessStatsResponse, error) {
	if a.cfg.Process == nil {
		return nil, absent("its process")
	}
	s, err := a.cfg.Process.ProcessStats(ctx)
	if err != nil {
		return nil, err
	}
	return encodeStats(&s), nil
}

func (a *adminServer) PurgeStatus(ctx context.Context, _ *holdallv1.PurgeStatusRequest) (*holdallv1.PurgeStatusResponse, error) {
	if a.cfg.Cell == nil {
		return nil, absent("the cell")
	}
	s, err := a.cfg.Cell.PurgeStatus(ctx)
	if err != nil {
		return nil, err
	}
	return encodePurge(&s), nil
}

func (a *adminServer) ReleasePurge(ctx context.Context, _ *holdallv1.ReleasePurgeRequest) (*holdallv1.ReleasePurgeResponse, error) {
	if a.cfg.Cell == nil {
		return nil, absent("the cell")
	}
	return &holdallv1.ReleasePurgeResponse{}, a.cfg.Cell.ReleasePurge(ctx)
}

func (a *adminServer) ListDisks(ctx context.Context, _ *holdallv1.ListDisksRequest) (*holdallv1.ListDisksResponse, error) {
	if a.cfg.Disks == nil {
		return nil, absent("disks")
	}
	disks, err := a.cfg.Disks.Disks(ctx)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.ListDisksResponse{}
	for i := range disks {
		out.Disks = append(out.Disks, encodeDisk(&disks[i]))
	}
	return out, nil
}

func (a *adminServer) ShowDisk(ctx context.Context, in *holdallv1.ShowDiskRequest) (*holdallv1.ShowDiskResponse, error) {
	if err := a.checkDisk(in.Disk); err != nil {
		return nil, err
	}
	d, err := a.cfg.Disks.Disk(ctx, in.Disk)
	if err != nil {
		return nil, err
	}
	return &holdallv1.ShowDiskResponse{Disk: encodeDisk(&d)}, nil
}

func (a *adminServer) AddDisk(ctx context.Context, in *holdallv1.AddDiskRequest) (*holdallv1.AddDiskResponse, error) {
	if err := a.checkDisk(in.Path); err != nil {
		return nil, err
	}
	if len(in.Domain) > maxName {
		return nil, fmt.Errorf("domain of %d bytes, the most is %d: %w", len(in.Domain), maxName, holdall.ErrInvalid)
	}
	d, err := a.cfg.Disks.AddDisk(ctx, in.Path, in.Domain)
	if err != nil {
		return nil, err
	}
	return &holdallv1.AddDiskResponse{Disk: encodeDisk(&d)}, nil
}

func (a *adminServer) ReadmitDisk(in *holdallv1.ReadmitDiskRequest, out holdallv1.AdminService_ReadmitDiskServer) error {
	if err := a.checkDisk(in.Disk); err != nil {
		return err
	}
	var last holdallv1.ReadmitDiskResponse
	var lost error // a caller that is gone shows as the end of its context
	d, err := a.cfg.Disks.ReadmitDisk(out.Context(), in.Disk, func(done, total uint64) {
		last.Done, last.Total = done, total
		if lost == nil {
			lost = out.Send(&holdallv1.ReadmitDiskResponse{Done: done, Total: total})
		}
	})
	if err != nil {
		return err
	}
	last.Disk = encodeDisk(&d)
	return out.Send(&last)
}

// maxName is the most bytes of a path or of labels: Linux allows no longer path.
const maxName = 4096

func (a *adminServer) checkDisk(name string) error {
	switch {
	case a.cfg.Disks == nil:
		return absent("disks")
	case name == "" || len(name) > maxName:
		return fmt.Errorf("disk name of %d bytes, want an id or a path of 1 to %d: %w", len(name), maxName, holdall.ErrInvalid)
	}
	return nil
}

func (a *adminServer) ListVolumes(ctx context.Context, in *holdallv1.ListVolumesRequest) (*holdallv1.ListVolumesResponse, error) {
	if a.cfg.Volumes == nil {
		return nil, absent("volumes")
	}
	limit := int(in.Limit)
	if limit == 0 || limit > volumePage {
		limit = volumePage
	}
	volumes, err := a.cfg.Volumes.Volumes(ctx, holdall.VolumeID(in.After), limit+1)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.ListVolumesResponse{More: len(volumes) > limit}
	for i := range volumes[:min(limit, len(volumes))] {
		out.Volumes = append(out.Volumes, encodeVolume(&volumes[i]))
	}
	return out, nil
}

func (a *adminServer) ShowVolume(ctx context.Context, in *holdallv1.ShowVolumeRequest) (*holdallv1.ShowVolumeResponse, error) {
	switch {
	case a.cfg.Volumes == nil:
		return nil, absent("volumes")
	case in.Id == 0:
		return nil, fmt.Errorf("volume id 0 names none: %w", holdall.ErrInvalid)
	}
	v, err := a.cfg.Volumes.Volume(ctx, holdall.VolumeID(in.Id))
	if err != nil {
		return nil, err
	}
	return &holdallv1.ShowVolumeResponse{Volume: encodeVolume(&v)}, nil
}

func (a *adminServer) SealVolumes(ctx context.Context, in *holdallv1.SealVolumesRequest) (*holdallv1.SealVolumesResponse, error) {
	switch {
	case a.cfg.Volumes == nil:
		return nil, absent("volumes")
	case in.All == (len(in.Ids) > 0):
		return nil, fmt.Errorf("seal: want ids, or all: %w", holdall.ErrInvalid)
	case len(in.Ids) > holdall.MaxIDsPerCall:
		return nil, fmt.Errorf("seal: %d ids in one call, the most is %d: %w", len(in.Ids), holdall.MaxIDsPerCall, holdall.ErrInvalid)
	}
	var ids []holdall.VolumeID
	for _, id := range in.Ids {
		if id == 0 {
			return nil, fmt.Errorf("seal: volume id 0 names none: %w", holdall.ErrInvalid)
		}
		ids = append(ids, holdall.VolumeID(id))
	}
	sealed, err := a.cfg.Volumes.SealVolumes(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.SealVolumesResponse{}
	for _, id := range sealed {
		out.Sealed = append(out.Sealed, uint64(id))
	}
	return out, nil
}

func (a *adminServer) BackupMetadata(_ *holdallv1.BackupMetadataRequest, out holdallv1.AdminService_BackupMetadataServer) error {
	if a.cfg.Metadata == nil {
		return absent("metadata")
	}
	return stream(func(w io.Writer) error { return a.cfg.Metadata.BackupMetadata(out.Context(), w) },
		func(b []byte) error { return out.Send(&holdallv1.BackupMetadataResponse{Data: b}) })
}

func (a *adminServer) DumpMetadata(_ *holdallv1.DumpMetadataRequest, out holdallv1.AdminService_DumpMetadataServer) error {
	if a.cfg.Metadata == nil {
		return absent("metadata")
	}
	return stream(func(w io.Writer) error { return a.cfg.Metadata.DumpMetadata(out.Context(), w) },
		func(b []byte) error { return out.Send(&holdallv1.DumpMetadataResponse{Data: b}) })
}

func (a *adminServer) ReleaseMetadata(ctx context.Context, _ *holdallv1.ReleaseMetadataRequest) (*holdallv1.ReleaseMetadataResponse, error) {
	if a.cfg.Metadata == nil {
		return nil, absent("metadata")
	}
	return &holdallv1.ReleaseMetadataResponse{}, a.cfg.Metadata.ReleaseMetadata(ctx)
}

// stream sends what write writes, in messages of streamChunk.
func stream(write func(io.Writer) error, send func([]byte) error) error {
	w := bufio.NewWriterSize(pieces(send), streamChunk)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// pieces is a Writer that sends each write, in messages that are not too large.
// gRPC has encoded a message when its Send returns.
type pieces func([]byte) error

func (send pieces) Write(p []byte) (n int, err error) {
	for n < len(p) {
		piece := p[n:min(len(p), n+streamChunk)]
		if err := send(piece); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}
