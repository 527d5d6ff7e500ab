package volume

// Geometry is what a device's zones are like. Sizes are in bytes and multiples
// of SectorSize.
type Geometry struct {
	ZoneSize int64 // writable bytes of a zone (its capacity)
	Zones    int   // how many zones the device has; a directory's is what its filesystem could hold
	MaxOpen  int   // the most zones that may be part-written at once; 0 = no limit

	// Available is how many empty zones the device has room for now. It is
	// below the number of empty zones only where others fill the same space: a
	// directory shares its filesystem, a sparse image its host's.
	Available int
}

// SectorSize is the unit of every write and read on a device, in bytes.
const SectorSize = 4096

// DefaultZoneSize is the zone size of devices whose own zones nobody knows, in
// bytes: what host-managed disks have.
const DefaultZoneSize = 256 << 20

// Device is one disk as zones that are written only at their write pointer and
// reused only after a whole-zone reset. What passes on a host-managed SMR disk
// is all that it offers, on every backend. Calls for different zones may run at
// the same time; calls for one zone may not, but for ReadAt below the write
// pointer, and Append while a Sync of earlier appends is at work. Buffers are aligned to SectorSize in address and length,
// and are not kept. Errors wrap a kind of package holdall: ErrInvalid for calls
// that no device could carry out, ErrDiskFailed for writes and syncs that
// failed, ErrDiskFull for those that found no room, ErrUnavailable for reads
// that failed.
type Device interface {
	Geometry() Geometry

	// WritePointer returns the offset at which the next Append to zone must
	// go, and whether the device itself knows it: a raw conventional disk
	// answers false after it is opened, until the zone is reset or SetPointer
	// told it where the log ends. Any device answers false when it cannot find
	// out. A finished zone's pointer is ZoneSize.
	WritePointer(zone int) (off int64, known bool)

	// SetPointer tells a device that does not know a zone's pointer where the
	// log in it ends. Where the device does know, a differing off is ErrStale.
	SetPointer(zone int, off int64) error

	// Append writes bufs, one after another, at off, which must be the zone's
	// write pointer (ErrStale otherwise). The bytes are durable only after
	// Sync. The first Append to an empty zone is ErrExhausted when MaxOpen
	// zones are open. After an error other than ErrStale, ErrInvalid and
	// ErrExhausted the zone's state is unknown; the device refuses to append to
	// it until it is reset. An ErrDiskFull at off 0 left the zone empty.
	Append(zone int, off int64, bufs ...[]byte) error

	// ReadAt fills buf from off. It goes around the page cache where the
	// backend can. Reading at or above the write pointer is ErrInvalid where
	// the pointer is known. What lies between the last append and the end of a
	// finished zone is undefined.
	ReadAt(zone int, off int64, buf []byte) error

	// Reset empties zone: its pointer becomes 0. It is durable on return.
	Reset(zone int) error

	// Finish closes zone to appends without filling it, and is durable on
	// return where the device knows pointers: it no longer counts against
	// MaxOpen. It may, but need not, make the zone's bytes durable.
	Finish(zone int) error

	// Sync makes all that was appended to zones durable. It is called once for
	// a group of appends. A failed Sync is never retried: the device refuses to
	// append to the zones whose bytes it may have lost.
	Sync(zones ...int) error

	// Check says whether the disk is still the one that was opened: a removed,
	// renamed or unmounted directory goes on accepting writes through open
	// handles. It is called before each answer to an append, and must be cheap.
	Check() error

	Close() error
}
