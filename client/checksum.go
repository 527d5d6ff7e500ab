package client

import (
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"hash/crc64"
)

// nvme is the polynomial of CRC64NVME, bits reversed.
const nvme = 0x9a6c9329ac4bc9b5

// checksum picks, of an object's checksums, the one that costs least to compare
// its bytes with, and returns the hash for it; nil if there is none of all bytes.
func checksum(all []Checksum) (Checksum, hash.Hash) {
	for _, known := range []struct {
		algorithm string
		hash      func() hash.Hash
	}{
		{"CRC32C", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
		{"CRC32", func() hash.Hash { return crc32.NewIEEE() }},
		{"CRC64NVME", func() hash.Hash { return crc64.New(crc64.MakeTable(nvme)) }},
		{"SHA256", sha256.New},
		{"SHA1", sha1.New},
	} {
		for _, c := range all {
			if c.Algorithm == known.algorithm && !c.Composite {
				return c, known.hash()
			}
		}
	}
	return Checksum{}, nil
}
