package s3front_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math/bits"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// sumOf is the checksum of an algorithm, computed here.
func sumOf(a types.ChecksumAlgorithm, b []byte) string {
	var raw []byte
	switch a {
	case types.ChecksumAlgorithmCrc32:
		raw = binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b))
	case types.ChecksumAlgorithmCrc32c:
		raw = binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	case types.ChecksumAlgorithmCrc64nvme:
		raw = binary.BigEndian.AppendUint64(nil, crc64.Checksum(b, crc64.MakeTable(bits.Reverse64(0xad93d23594c93659))))
	case types.ChecksumAlgorithmSha1:
		s := sha1.Sum(b)
		raw = s[:]
	case types.ChecksumAlgorithmSha256:
		s := sha256.Sum256(b)
		raw = s[:]
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// given is the one checksum that an answer has.
func given(fields ...*string) string {
	for _, f := range fields {
		if f != nil {
			return *f
		}
	}
	return ""
}

var fiveAlgorithms = []types.ChecksumAlgorithm{types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme,
	types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256}

func TestChecksumsAreStored(t *testing.T) {
	c := start(t)
	b := c.bucket("checksums")
	body := random(1, 5<<20+3)
	for _, a := range fiveAlgorithms {
		in := &s3.PutObjectInput{Bucket: b, Key: aws.String(string(a)), Body: bytes.NewReader(body), ChecksumAlgorithm: a}
		put, err := c.aws().PutObject(t.Context(), in)
		if err != nil {
			t.Errorf("%s: %v", a, err)
			continue
		}
		want := sumOf(a, body)
		if got := given(put.ChecksumCRC32, put.ChecksumCRC32C, put.ChecksumCRC64NVME, put.ChecksumSHA1, put.ChecksumSHA256); got != want || put.ChecksumType != types.ChecksumTypeFullObject {
			t.Errorf("%s: put says %q, %s, want %q", a, got, put.ChecksumType, want)
		}
		head, err := c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: in.Key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || given(head.ChecksumCRC32, head.ChecksumCRC32C, head.ChecksumCRC64NVME, head.ChecksumSHA1, head.ChecksumSHA256) != want {
			t.Errorf("%s: head says %+v, %v", a, head, err)
		}
		if got := c.get(b, *in.Key); !bytes.Equal(got, body) { // the SDK verifies
			t.Errorf("%s: other bytes", a)
		}
		facts, err := c.aws().GetObjectAttributes(t.Context(), &s3.GetObjectAttributesInput{Bucket: b, Key: in.Key,
			ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesChecksum, types.ObjectAttributesEtag, types.ObjectAttributesObjectSize}})
		if err != nil || *facts.ObjectSize != int64(len(body)) || `"`+*facts.ETag+`"` != etagOf(body) ||
			given(facts.Checksum.ChecksumCRC32, facts.Checksum.ChecksumCRC32C, facts.Checksum.ChecksumCRC64NVME, facts.Checksum.ChecksumSHA1, facts.Checksum.ChecksumSHA256) != want {
			t.Errorf("%s: attributes %+v, %v", a, facts, err)
		}
		list, err := c.aws().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: b, Prefix: in.Key})
		if err != nil || !slices.Equal(list.Contents[0].ChecksumAlgorithm, []types.ChecksumAlgorithm{a}) {
			t.Errorf("%s: listed as %+v, %v", a, list, err)
		}
	}
}

// A body that nobody can rewind is sent in chunks, its checksum behind it.
func TestChecksumsInTrailers(t *testing.T) {
	c := start(t)
	b := c.bucket("checksums")
	body := random(1, 9<<20+1)
	for _, a := range fiveAlgorithms {
		key := string(a)
		request := c.trailing("PUT", "/"+*b+"/"+key, a, body, sumOf(a, body))
		out, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(out.Body)
		out.Body.Close()
		if out.StatusCode != 200 || out.Header.Get("ETag") != etagOf(body) {
			t.Errorf("%s: %s, ETag %s: %s", a, out.Status, out.Header.Get("ETag"), answer)
		}
		head, err := c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || given(head.ChecksumCRC32, head.ChecksumCRC32C, head.ChecksumCRC64NVME, head.ChecksumSHA1, head.ChecksumSHA256) != sumOf(a, body) || aws.ToString(head.ContentEncoding) != "gzip" {
			t.Errorf("%s: head says %+v, %v", a, head, err)
		}
		if got := c.get(b, key); !bytes.Equal(got, body) {
			t.Errorf("%s: other bytes", a)
		}
		request = c.trailing("PUT", "/"+*b+"/bad", a, body, sumOf(a, body[1:]))
		if out, err = http.DefaultClient.Do(request); err != nil {
			t.Fatal(err)
		}
		answer, _ = io.ReadAll(out.Body)
		out.Body.Close()
		if out.StatusCode != 400 || !bytes.Contains(answer, []byte("<Code>BadDigest</Code>")) {
			t.Errorf("%s, wrong: %s %s", a, out.Status, answer)
		}
	}
	_, err := c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: aws.String("bad")})
	c.wantCode("a body that failed its checksum", err, "NotFound")
}

// trailing is a signed request whose body is aws-chunked.
func (c *cell) trailing(method, path string, a types.ChecksumAlgorithm, body []byte, sum string) *http.Request {
	c.t.Helper()
	var chunks bytes.Buffer
	for piece := range slices.Chunk(body, 1<<20) {
		chunks.WriteString(hexSize(len(piece)))
		chunks.Write(piece)
		chunks.WriteString("\r\n")
	}
	name := "x-amz-checksum-" + string(bytes.ToLower([]byte(a)))
	chunks.WriteString("0\r\n" + name + ":" + sum + "\r\n\r\n")
	r, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.addr+path, bytes.NewReader(chunks.Bytes()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Encoding", "gzip,aws-chunked")
	r.Header.Set("X-Amz-Trailer", name)
	r.Header.Set("X-Amz-Decoded-Content-Length", itoa(len(body)))
	c.sign(r, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	return r
}

// sign signs a request that was made by hand.
func (c *cell) sign(r *http.Request, payload string) {
	c.t.Helper()
	c.signAs(r, c.access, c.secret.Reveal(), payload)
}

func (c *cell) signAs(r *http.Request, access, secret, payload string) {
	c.t.Helper()
	r.Header.Set("X-Amz-Content-Sha256", payload)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(c.t.Context(), aws.Credentials{AccessKeyID: access, SecretAccessKey: secret}, r, payload, "s3", "us-east-1", now()); err != nil {
		c.t.Fatal(err)
	}
}

func TestWrongChecksumsAreRefused(t *testing.T) {
	c := start(t)
	b := c.bucket("checksums")
	body := random(1, 100_000)
	put := func(change func(*s3.PutObjectInput)) error {
		in := &s3.PutObjectInput{Bucket: b, Key: aws.String("k"), Body: bytes.NewReader(body)}
		change(in)
		_, err := c.aws().PutObject(t.Context(), in)
		return err
	}
	c.wantCode("CRC32", put(func(in *s3.PutObjectInput) { in.ChecksumCRC32 = aws.String(sumOf(types.ChecksumAlgorithmCrc32, nil)) }), "BadDigest")
	c.wantCode("SHA256", put(func(in *s3.PutObjectInput) {
		in.ChecksumSHA256 = aws.String(sumOf(types.ChecksumAlgorithmSha256, nil))
	}), "BadDigest")
	c.wantCode("CRC64NVME", put(func(in *s3.PutObjectInput) {
		in.ChecksumCRC64NVME = aws.String(sumOf(types.ChecksumAlgorithmCrc64nvme, nil))
	}), "BadDigest")
	c.wantCode("Content-MD5", put(func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("1B2M2Y8AsgTpgAmY7PhCfg==") }), "BadDigest")
	c.wantCode("Content-MD5 of nonsense", put(func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("nonsense") }), "InvalidDigest")
	c.wantCode("CRC32 of nonsense", put(func(in *s3.PutObjectInput) { in.ChecksumCRC32 = aws.String("nonsense") }), "InvalidRequest")
	r, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+c.addr+"/checksums/k", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	c.sign(r, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") // of nothing
	out, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(out.Body); !bytes.Contains(answer, []byte("<Code>XAmzContentSHA256Mismatch</Code>")) {
		t.Errorf("payload hash: %s", answer)
	}
	out.Body.Close()
	_, err = c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: aws.String("k")})
	c.wantCode("after all of these", err, "NotFound")
}

// Checksums of uploads: of the parts' checksums, or of the whole object.
func TestUploadChecksums(t *testing.T) {
	c := start(t)
	b := c.bucket("checksums")
	one, two := random(1, part), random(2, 77_777)
	all := slices.Concat(one, two)
	for _, a := range fiveAlgorithms {
		for _, kind := range []types.ChecksumType{types.ChecksumTypeComposite, types.ChecksumTypeFullObject} {
			isSHA := a == types.ChecksumAlgorithmSha1 || a == types.ChecksumAlgorithmSha256
			if isSHA && kind == types.ChecksumTypeFullObject || a == types.ChecksumAlgorithmCrc64nvme && kind == types.ChecksumTypeComposite {
				continue // S3 has no such
			}
			u := c.upload(&s3.CreateMultipartUploadInput{Bucket: b, Key: aws.String(string(a) + string(kind)), ChecksumAlgorithm: a, ChecksumType: kind})
			u.part(1, one)
			u.part(2, two)
			out, err := u.complete()
			if err != nil {
				t.Errorf("%s %s: %v", a, kind, err)
				continue
			}
			want := sumOf(a, all)
			if kind == types.ChecksumTypeComposite {
				var sums []byte
				for _, p := range [][]byte{one, two} {
					raw, _ := base64.StdEncoding.DecodeString(sumOf(a, p))
					sums = append(sums, raw...)
				}
				want = sumOf(a, sums) + "-2"
			}
			if got := given(out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME, out.ChecksumSHA1, out.ChecksumSHA256); got != want || out.ChecksumType != kind {
				t.Errorf("%s %s: %q of type %s, want %q", a, kind, got, out.ChecksumType, want)
			}
			if !bytes.Equal(c.get(b, *u.in.Key), all) {
				t.Errorf("%s %s: other bytes", a, kind)
			}
		}
	}
}
