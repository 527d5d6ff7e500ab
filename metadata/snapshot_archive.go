package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// An archive carries the files of one flat directory (a Pebble checkpoint) over
// a stream. Numbers are big-endian:
//
//	"HOLDSNP1"
//	for each file: length of the name (2), size (8), name, bytes, CRC32C of all four (4)
//	0 (2), number of files (4)
//
// Its size is known before it is sent, as Raft wants.
const archiveMagic = "HOLDSNP1"

// Limits of what is taken from a stream.
const (
	maxArchiveName  = 255
	maxArchiveFiles = 1 << 20
)

type archiveFile struct {
	name string
	size int64
}

// listArchive returns the files of dir in order of name, and the size of their
// archive in bytes.
func listArchive(fs vfs.FS, dir string) ([]archiveFile, int64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, 0, err
	}
	slices.Sort(names)
	files, size := make([]archiveFile, 0, len(names)), int64(len(archiveMagic)+2+4)
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return nil, 0, err
		}
		if info.IsDir() {
			continue
		}
		files = append(files, archiveFile{name, info.Size()})
		size += 2 + 8 + int64(len(name)) + info.Size() + 4
	}
	return files, size, nil
}

// writeArchive sends the files of dir to w.
func writeArchive(w io.Writer, fs vfs.FS, dir string, files []archiveFile) error {
	if _, err := io.WriteString(w, archiveMagic); err != nil {
		return err
	}
	for _, f := range files {
		if err := writeArchiveFile(w, fs, dir, f); err != nil {
			return fmt.Errorf("send %s: %w", f.name, err)
		}
	}
	_, err := w.Write(binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(len(files))))
	return err
}

func writeArchiveFile(w io.Writer, fs vfs.FS, dir string, f archiveFile) error {
	in, err := fs.Open(fs.PathJoin(dir, f.name), vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	out := io.MultiWriter(w, sum)
	h := binary.BigEndian.AppendUint16(nil, uint16(len(f.name)))
	h = append(binary.BigEndian.AppendUint64(h, uint64(f.size)), f.name...)
	if _, err := out.Write(h); err != nil {
		return err
	}
	if n, err := io.Copy(out, io.LimitReader(in, f.size)); err != nil {
		return err
	} else if n != f.size {
		return fmt.Errorf("is %d bytes, was %d", n, f.size)
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// readArchive makes the files that r carries in dir, which exists, and syncs
// them. Errors wrap ErrCorrupt where the stream is bad.
func readArchive(r io.Reader, fs vfs.FS, dir string) error {
	magic := make([]byte, len(archiveMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != archiveMagic {
		return fmt.Errorf("metadata snapshot: begins with %q, want %q: %w", magic, archiveMagic, holdall.ErrCorrupt)
	}
	for n := uint32(0); ; n++ {
		more, err := readArchiveFile(r, fs, dir)
		if err != nil {
			return fmt.Errorf("metadata snapshot: file %d: %w", n, err)
		}
		if more {
			if n == maxArchiveFiles {
				return fmt.Errorf("metadata snapshot: more than %d files: %w", maxArchiveFiles, holdall.ErrCorrupt)
			}
			continue
		}
		var count [4]byte
		if _, err := io.ReadFull(r, count[:]); err != nil || binary.BigEndian.Uint32(count[:]) != n {
			return fmt.Errorf("metadata snapshot: has %d files, its end says %x: %w", n, count, holdall.ErrCorrupt)
		}
		if _, err := io.ReadFull(r, count[:1]); err != io.EOF {
			return fmt.Errorf("metadata snapshot: goes on after its end: %w", holdall.ErrCorrupt)
		}
		return syncDir(fs, dir)
	}
}

// readArchiveFile makes one file, or returns false at the end of the archive.
func readArchiveFile(r io.Reader, fs vfs.FS, dir string) (more bool, err error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	in := io.TeeReader(r, sum)
	name, size, err := readArchiveHeader(in)
	if err != nil || name == "" {
		return false, err
	}
	path := fs.PathJoin(dir, name)
	if err := receiveFile(in, size, fs, path); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	want := sum.Sum32()
	var got [4]byte
	if _, err := io.ReadFull(r, got[:]); err != nil || binary.BigEndian.Uint32(got[:]) != want {
		return false, fmt.Errorf("%s: checksum %x, want %08x: %w", path, got, want, holdall.ErrCorrupt)
	}
	return true, nil
}

// readArchiveHeader returns the name and size of the next file, no name at the
// end of the archive.
func readArchiveHeader(in io.Reader) (name string, size int64, err error) {
	var h [10]byte
	if _, err := io.ReadFull(in, h[:2]); err != nil {
		return "", 0, fmt.Errorf("length of a name: %w: %w", err, holdall.ErrCorrupt)
	}
	n := binary.BigEndian.Uint16(h[:2])
	if n == 0 {
		return "", 0, nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, h[2:]); err != nil {
		return "", 0, fmt.Errorf("size: %w: %w", err, holdall.ErrCorrupt)
	}
	if _, err := io.ReadFull(in, b); err != nil {
		return "", 0, fmt.Errorf("name: %w: %w", err, holdall.ErrCorrupt)
	}
	name, size = string(b), int64(binary.BigEndian.Uint64(h[2:]))
	if n > maxArchiveName || size < 0 || strings.ContainsAny(name, "/\\\x00") || name[0] == '.' {
		return "", 0, fmt.Errorf("name %q, size %d: %w", name, size, holdall.ErrCorrupt)
	}
	return name, size, nil
}

// receiveFile copies size bytes of in to a new file and syncs it.
func receiveFile(in io.Reader, size int64, fs vfs.FS, path string) error {
	out, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = io.CopyN(out, in, size); err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
