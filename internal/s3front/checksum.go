package s3front

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3api/utils"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/metadata"
)

// algorithms are the checksums that S3 knows, as manifests and S3's headers name
// them. Its structures have a field Checksum… for each.
var algorithms = []types.ChecksumAlgorithm{
	types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme,
	types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256, types.ChecksumAlgorithmSha512, types.ChecksumAlgorithmMd5,
	types.ChecksumAlgorithmXxhash64, types.ChecksumAlgorithmXxhash3, types.ChecksumAlgorithmXxhash128,
}

// sum is a checksum as S3 writes it.
type sum struct {
	algorithm types.ChecksumAlgorithm // "" = none
	value     string                  // base64; of a composite one without the count of parts
}

// sumIn returns the checksum that a structure of S3's has a value for. It is the
// same ten fields in every one of a dozen types, so they are found by name.
func sumIn(of any) sum {
	v := reflect.Indirect(reflect.ValueOf(of))
	for _, a := range algorithms {
		if f := v.FieldByName("Checksum" + string(a)); f.IsValid() && !f.IsNil() && f.Elem().String() != "" {
			value, _, _ := strings.Cut(f.Elem().String(), "-") // of a composite one the count of parts follows
			return sum{a, strings.Clone(value)}
		}
	}
	return sum{}
}

// set puts a checksum into a structure of S3's, given by address, if that has
// the field.
func (s sum) set(in any) {
	if s.algorithm == "" {
		return
	}
	if f := reflect.ValueOf(in).Elem().FieldByName("Checksum" + string(s.algorithm)); f.IsValid() {
		f.Set(reflect.ValueOf(&s.value))
	}
}

// hashType is what versitygw calls the algorithm.
func hashType(a types.ChecksumAlgorithm) utils.HashType {
	return utils.HashType(strings.ToLower(string(a)))
}

// stored returns s as attributes hold it.
func (s sum) stored(kind manifest.ChecksumKind) []manifest.Checksum {
	raw, err := base64.StdEncoding.DecodeString(s.value)
	if s.algorithm == "" || err != nil || len(raw) == 0 {
		return nil
	}
	return []manifest.Checksum{{Algorithm: string(s.algorithm), Kind: kind, Value: raw}}
}

// shown returns the checksum that attributes hold, in the form that clients see,
// and its kind: "" and none where there is none.
func shown(a *manifest.Attributes) (sum, types.ChecksumType) {
	if len(a.Checksums) == 0 {
		return sum{}, ""
	}
	c := a.Checksums[0]
	s := sum{types.ChecksumAlgorithm(c.Algorithm), base64.StdEncoding.EncodeToString(c.Value)}
	if c.Kind == manifest.Composite {
		s.value = fmt.Sprintf("%s-%d", s.value, a.Parts)
		return s, types.ChecksumTypeComposite
	}
	return s, types.ChecksumTypeFullObject
}

// combine makes the checksum of an object of those of its parts: the checksum of
// theirs, one behind the other, or for CRCs that of the bytes that they stand
// for.
func combine(a types.ChecksumAlgorithm, kind manifest.ChecksumKind, parts []metadata.Part, sums []string) (sum, error) {
	if kind == manifest.Composite {
		all, err := utils.NewCompositeChecksumReader(hashType(a))
		for i := 0; i < len(sums) && err == nil; i++ {
			err = all.Process(sums[i])
		}
		if err != nil {
			return sum{}, fmt.Errorf("composite %s: %w: %w", a, err, holdall.ErrCorrupt)
		}
		return sum{a, all.Sum()}, nil
	}
	total := sum{a, sums[0]}
	for i := 1; i < len(sums); i++ {
		var err error
		if total.value, err = utils.AddCRCChecksum(a, total.value, sums[i], parts[i].Size); err != nil {
			return sum{}, fmt.Errorf("full %s: %w: %w", a, err, holdall.ErrCorrupt)
		}
	}
	return total, nil
}
