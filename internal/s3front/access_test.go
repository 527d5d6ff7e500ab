package s3front_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestWrongKeysOpenNothing(t *testing.T) {
	c := start(t)
	b := c.bucket("mine")
	c.put(b, "k", []byte("x"))
	list := func(access, secret string) error {
		_, err := awsClient(c.addr, access, secret).ListBuckets(t.Context(), &s3.ListBucketsInput{})
		return err
	}
	c.wantCode("wrong secret", list(c.access, "wrong"), "SignatureDoesNotMatch")
	c.wantCode("unknown key", list("HOLDNOBODY", "wrong"), "InvalidAccessKeyId")
	c.wantCode("right", list(c.access, c.secret.Reveal()), "")
	for _, path := range []string{"/", "/mine", "/mine/k", "/mine?policy", "/mine?acl", "/mine/k?acl", "/nowhere"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "POST", "HEAD"} {
			for _, authorization := range []string{"", "AWS4-HMAC-SHA256 Credential=/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00", "nonsense"} {
				r, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.addr+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				if authorization != "" {
					r.Header.Set("Authorization", authorization)
				}
				out, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				answer, _ := io.ReadAll(out.Body)
				out.Body.Close()
				if out.StatusCode < 400 || bytes.Contains(answer, []byte("NoSuchBucket")) || bytes.Contains(answer, []byte("NoSuchKey")) {
					t.Errorf("%s %s as %q: %s %s", method, path, authorization, out.Status, answer)
				}
			}
		}
	}
	if got := c.get(b, "k"); string(got) != "x" {
		t.Errorf("afterwards: %q", got)
	}
}

// The name in a signature that has none must not be versitygw's root user.
func TestTheEmptyAccessKeyIsNobody(t *testing.T) {
	c := start(t)
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+c.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.signAs(r, "", "", "UNSIGNED-PAYLOAD")
	out, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	out.Body.Close()
	if out.StatusCode != http.StatusForbidden {
		t.Errorf("%s, want 403", out.Status)
	}
}

func TestNamespacesSeeOnlyTheirOwn(t *testing.T) {
	c := start(t)
	mine := c.bucket("shared-name")
	c.put(mine, "k", []byte("mine"))
	row, secret, err := c.node.MakeCredential(t.Context(), c.namespace("other"), "other")
	if err != nil {
		t.Fatal(err)
	}
	other := awsClient(c.addr, row.AccessKey, secret.Reveal())
	out, err := other.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(out.Buckets) != 0 {
		t.Errorf("buckets: %+v, %v", out, err)
	}
	_, err = other.GetObject(t.Context(), &s3.GetObjectInput{Bucket: mine, Key: aws.String("k")})
	c.wantCode("another's object", err, "NoSuchBucket")
	_, err = other.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: mine})
	c.wantCode("another's bucket", err, "NoSuchBucket")
	if _, err = other.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: mine}); err != nil {
		t.Errorf("a bucket of the same name: %v", err)
	}
	_, err = other.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: mine, Key: aws.String("k"), CopySource: aws.String("shared-name/k")})
	c.wantCode("copy of another's object", err, "NoSuchKey")
	if got := c.get(mine, "k"); string(got) != "mine" {
		t.Errorf("mine is now %q", got)
	}
}

func TestPresignedRequests(t *testing.T) {
	c := start(t)
	b := c.bucket("presigned")
	p := s3.NewPresignClient(c.aws())
	put, err := p.PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: aws.String("a key")})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequestWithContext(t.Context(), put.Method, put.URL, strings.NewReader("presigned"))
	r.Header = put.SignedHeader
	out, err := http.DefaultClient.Do(r)
	if err != nil || out.StatusCode != 200 {
		t.Fatalf("put: %v, %v", out, err)
	}
	out.Body.Close()
	get, err := p.PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("a key"), ResponseContentType: aws.String("text/x")})
	if err != nil {
		t.Fatal(err)
	}
	if out, err = http.Get(get.URL); err != nil {
		t.Fatal(err)
	}
	if got := c.read(out.Body); string(got) != "presigned" || out.Header.Get("Content-Type") != "text/x" {
		t.Errorf("got %q as %s", got, out.Header.Get("Content-Type"))
	}
	if out, err = http.Get(strings.Replace(get.URL, "a%20key", "b%20key", 1)); err != nil {
		t.Fatal(err)
	}
	out.Body.Close()
	if out.StatusCode != http.StatusForbidden {
		t.Errorf("a signature for another key: %s", out.Status)
	}
}

func TestBuckets(t *testing.T) {
	c := start(t)
	for _, name := range []string{"bucket-c", "bucket-a", "bucket-b", "other"} {
		c.bucket(name)
	}
	_, err := c.aws().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket-a")})
	c.wantCode("again", err, "BucketAlreadyOwnedByYou")
	_, err = c.aws().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("Not_A_Name")})
	c.wantCode("bad name", err, "InvalidBucketName")
	_, err = c.aws().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("locked"), ObjectLockEnabledForBucket: aws.Bool(true)})
	c.wantCode("with locks", err, "NotImplemented")
	var names []string
	in := &s3.ListBucketsInput{Prefix: aws.String("bucket-"), MaxBuckets: aws.Int32(2)}
	for {
		out, err := c.aws().ListBuckets(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range out.Buckets {
			names = append(names, *b.Name)
			if time.Since(*b.CreationDate) > time.Hour {
				t.Errorf("%s was made at %v", *b.Name, b.CreationDate)
			}
		}
		if out.ContinuationToken == nil {
			break
		}
		in.ContinuationToken = out.ContinuationToken
	}
	if got := strings.Join(names, " "); got != "bucket-a bucket-b bucket-c" {
		t.Errorf("listed %s", got)
	}
	b := aws.String("bucket-a")
	where, err := c.aws().GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: b})
	if err != nil || where.LocationConstraint != "" {
		t.Errorf("location %+v, %v", where, err)
	}
	c.put(b, "k", nil)
	_, err = c.aws().DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: b})
	c.wantCode("not empty", err, "BucketNotEmpty")
	if _, err = c.aws().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: aws.String("k")}); err != nil {
		t.Error(err)
	}
	if _, err = c.aws().DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: b}); err != nil {
		t.Error(err)
	}
	_, err = c.aws().HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: b})
	c.wantCode("gone", err, "NotFound")
	_, err = c.aws().DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: b})
	c.wantCode("deleted again", err, "NoSuchBucket")
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	c := start(t)
	b := c.bucket("missing")
	none := aws.String("none")
	_, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: none})
	c.wantCode("get", err, "NoSuchKey")
	_, err = c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: none})
	c.wantCode("head", err, "NotFound")
	_, err = c.aws().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: none})
	c.wantCode("delete", err, "")
	c.put(b, "deleted", []byte("x"))
	if _, err = c.aws().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: aws.String("deleted")}); err != nil {
		t.Error(err)
	}
	_, err = c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("deleted")})
	c.wantCode("get what was deleted", err, "NoSuchKey")
	for what, call := range map[string]func() error{
		"put": func() error {
			_, err := c.aws().PutObject(t.Context(), &s3.PutObjectInput{Bucket: none, Key: none, Body: bytes.NewReader(random(1, 6<<20))})
			return err
		},
		"get": func() error {
			_, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: none, Key: none})
			return err
		},
		"list": func() error {
			_, err := c.aws().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: none})
			return err
		},
		"upload": func() error {
			_, err := c.aws().CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: none, Key: none})
			return err
		},
		"delete": func() error {
			_, err := c.aws().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: none, Key: none})
			return err
		},
	} {
		c.wantCode(what+" in no bucket", call(), "NoSuchBucket")
	}
	_, err = c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: none, VersionId: aws.String("3")})
	c.wantCode("a version", err, "NoSuchVersion")
	c.put(b, "k", []byte("x"))
	if _, err = c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("k"), VersionId: aws.String("null")}); err != nil {
		t.Errorf("the version without an id: %v", err)
	}
}

func TestDeleteObjects(t *testing.T) {
	c := start(t)
	b := c.bucket("deletes")
	var names []types.ObjectIdentifier
	for i := range 50 {
		k := "key " + itoa(i)
		c.put(b, k, []byte(k))
		names = append(names, types.ObjectIdentifier{Key: &k})
	}
	names = append(names, types.ObjectIdentifier{Key: aws.String("never there")}, types.ObjectIdentifier{Key: aws.String("k"), VersionId: aws.String("7")})
	out, err := c.aws().DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: names}})
	if err != nil || len(out.Deleted) != 51 || len(out.Errors) != 1 || *out.Errors[0].Code != "NoSuchVersion" {
		t.Errorf("%d deleted, errors %+v, %v", len(out.Deleted), out.Errors, err)
	}
	if keys, _ := c.listV2(&s3.ListObjectsV2Input{Bucket: b}); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

// What a bucket does not have is answered as S3 does; what Holdall cannot do, it
// says.
func TestWhatThereIsNot(t *testing.T) {
	c := start(t)
	b := c.bucket("without")
	c.put(b, "k", []byte("x"))
	for _, x := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "?policy", 404, "NoSuchBucketPolicy"},
		{"GET", "?cors", 404, "NoSuchCORSConfiguration"},
		{"GET", "?tagging", 404, "NoSuchTagSet"},
		{"GET", "?website", 404, "NoSuchWebsiteConfiguration"},
		{"GET", "?object-lock", 404, "ObjectLockConfigurationNotFoundError"},
		{"GET", "?versioning", 200, "VersioningConfiguration"},
		{"GET", "?acl", 200, "FULL_CONTROL"},
		{"GET", "?ownershipControls", 200, "BucketOwnerEnforced"},
		{"GET", "?lifecycle", 501, "NotImplemented"},
		{"GET", "?encryption", 501, "NotImplemented"},
		{"GET", "?replication", 501, "NotImplemented"},
		{"GET", "?versions", 501, "NotImplemented"},
		{"PUT", "?policy", 501, "NotImplemented"},
		{"PUT", "?lifecycle", 501, "NotImplemented"},
		{"POST", "", 501, "NotImplemented"},
		{"GET", "/k?acl", 501, "NotImplemented"},
		{"GET", "/k?retention", 501, "NotImplemented"},
		{"GET", "/k?legal-hold", 501, "NotImplemented"},
		{"POST", "/k?restore", 501, "NotImplemented"},
	} {
		body := io.Reader(nil)
		if x.method == "PUT" && x.path == "?policy" {
			body = strings.NewReader(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::without/*"}]}`)
		}
		if strings.HasSuffix(x.path, "restore") {
			body = strings.NewReader("<RestoreRequest><Days>1</Days></RestoreRequest>")
		}
		r, err := http.NewRequestWithContext(t.Context(), x.method, "http://"+c.addr+"/without"+x.path, body)
		if err != nil {
			t.Fatal(err)
		}
		c.sign(r, "UNSIGNED-PAYLOAD")
		out, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if answer := string(c.read(out.Body)); out.StatusCode != x.status || !strings.Contains(answer, x.code) {
			t.Errorf("%s %s: %s %s, want %d %s", x.method, x.path, out.Status, answer, x.status, x.code)
		}
	}
}
