package volume

import (
	"encoding/binary"
	"fmt"

	"github.com/holdall/holdall"
)

// Offsets in a line of a pack's directory and in its tail
// (docs/format/pack.md).
const (
	dirID        = 0
	dirNamespace = 32
	dirOffset    = 36
	dirLength    = 40
	dirFlags     = 44
	dirEntrySize = 48

	dirTailVersion  = 8
	dirTailReserved = 10
	dirTailCount    = 12
	dirTailLength   = 16 // of the directory, tail included
	dirTailPayload  = 20 // of the whole payload
	dirTailSpare    = 24
	dirTailSum      = 28
	dirTailSize     = 32
)

// The flags of a block in a pack's directory: what a commit would have made of
// it, for when only the directory is left.
const (
	BlockPending uint32 = 1 << 0 // put on behalf of an object: pending, not direct
	BlockCopy    uint32 = 1 << 1 // a copy that takes an older one's place (a move or a replacement), not a put

	blockFlags = BlockPending | BlockCopy
)

// DirectorySize returns the bytes that the directory of a pack takes, at the
// end of its payload.
func DirectorySize(blocks int) int { return blocks*dirEntrySize + dirTailSize }

// AppendDirectory appends the directory of a pack that holds entries, end to
// end from payload offset 0, to dst. It panics when entries could not be read
// back: none, too many, not end to end, too long, unknown flags.
func AppendDirectory(dst []byte, entries []BlockEntry) []byte {
	end, err := checkEntries(entries)
	invariant(err == nil, fmt.Sprintf("directory of a pack: %v", err))
	le := binary.LittleEndian
	start := len(dst)
	for i := range entries {
		e := &entries[i]
		dst = append(dst, e.ID[:]...)
		dst = le.AppendUint32(dst, uint32(e.Namespace))
		dst = le.AppendUint32(dst, e.Offset)
		dst = le.AppendUint32(dst, e.Length)
		dst = le.AppendUint32(dst, e.Flags)
	}
	size := DirectorySize(len(entries))
	dst = append(dst, PackMagic...)
	dst = le.AppendUint16(dst, FormatVersion)
	dst = le.AppendUint16(dst, 0)
	dst = le.AppendUint32(dst, uint32(len(entries)))
	dst = le.AppendUint32(dst, uint32(size))
	dst = le.AppendUint32(dst, end+uint32(size))
	dst = le.AppendUint32(dst, 0)
	return le.AppendUint32(dst, checksum(dst[start:]))
}

// ParseDirectory reads the directory at the end of a pack's payload. Its errors
// wrap ErrCorrupt.
func ParseDirectory(payload []byte) ([]BlockEntry, error) {
	return ParseDirectoryTail(payload, len(payload))
}

// ParseDirectoryTail is ParseDirectory for whoever has read only the last bytes
// of a payload of length bytes. DirectorySize(holdall.MaxPackBlocks) of them
// always suffice.
func ParseDirectoryTail(payload []byte, length int) ([]BlockEntry, error) {
	if len(payload) < dirTailSize || len(payload) > length || length > MaxPayload {
		return nil, malformed("pack of %d bytes", length)
	}
	le := binary.LittleEndian
	tail := payload[len(payload)-dirTailSize:]
	count := int64(le.Uint32(tail[dirTailCount:]))
	size := count*dirEntrySize + dirTailSize
	switch {
	case string(tail[:8]) != PackMagic:
		return nil, malformed("pack: magic %q, want %q", tail[:8], PackMagic)
	case count == 0 || count > holdall.MaxPackBlocks || size > int64(len(payload)):
		return nil, malformed("pack of %d bytes: directory of %d blocks", length, count)
	}
	dir := payload[int64(len(payload))-size:]
	switch {
	case le.Uint32(tail[dirTailSum:]) != checksum(dir[:len(dir)-4]):
		return nil, malformed("pack: checksum of directory differs")
	case le.Uint16(tail[dirTailVersion:]) != FormatVersion:
		return nil, malformed("pack: version %d, this program knows %d", le.Uint16(tail[dirTailVersion:]), FormatVersion)
	case le.Uint16(tail[dirTailReserved:]) != 0 || le.Uint32(tail[dirTailSpare:]) != 0:
		return nil, malformed("pack: reserved bytes are not zero")
	case int64(le.Uint32(tail[dirTailLength:])) != size || int(le.Uint32(tail[dirTailPayload:])) != length:
		return nil, malformed("pack of %d bytes says it has %d", length, le.Uint32(tail[dirTailPayload:]))
	}
	entries := make([]BlockEntry, count)
	for i := range entries {
		b := dir[i*dirEntrySize:]
		entries[i] = BlockEntry{
			ID:        holdall.BlockID(b[dirID:dirNamespace]),
			Namespace: holdall.NamespaceID(le.Uint32(b[dirNamespace:])),
			Offset:    le.Uint32(b[dirOffset:]),
			Length:    le.Uint32(b[dirLength:]),
			Flags:     le.Uint32(b[dirFlags:]),
		}
	}
	if end, err := checkEntries(entries); err != nil {
		return nil, err
	} else if int64(end)+size != int64(length) {
		return nil, malformed("pack: blocks end at %d, directory begins at %d", end, int64(length)-size)
	}
	return entries, nil
}

// checkEntries checks that entries lie end to end from 0 and returns where they
// end.
func checkEntries(entries []BlockEntry) (uint32, error) {
	if len(entries) == 0 || len(entries) > holdall.MaxPackBlocks {
		return 0, malformed("%d blocks, want 1 to %d", len(entries), holdall.MaxPackBlocks)
	}
	var end uint32
	for i := range entries {
		e := &entries[i]
		switch {
		case e.Length == 0 || e.Length > holdall.MaxBlockSize:
			return 0, malformed("block %d of %d bytes", i, e.Length)
		case e.Offset != end:
			return 0, malformed("block %d at %d, want %d", i, e.Offset, end)
		case e.Flags&^blockFlags != 0:
			return 0, malformed("block %d: flags %#x", i, e.Flags)
		}
		if end += e.Length; end > holdall.MaxBlockSize {
			return 0, malformed("blocks of more than %d bytes", holdall.MaxBlockSize)
		}
	}
	return end, nil
}
