package buffer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size and alignment of a huge page, in bytes.
const hugePage = 2 << 20

// mapMemory maps n bytes of zeros. From the size of a huge page on they are
// aligned to one and made of such, where the system has them: a request to a
// disk lists the pieces of memory that it takes, and 4 MiB in pages of 4 KiB
// are more pieces than a controller accepts in one request (often 254).
func mapMemory(n int) ([]byte, error) {
	if n < hugePage {
		return mapAt(n)
	}
	mem, err := mapAt(n + hugePage)
	if err != nil {
		return nil, err
	}
	// Give back what lies around the aligned part.
	skip := int(-uintptr(unsafe.Pointer(&mem[0])) % hugePage)
	for _, rest := range [][]byte{mem[:skip], mem[skip+n:]} {
		if err := unmapMemory(rest); err != nil {
			return nil, err
		}
	}
	mem = mem[skip : skip+n : skip+n]
	// A kernel without huge pages says so; small ones are only slower.
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE)
	return mem, nil
}

func mapAt(n int) ([]byte, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

// unmapMemory gives mem back to the system.
func unmapMemory(mem []byte) error {
	if len(mem) == 0 {
		return nil
	}
	return unix.MunmapPtr(unsafe.Pointer(&mem[0]), uintptr(len(mem)))
}
