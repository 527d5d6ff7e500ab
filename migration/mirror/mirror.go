package mirror

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/ledger"
	"github.com/holdall/holdall/migration/source"
)

// Config says which bucket is written, and how long a request may live.
type Config struct {
	Source  metadata.Source
	Timeout time.Duration // of a request without a body, and of the answer after a body; 0 = 30 s
	Stall   time.Duration // without a byte of the body taken; 0 = 30 s
}

const (
	defaultTimeout = 30 * time.Second
	connections    = 256 // to the server, kept open: about what writes are in flight
)

// Mirror is the bucket. It is safe for concurrent use.
type Mirror struct {
	cfg    Config
	bucket string
	s3     *s3.Client
	creds  aws.CredentialsProvider
}

// Open prepares to write to a bucket; it asks the server nothing yet.
func Open(ctx context.Context, cfg Config) (*Mirror, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Stall == 0 {
		cfg.Stall = defaultTimeout
	}
	from := cfg.Source
	options := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithLogger(logging.Nop{}),
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = connections, connections, cfg.Timeout
		})),
	}
	if from.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(from.Profile))
	}
	sdk, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("mirror %s: settings of the AWS tools: %w: %w", from.Bucket, err, holdall.ErrInvalid)
	}
	m := &Mirror{cfg: cfg, bucket: from.Bucket, creds: aws.NewCredentialsCache(sdk.Credentials)}
	m.s3 = s3.NewFromConfig(sdk, func(o *s3.Options) {
		o.Credentials = m.creds
		if from.Region != "" {
			o.Region = from.Region
		}
		if from.Endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = aws.String(from.Endpoint), from.PathStyle
			if o.Region == "" {
				o.Region = "us-east-1" // what servers that have no regions answer to
			}
		}
	})
	return m, nil
}

// Facts are what the bucket says of an object.
type Facts struct {
	ETag     string // without quotes
	Version  string // "" = the bucket keeps none, or does not say
	Size     int64  // of a head only
	Modified time.Time
}

// Result is what became of a write.
type Result struct {
	Outcome ledger.Outcome // Done, Refused or Unknown
	Facts   Facts          // of a Done; Modified is not told
	Err     error          // nil if Done. ErrCondition: the object is not what was expected
}

// Expect is what the object must be for a write to be done. The zero Expect is
// anything.
type Expect struct {
	Known bool
	ETag  string // "" = there must be none
}

// match returns the If-Match and If-None-Match of an expectation.
func (m *Mirror) match(e Expect) (match, noneMatch *string) {
	switch {
	case !e.Known || m.cfg.Source.Unconditional:
		return nil, nil
	case e.ETag == "":
		return nil, aws.String("*")
	}
	return aws.String(`"` + e.ETag + `"`), nil
}

// result sorts what the library returned. Only an answer of the server, or a
// connection that was never made, is a refusal; everything else may have been done,
// or may be done yet.
func (m *Mirror) result(op, key string, err error) Result {
	if err == nil {
		return Result{Outcome: ledger.Done}
	}
	r := Result{Outcome: ledger.Unknown}
	text, kind := "no answer that says what became of it", holdall.ErrUnavailable
	var api smithy.APIError
	var signing *v4.SigningError
	var dial *net.OpError
	status := 0
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		status = response.HTTPStatusCode()
	}
	switch {
	case errors.As(err, &signing):
		text, kind, r.Outcome = "no usable credentials", source.ErrDenied, ledger.Refused
	case errors.As(err, &api) && status != 0:
		text = fmt.Sprintf("%s (%d): %s", api.ErrorCode(), status, m.scrub(api.ErrorMessage()))
		r.Outcome, kind = sorted(api.ErrorCode(), status)
	case errors.As(err, &dial) && dial.Op == "dial":
		text, r.Outcome = "cannot be reached: "+dial.Err.Error(), ledger.Refused
	}
	r.Err = fmt.Errorf("%s %s/%.300q: %s: %w", op, m.bucket, key, text, kind)
	return r
}

// sorted says of an answer what kind of error it is, and whether the write surely
// was not done.
func sorted(code string, status int) (ledger.Outcome, error) {
	switch {
	case code == "SlowDown" || code == "TooManyRequests" || code == "RequestLimitExceeded" || status == http.StatusTooManyRequests:
		return ledger.Refused, holdall.ErrUnavailable
	case code == "RequestTimeout":
		return ledger.Unknown, holdall.ErrUnavailable
	case status == http.StatusPreconditionFailed || status == http.StatusConflict:
		return ledger.Refused, holdall.ErrCondition
	case status == http.StatusNotFound:
		return ledger.Refused, holdall.ErrNotFound
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return ledger.Refused, source.ErrDenied
	case status >= http.StatusInternalServerError:
		return ledger.Unknown, holdall.ErrUnavailable
	case status >= http.StatusBadRequest:
		return ledger.Refused, holdall.ErrInvalid
	}
	return ledger.Unknown, holdall.ErrUnavailable
}

// scrub takes the credentials out of a text that the server wrote.
func (m *Mirror) scrub(text string) string {
	c, err := m.creds.Retrieve(context.Background())
	if err != nil {
		return text
	}
	for _, secret := range [...]string{c.SecretAccessKey, c.SessionToken} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}
