package s3front_test

import (
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"testing"
)

// An object passes through in blocks that are used again: what is allocated does
// not grow with it.
func TestBodiesAreNotBuffered(t *testing.T) {
	c := start(t)
	c.bucket("memory")
	const size = 200 << 20
	request := func(method string, body io.Reader) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.addr+"/memory/k", body)
		if err != nil {
			t.Fatal(err)
		}
		if body != nil {
			r.ContentLength = size
		}
		c.sign(r, "UNSIGNED-PAYLOAD")
		return r
	}
	for _, r := range []*http.Request{request("PUT", io.LimitReader(rand.NewChaCha8([32]byte{1}), size)), request("GET", nil)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, out.Body)
		out.Body.Close()
		runtime.ReadMemStats(&after)
		if err != nil || out.StatusCode != 200 || r.Method == "GET" && n != size {
			t.Errorf("%s: %s, %d bytes, %v", r.Method, out.Status, n, err)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > size/4 {
			t.Errorf("%s of %d MiB allocates %d MiB, client and server", r.Method, size>>20, allocated>>20)
		} else {
			t.Logf("%s of %d MiB allocates %d MiB, client and server", r.Method, size>>20, allocated>>20)
		}
	}
}
