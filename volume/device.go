package volume

// Geometry is what a device's zones are like. Sizes are in bytes and multiples
// of SectorSize.
type Geometry struct {
	ZoneSize int64 // writable bytes of a zone (its capacity)
	Zones    int   // how many zones the device has now; a directory's is what its filesystem could hold
	MaxOpen  int   // the most zones that may be part-written at once; 0 = no limit
}

// SectorSize is the unit of every write and read on a device, in bytes.
const SectorSize = 4096

// Device is one disk as zones that are written only at their write pointer and
// reused only after a whole-zone reset. What passes on a host-managed SMR disk
// is all that it offers, on every backend. Calls for different zones may run at
// the same time; calls for one zone may not, but for ReadAt below the write
// pointer. Buffers are aligned to SectorSize in address and length, and are not
// kept. Errors wrap a kind of package holdall.
type Device interface {
	Geometry() Geometry

	// WritePointer returns the offset at which the next Append to zone must
	// go, and whether the device itself knows it: a raw conventional disk
	// answers false after it is opened, until the zone is reset or SetPointer
	// told it where the log ends. A finished zone's pointer is ZoneSize.
	WritePointer(zone int) (off int64, known bool)

	// SetPointer tells a device that does not know a zone's pointer where the
	// log in it ends. Where the device does know, a differing off is ErrStale.
	SetPointer(zone int, off int64) error

	// Append writes bufs, one after another, at off, which must be the zone's
	// write pointer (ErrStale otherwise). The bytes are durable only after
	// Sync. After an error other than ErrStale or ErrInvalid the zone's state
	// is unknown and the caller must not append to it again.
	Append(zone int, off int64, bufs ...[]byte) error

	// ReadAt fills buf from off. It goes around the page cache where the
	// backend can. Reading at or above the write pointer is ErrInvalid where
	// the pointer is known.
	ReadAt(zone int, off int64, buf []byte) error

	// Reset empties zone: its pointer becomes 0. It is durable on return.
	Reset(zone int) error

	// Finish closes zone to appends without filling it, and is durable on
	// return: it no longer counts against MaxOpen.
	Finish(zone int) error

	// Sync makes all that was appended to zones durable. It is called once for
	// a group of appends. A failed Sync is never retried.
	Sync(zones ...int) error

	// Check says whether the disk is still the one that was opened: a removed,
	// renamed or unmounted directory goes on accepting writes through open
	// handles. It is called before each answer to an append, and must be cheap.
	Check() error

	Close() error
}
