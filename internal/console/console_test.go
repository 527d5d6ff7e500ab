package console

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:7421"+path, nil)
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestReadinessSaysWhatIsMissing(t *testing.T) {
	var missing error
	h := Handler(Config{Ready: func(context.Context) error { return missing }})
	if code, body := get(t, h, "/readyz"); code != http.StatusOK || body != "ready\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	missing = errors.New("no leader")
	if code, body := get(t, h, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no leader") {
		t.Errorf("not ready: %d %q", code, body)
	}
	if code, _ := get(t, h, "/healthz"); code != http.StatusOK {
		t.Errorf("a process that is not ready is healthy all the same, got %d", code)
	}
}

func TestPageShowsEveryFieldEscaped(t *testing.T) {
	type disk struct {
		ID     string `json:"id"`
		Reason string `json:"reason"`
	}
	status := struct {
		Health string           `json:"health"`
		Tasks  map[string]int64 `json:"tasks"`
		Disks  []disk           `json:"disks"`
	}{"ok", map[string]int64{"free": 3}, []disk{{"ab", "<script>"}}}
	h := Handler(Config{Status: func(context.Context) any { return status }})
	code, body := get(t, h, "/")
	if code != http.StatusOK || strings.Contains(body, "<script>") {
		t.Fatalf("%d %s", code, body)
	}
	for _, part := range []string{"<td>health</td><td>ok</td>", "<td>free</td><td>3</td>", "<th>reason</th>", "&lt;script&gt;"} {
		if !strings.Contains(body, part) {
			t.Errorf("page lacks %q:\n%s", part, body)
		}
	}
	if code, body := get(t, h, "/status.json"); code != http.StatusOK || !strings.HasPrefix(body, `{"health":"ok"`) {
		t.Errorf("JSON: %d %s", code, body)
	}
}

func TestOnlyWhatIsConfiguredIsServed(t *testing.T) {
	h := Handler(Config{})
	for _, path := range []string{"/metrics", "/", "/debug/pprof/", "/status.json"} {
		if code, _ := get(t, h, path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "holdall_test_gauge"}))
	h = Handler(Config{Gatherer: registry, Pprof: true})
	if code, body := get(t, h, "/metrics"); code != http.StatusOK || !strings.Contains(body, "holdall_test_gauge 0") {
		t.Errorf("metrics: %d %s", code, body)
	}
	if code, _ := get(t, h, "/debug/pprof/"); code != http.StatusOK {
		t.Errorf("pprof: %d", code)
	}
}

func TestForeignHostNamesAreRefused(t *testing.T) {
	h := Handler(Config{})
	for host, want := range map[string]int{"localhost:1": 200, "127.0.0.1": 200, "[::1]:7421": 200, "evil.example:7421": 403, "10.0.0.1": 403} {
		r := httptest.NewRequest(http.MethodGet, "/healthz", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Config{}) }()
	client := &http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get("http://" + l.Addr().String() + "/healthz"); err == nil {
		t.Error("still answers after its context ended")
	}
}
