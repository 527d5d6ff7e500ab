package s3front_test

import (
	"bytes"
	"flag"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

var rateTime = flag.Duration("rate", 0, "how long TestRates puts and gets; 0 skips it")

// TestRates prints how fast 4 MiB go in and out, 16 in flight, as objects through
// S3 and as blocks through gRPC, in turn, with the clients in the same process.
func TestRates(t *testing.T) {
	if *rateTime == 0 {
		t.Skip("needs -rate")
	}
	c := start(t)
	b := c.bucket("rates")
	sdk := c.aws()
	blocks, err := client.Dial(client.Options{}, c.grpc)
	if err != nil {
		t.Fatal(err)
	}
	defer blocks.Close()
	body := random(1, 4<<20)
	ids := make([]holdall.BlockID, 64)
	var serial atomic.Int64
	unlike := func() []byte { // any before
		next := bytes.Clone(body)
		copy(next, itoa(int(serial.Add(1))))
		return next
	}
	calls := map[string]func(n int) error{
		"1 gRPC put": func(n int) (err error) {
			ids[n], err = blocks.Put(t.Context(), unlike())
			return err
		},
		"2 S3 put": func(n int) error {
			_, err := sdk.PutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: aws.String("k" + itoa(n)), Body: bytes.NewReader(unlike())})
			return err
		},
		"3 gRPC get": func(n int) error {
			_, err := blocks.Get(t.Context(), ids[n])
			return err
		},
		"4 S3 get": func(n int) error {
			out, err := sdk.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("k" + itoa(n))})
			if err != nil {
				return err
			}
			defer out.Body.Close()
			_, err = io.Copy(io.Discard, out.Body)
			return err
		},
	}
	for round := range 3 {
		for _, what := range slices.Sorted(maps.Keys(calls)) {
			t.Logf("round %d, %s: %.0f MB/s", round, what, measure(t, calls[what]))
		}
	}
}

// measure makes calls, 16 at a time, each with a number below 64 that no other
// has meanwhile, at least once with each.
func measure(t *testing.T, call func(n int) error) (rate float64) {
	var next atomic.Int64
	begun := time.Now()
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for time.Since(begun) < *rateTime || next.Load() < 64 {
				if err := call(int(next.Add(1) % 64)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	return float64(next.Load()) * (4 << 20) / 1e6 / time.Since(begun).Seconds()
}
