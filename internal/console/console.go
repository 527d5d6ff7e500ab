// Package console serves what operators and their tools read over HTTP: health,
// readiness, metrics, one status page, and on request the profiler. It only
// shows; it changes nothing in the cell, and knows no other package of this
// module.
package console

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what a Console shows. The zero Config shows health alone.
type Config struct {
	Gatherer prometheus.Gatherer             // nil: no /metrics
	Ready    func(ctx context.Context) error // nil: always ready; the error says what is missing
	Status   func(ctx context.Context) any   // nil: no page; the value is marshalled to JSON and shown
	Pprof    bool                            // serve /debug/pprof
	Logger   *slog.Logger                    // nil: slog.Default()
}

// Limits of the server: what it serves is small, and only operators ask.
const (
	maxHeader   = 16 << 10 // bytes
	readTimeout = 10 * time.Second
	pageTimeout = 5 * time.Second // for the functions that readiness and status call
)

//go:embed page.html
var pageText string

// Handler returns what is served.
func Handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, cfg.Ready) })
	if cfg.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{Timeout: readTimeout}))
	}
	if cfg.Status != nil {
		page := template.Must(template.New("page").Parse(pageText))
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { showPage(w, r, page, cfg.Status) })
		mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, r *http.Request) { showJSON(w, r, cfg.Status) })
	}
	if cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return guard(mux)
}

// guard refuses requests whose Host is not a loopback name, so that a web page
// elsewhere cannot read the console through a browser on this machine (DNS
// rebinding), and says what the pages may load: nothing.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this console answers on loopback names only", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func ready(w http.ResponseWriter, r *http.Request, check func(context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	if check != nil {
		if err := check(ctx); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ready")
}

func showJSON(w http.ResponseWriter, r *http.Request, status func(context.Context) any) {
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(status(ctx)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// showPage renders the status as nested tables: whatever fields it has, the
// page has too.
func showPage(w http.ResponseWriter, r *http.Request, page *template.Template, status func(context.Context) any) {
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	text, err := json.Marshal(status(ctx))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var out bytes.Buffer
	if err := page.Execute(&out, sections(text)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(out.Bytes())
}

// Serve answers on l until ctx ends, then finishes what is in flight and
// returns. It takes ownership of l.
func Serve(ctx context.Context, l net.Listener, cfg Config) error {
	logger := cfg.Logger
	if logger == nil {
		logger = slog.Default()
	}
	server := &http.Server{
		Handler: Handler(cfg), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})
	err := server.Serve(l)
	if stop() {
		return fmt.Errorf("console on %s: %w", l.Addr(), err)
	}
	<-closed
	return nil
}
