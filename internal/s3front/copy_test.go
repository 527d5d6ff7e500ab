package s3front_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestCopies(t *testing.T) {
	c := start(t)
	b := c.bucket("copies")
	other := c.bucket("others")
	body := random(1, 5<<20)
	out, err := c.aws().PutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: aws.String("a b+c%/ü"), Body: bytes.NewReader(body), ContentType: aws.String("x/y"),
		CacheControl: aws.String("no-cache"), ContentDisposition: aws.String("inline"), ContentLanguage: aws.String("de"), ContentEncoding: aws.String("gzip"),
		Metadata: map[string]string{"colour": "blue"}, Tagging: aws.String("t=1&u=2")})
	if err != nil {
		t.Fatal(err)
	}
	source := aws.String(*b + "/a%20b%2Bc%25/%C3%BC")
	check := func(what string, in *s3.CopyObjectInput, colour, tag string) {
		t.Helper()
		in.Bucket, in.Key, in.CopySource = other, aws.String("copy"), source
		copied, err := c.aws().CopyObject(t.Context(), in)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if *copied.CopyObjectResult.ETag != *out.ETag || copied.CopyObjectResult.LastModified.IsZero() {
			t.Errorf("%s: %+v", what, copied.CopyObjectResult)
		}
		head, err := c.aws().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: other, Key: in.Key})
		if err != nil || head.Metadata["colour"] != colour {
			t.Errorf("%s: %+v, %v", what, head, err)
		}
		if colour == "blue" && (*head.ContentType != "x/y" || *head.CacheControl != "no-cache" || *head.ContentDisposition != "inline" || *head.ContentLanguage != "de" || *head.ContentEncoding != "gzip") {
			t.Errorf("%s: headers %+v", what, head)
		}
		tags, err := c.aws().GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: other, Key: in.Key})
		if err != nil || !slices.ContainsFunc(tags.TagSet, func(x types.Tag) bool { return *x.Key == tag }) {
			t.Errorf("%s: tags %+v, %v", what, tags, err)
		}
		if !bytes.Equal(c.get(other, "copy"), body) {
			t.Errorf("%s: other bytes", what)
		}
	}
	check("all kept", &s3.CopyObjectInput{}, "blue", "t")
	check("metadata replaced", &s3.CopyObjectInput{MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"colour": "red"}}, "red", "t")
	check("tags replaced", &s3.CopyObjectInput{TaggingDirective: types.TaggingDirectiveReplace, Tagging: aws.String("v=3")}, "blue", "v")
	check("matching", &s3.CopyObjectInput{CopySourceIfMatch: out.ETag}, "blue", "t")

	copyOf := func(source string, in s3.CopyObjectInput) error {
		in.Bucket, in.Key, in.CopySource = b, aws.String("x"), &source
		_, err := c.aws().CopyObject(t.Context(), &in)
		return err
	}
	c.wantCode("not matching", copyOf(*source, s3.CopyObjectInput{CopySourceIfMatch: aws.String("other")}), "PreconditionFailed")
	c.wantCode("matching, must not", copyOf(*source, s3.CopyObjectInput{CopySourceIfNoneMatch: out.ETag}), "PreconditionFailed")
	c.wantCode("no such key", copyOf(*b+"/none", s3.CopyObjectInput{}), "NoSuchKey")
	c.wantCode("no such bucket", copyOf("nowhere/k", s3.CopyObjectInput{}), "NoSuchBucket")
	c.put(b, "x", []byte("x"))
	c.wantCode("onto itself", copyOf(*b+"/x", s3.CopyObjectInput{}), "InvalidRequest")
	c.wantCode("onto itself, changed", copyOf(*b+"/x", s3.CopyObjectInput{MetadataDirective: types.MetadataDirectiveReplace}), "")
}

func TestTags(t *testing.T) {
	c := start(t)
	b := c.bucket("tags")
	key := aws.String("k")
	c.put(b, *key, []byte("x"))
	get := func() map[string]string {
		t.Helper()
		out, err := c.aws().GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: b, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		set := map[string]string{}
		for _, tag := range out.TagSet {
			set[*tag.Key] = *tag.Value
		}
		return set
	}
	put := func(pairs ...string) error {
		var set []types.Tag
		for i := 0; i < len(pairs); i += 2 {
			set = append(set, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
		}
		_, err := c.aws().PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: b, Key: key, Tagging: &types.Tagging{TagSet: set}})
		return err
	}
	if got := get(); len(got) != 0 {
		t.Errorf("tags %v, want none", got)
	}
	c.wantCode("put", put("a", "1", "b", "ü"), "")
	if got := get(); got["a"] != "1" || got["b"] != "ü" || len(got) != 2 {
		t.Errorf("tags %v", got)
	}
	var eleven []string
	for i := range 11 {
		eleven = append(eleven, "k"+itoa(i), "v")
	}
	c.wantCode("eleven", put(eleven...), "BadRequest")
	c.wantCode("twice", put("a", "1", "a", "2"), "InvalidTag")
	if _, err := c.aws().DeleteObjectTagging(t.Context(), &s3.DeleteObjectTaggingInput{Bucket: b, Key: key}); err != nil || len(get()) != 0 {
		t.Errorf("deleted: %v, %v", err, get())
	}
	key = aws.String("none")
	c.wantCode("of nothing", put("a", "1"), "NoSuchKey")
}
