package wire

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// bytesCodec sends and receives messages as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (bytesCodec) Unmarshal(b mem.BufferSlice, v any) error {
	*v.(*[]byte) = b.Materialize()
	return nil
}

// seedObjects calls seed with requests of objects and namespaces.
func seedObjects(seed func(name, size string, m proto.Message)) {
	key, bucket := []byte("k\xff"), "bucket"
	seed(holdallv1.ObjectService_Put_FullMethodName, "3", &holdallv1.PutObjectRequest{Head: &holdallv1.PutObjectHead{Bucket: bucket, Key: key}, Data: []byte("abc"), Crc32C: proto.Uint32(0x364b3fb7)})
	seed(holdallv1.ObjectService_Get_FullMethodName, "", &holdallv1.GetObjectRequest{Bucket: bucket, Key: key, Offset: -1})
	seed(holdallv1.ObjectService_Head_FullMethodName, "", &holdallv1.HeadObjectRequest{Bucket: bucket, Key: key, Version: 1})
	seed(holdallv1.ObjectService_List_FullMethodName, "", &holdallv1.ListObjectsRequest{Bucket: bucket, Delimiter: []byte("/")})
	seed(holdallv1.ObjectService_Delete_FullMethodName, "", &holdallv1.DeleteObjectRequest{Bucket: bucket, Key: key, Condition: &holdallv1.Condition{Present: true}})
	seed(holdallv1.ObjectService_Undelete_FullMethodName, "", &holdallv1.UndeleteObjectRequest{Bucket: bucket, Key: key})
	seed(holdallv1.ObjectService_Copy_FullMethodName, "", &holdallv1.CopyObjectRequest{Bucket: bucket, Key: key, FromBucket: bucket, FromKey: key, Tags: &holdallv1.CopyObjectRequest_Tags{}})
	seed(holdallv1.ObjectService_SetTags_FullMethodName, "", &holdallv1.SetObjectTagsRequest{Bucket: bucket, Key: key, Tags: []*holdallv1.Tag{{Key: "a"}}})
	seed(holdallv1.ObjectService_RemoveBucket_FullMethodName, "", &holdallv1.RemoveBucketRequest{Bucket: bucket})
	seed(holdallv1.AdminService_CreateNamespace_FullMethodName, "", &holdallv1.CreateNamespaceRequest{Name: "photos", Quota: math.MaxUint64})
	seed(holdallv1.AdminService_SetNamespace_FullMethodName, "", &holdallv1.SetNamespaceRequest{Name: "photos", Quota: proto.Uint64(0)})
	seed(holdallv1.AdminService_CreateCredential_FullMethodName, "", &holdallv1.CreateCredentialRequest{Note: "n"})
}

// FuzzCalls sends any bytes, as the message of any of our methods, with any
// size header: the server answers OK or with a code that blames the caller,
// stores only blocks that it was sent whole, and gives all memory back.
func FuzzCalls(f *testing.F) {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(methods())), func(n string) bool { return !strings.HasPrefix(n, "/holdall.") })
	seed := func(name, size string, m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(slices.Index(names, name)), size, b)
	}
	id := make([]byte, 32)
	seed(holdallv1.BlockService_Put_FullMethodName, "3", &holdallv1.PutRequest{Data: []byte("abc")})
	seed(holdallv1.BlockService_Put_FullMethodName, "", &holdallv1.PutRequest{Namespace: "photos", Id: id, Data: []byte("abc")})
	seed(holdallv1.BlockService_Get_FullMethodName, "", &holdallv1.GetRequest{Id: id, Offset: math.MaxUint32, Length: 1})
	seed(holdallv1.BlockService_Stat_FullMethodName, "", &holdallv1.StatRequest{Id: id})
	for _, name := range []string{holdallv1.BlockService_Missing_FullMethodName, holdallv1.BlockService_Claim_FullMethodName, holdallv1.BlockService_Delete_FullMethodName, holdallv1.BlockService_Undelete_FullMethodName} {
		seed(name, "", &holdallv1.MissingRequest{Ids: [][]byte{id, id[:3]}})
	}
	seed(holdallv1.AdminService_ShowDisk_FullMethodName, "", &holdallv1.ShowDiskRequest{Disk: aDisk.Path})
	seed(holdallv1.AdminService_AddDisk_FullMethodName, "", &holdallv1.AddDiskRequest{Path: "/x", Domain: "rack"})
	seed(holdallv1.AdminService_ReadmitDisk_FullMethodName, "", &holdallv1.ReadmitDiskRequest{Disk: "/x"})
	seed(holdallv1.AdminService_ListVolumes_FullMethodName, "", &holdallv1.ListVolumesRequest{After: math.MaxUint64, Limit: math.MaxUint32})
	seed(holdallv1.AdminService_ShowVolume_FullMethodName, "", &holdallv1.ShowVolumeRequest{Id: 5})
	seed(holdallv1.AdminService_SealVolumes_FullMethodName, "", &holdallv1.SealVolumesRequest{Ids: []uint64{1, 0}, All: true})
	seedObjects(seed)
	for _, name := range names {
		f.Add(uint8(slices.Index(names, name)), "", []byte(nil))
	}

	front := newFront(f, nil)
	front.ops.volumes = []holdall.VolumeID{5}
	conn := front.plain(grpc.ForceCodecV2(bytesCodec{}))
	table := methods()
	f.Fuzz(func(t *testing.T, method uint8, size string, message []byte) {
		name := names[int(method)%len(names)]
		ctx := context.Background()
		if size != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, client.SizeHeader, size)
		}
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: table[name].stream}, name)
		if err == nil {
			if err = stream.SendMsg(message); err == nil {
				var out []byte
				for err == nil {
					if err = stream.RecvMsg(&out); !table[name].stream {
						break
					}
				}
			}
		}
		switch code := status.Code(err); {
		case err == nil || err.Error() == "EOF", code == codes.OK, code == codes.InvalidArgument, code == codes.NotFound:
		case code == codes.AlreadyExists, code == codes.FailedPrecondition && strings.Contains(name, "ObjectService"):
		case code == codes.Internal && strings.Contains(err.Error(), "header"): // a header that no client may send
		default:
			t.Errorf("%s with header %q and message %x: %v", name, size, message, err)
		}
		if n := counted(front.server.metrics.panics); n != 0 {
			t.Fatalf("%s with message %x: panicked", name, message)
		}
		waitFor(t, "memory to be given back", func() bool { now, _ := front.cell.inFlight(); return now == 0 })
		front.cell.mu.Lock()
		defer front.cell.mu.Unlock()
		for id, data := range front.cell.blocks {
			if holdall.HashBlock(data) != id || len(data) == 0 {
				t.Errorf("block %v is stored with %d other bytes", id, len(data))
			}
		}
		clear(front.cell.blocks)
	})
}
