package assess

import (
	"github.com/holdall/holdall"
)

// What Holdall adds to the bytes of objects. Each figure is of docs/format/.
const (
	directoryLine = 48       // bytes in a pack's directory, a block
	manifestHead  = 256      // bytes of a manifest beside its ids: sizes, times, ETag, headers; about
	manifestEntry = 36       // bytes of a manifest, a block
	recordHeader  = 4096     // bytes, a shard of a stripe
	sectorLoss    = 4096 / 2 // bytes, a shard: zeros to the end of its last sector, at a mean
	rowOverhead   = 64       // bytes in metadata, a block
	objectRow     = 160      // bytes in metadata, an object, beside its key
	replicas      = 3        // of metadata
)

// Footprint is what the objects would take on Holdall.
type Footprint struct {
	Scheme    string  `json:"scheme"`
	Blocks    int64   `json:"blocks"`         // data and manifests
	Stored    int64   `json:"stored_bytes"`   // blocks with their directories
	Disk      int64   `json:"disk_bytes"`     // with parity, record headers and sectors
	Overhead  float64 `json:"overhead"`       // disk for a byte of user data
	Metadata  int64   `json:"metadata_bytes"` // on all replicas
	ToBuy     int64   `json:"to_buy_bytes"`   // so that the disks are as full as planned
	Assumes   string  `json:"assumes"`
	UserBytes int64   `json:"user_bytes"`
}

// blockCount adds up what objects come to in blocks.
type blockCount struct {
	objects, bytes, keys   int64
	data, nodes, manifests int64 // blocks; nodes of manifests below a root
	entries                int64
}

// add takes an object in. One of up to 64 KiB lies in its manifest.
func (b *blockCount) add(size int64, key int) {
	b.objects++
	b.bytes += size
	b.keys += int64(key)
	b.manifests++
	if size <= holdall.MaxInline {
		return
	}
	blocks := (size + holdall.MaxBlockSize - 1) / holdall.MaxBlockSize
	b.data += blocks
	b.entries += blocks
	for level := blocks; level > holdall.MaxNodeEntries; {
		level = (level + holdall.MaxNodeEntries - 1) / holdall.MaxNodeEntries
		b.nodes += level
		b.entries += level
	}
}

// footprint is what that comes to on disks, in full stripes.
func (b *blockCount) footprint(scheme holdall.Scheme, fill float64) Footprint {
	f := Footprint{Scheme: scheme.String(), UserBytes: b.bytes, Blocks: b.data + b.nodes + b.manifests}
	f.Stored = b.bytes + b.keys + f.Blocks*directoryLine + (b.manifests+b.nodes)*manifestHead + b.entries*manifestEntry
	packs := f.Stored/holdall.MaxBlockSize + 1
	perPack := float64(recordHeader + sectorLoss)
	f.Disk = int64(scheme.Ideal() * (float64(f.Stored) + float64(packs)*perPack))
	if b.bytes > 0 {
		f.Overhead = float64(f.Disk) / float64(b.bytes)
	}
	f.Metadata = replicas * (f.Blocks*rowOverhead + b.objects*objectRow + b.keys)
	f.ToBuy = int64(float64(f.Disk) / fill)
	f.Assumes = "full stripes, no equal bytes, current versions only; objects up to 64 KiB lie in their manifests"
	return f
}
