package s3front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/versity/versitygw/s3err"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
)

func TestErrorsHaveS3sWords(t *testing.T) {
	var log bytes.Buffer
	f := &Front{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	for _, x := range []struct {
		err    error
		code   string
		status int
	}{
		{object.ErrNoBucket, "NoSuchBucket", 404},
		{object.ErrNoKey, "NoSuchKey", 404},
		{object.ErrMarked, "NoSuchKey", 404},
		{object.ErrNoVersion, "NoSuchVersion", 404},
		{object.ErrNoUpload, "NoSuchUpload", 404},
		{object.ErrNotEmpty, "BucketNotEmpty", 409},
		{object.ErrRange, "InvalidRange", 416},
		{object.ErrShortBody, "IncompleteBody", 400},
		{io.ErrUnexpectedEOF, "IncompleteBody", 400},
		{object.ErrTooLarge, "EntityTooLarge", 400},
		{object.ErrInvalidPart, "InvalidPart", 400},
		{object.ErrPartOrder, "InvalidPartOrder", 400},
		{object.ErrPartTooSmall, "EntityTooSmall", 400},
		{holdall.ErrCondition, "PreconditionFailed", 412},
		{holdall.ErrExists, "BucketAlreadyOwnedByYou", 409},
		{holdall.ErrExhausted, "SlowDown", 503},
		{&holdall.RetryAfter{Err: holdall.ErrUnavailable}, "SlowDown", 503},
		{context.Canceled, "SlowDown", 503},
		{context.DeadlineExceeded, "SlowDown", 503},
		{os.ErrDeadlineExceeded, "RequestTimeout", 400},
		{holdall.ErrInvalid, "InvalidArgument", 400},
		{holdall.ErrRefused, "OperationAborted", 409},
		{holdall.ErrDataLoss, "InternalError", 500},
		{holdall.ErrCorrupt, "InternalError", 500},
		{errors.New("something"), "InternalError", 500},
		{s3err.GetAPIError(s3err.ErrSlowDown), "SlowDown", 503},
	} {
		log.Reset()
		var got s3err.S3Error
		if err := f.answerOf("GetObject", fmt.Errorf("wrapped: %w", x.err), about{"b", "k", "u"}); !errors.As(err, &got) {
			t.Errorf("%v: %v is none of S3's", x.err, err)
			continue
		}
		if got.BaseError().Code != x.code || got.StatusCode() != x.status {
			t.Errorf("%v: %s, %d, want %s, %d", x.err, got.BaseError().Code, got.StatusCode(), x.code, x.status)
		}
		if logged := strings.Contains(log.String(), "level=ERROR"); logged != (x.code == "InternalError") {
			t.Errorf("%v: logged %q", x.err, log.String())
		}
	}
	if err := f.answerOf("GetObject", nil, about{}); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

// While metadata may not know everything, absence is no answer.
func TestDoubtfulAbsenceIsNotTold(t *testing.T) {
	f := &Front{cfg: Config{Logger: slog.New(slog.DiscardHandler), Doubt: func(err error) error {
		if errors.Is(err, holdall.ErrNotFound) {
			return fmt.Errorf("%v, perhaps: %w", err, holdall.ErrUnavailable)
		}
		return err
	}}}
	for _, err := range []error{object.ErrNoBucket, object.ErrNoKey, object.ErrNoUpload} {
		var got s3err.S3Error
		if !errors.As(f.answerOf("GetObject", err, about{}), &got) || got.BaseError().Code != "SlowDown" {
			t.Errorf("%v: %v, want SlowDown", err, got)
		}
	}
}

func TestBucketsBeforeAPrefix(t *testing.T) {
	for _, prefix := range []string{"a", "bucket-", "b0", "zz.z"} {
		at := before(prefix)
		if at >= prefix {
			t.Errorf("%q is not below %q", at, prefix)
		}
		for _, c := range "-.0az" {
			if name := prefix[:len(prefix)-1] + string(c) + "zzz"; name < prefix && name > at {
				t.Errorf("%q, below %q, is above %q", name, prefix, at)
			}
		}
	}
}

func TestUnknownAccessKeysAreNobody(t *testing.T) {
	a := &accounts{credentials: rows{"SYSTEM": {AccessKey: "SYSTEM", Namespace: holdall.SystemNamespace}, "BROKEN": {AccessKey: "BROKEN", Namespace: 1, Secret: []byte("x")}},
		vault: NewVault(t.TempDir()+"/credential.key", nil), report: func(string, error) {}}
	for _, access := range []string{"", "NOBODY", "SYSTEM", "BROKEN"} {
		if key, _, err := a.DeriveSigningKey(access, "", "20130524", Region, "s3"); err == nil || key != nil {
			t.Errorf("%q got a key", access)
		}
	}
	if _, err := a.GetUserAccount("SYSTEM"); err == nil {
		t.Error("an account was told")
	}
}

// The example of the signature's documentation.
func TestSigningKey(t *testing.T) {
	key := signingKey(NewSecret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), "20120215", "us-east-1", "iam")
	if got := fmt.Sprintf("%x", key); got != "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d" {
		t.Errorf("signing key %s", got)
	}
}

// rows are credentials.
type rows map[string]metadata.Credential

func (r rows) Credential(access string) (metadata.Credential, error) {
	c, ok := r[access]
	if !ok {
		return c, holdall.ErrNotFound
	}
	return c, nil
}
