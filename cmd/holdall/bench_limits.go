package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/bench"
	"github.com/holdall/holdall/internal/config"
)

// limits are what no put or get can beat on this machine. Names in JSON are a
// contract with scripts.
type limits struct {
	VerifiedPut   float64 `json:"verified_put_mb_per_s"`
	VerifiedGet   float64 `json:"verified_get_mb_per_s"`
	VerifiedPut64 float64 `json:"verified_put_64kib_ops_per_s"`
	Hash          float64 `json:"hash_mb_per_s"`
	Encode        float64 `json:"encode_mb_per_s"`
	KVSync        float64 `json:"kv_sync_ops_per_s"`
	DiskAppend    float64 `json:"disk_append_mb_per_s"`
	DiskRead      float64 `json:"disk_read_mb_per_s"`
	PutLimit      float64 `json:"put_limit_mb_per_s"` // the lower of verified put and disk append × k/(k+m)
	GetLimit      float64 `json:"get_limit_mb_per_s"` // the lower of verified get and disk read

	VerifiedPutCPU float64 `json:"verified_put_cpu_s_per_gib"` // client and server
	VerifiedGetCPU float64 `json:"verified_get_cpu_s_per_gib"`
	DiskAppendCPU  float64 `json:"disk_append_cpu_s_per_gib"`
	DiskReadCPU    float64 `json:"disk_read_cpu_s_per_gib"`
}

// limitsRun is what the limits are measured with.
type limitsRun struct {
	size        int
	concurrency int
	connections int
	duration    time.Duration
	dir         string
	scheme      holdall.Scheme
}

func (c *cli) benchLimitsCommand() *cobra.Command {
	var size, scheme string
	var l limitsRun
	cmd := &cobra.Command{
		Use: "limits", Short: "Measure what network, cores and disks of this machine allow", Args: cobra.NoArgs,
		Long: "Measures the parts that a put and a get are made of, each alone and by the same code, so\n" +
			"that a rate of `bench put` can be read as a share of what is possible. A server for the network\n" +
			"limits is started as a process of its own; scratch directories are made in --dir and removed.",
		Example: "  holdall bench limits --size 4MiB --concurrency 16 --output json",
	}
	cmd.Flags().StringVar(&size, "size", "4MiB", "bytes of a block")
	cmd.Flags().IntVar(&l.concurrency, "concurrency", 16, "calls in flight, readers, and writers of synced puts")
	cmd.Flags().IntVar(&l.connections, "connections", 0, "connections; 0 = the client's default")
	cmd.Flags().DurationVar(&l.duration, "duration", 5*time.Second, "of each figure")
	cmd.Flags().StringVar(&l.dir, "dir", ".", "on the filesystem of the disks to measure")
	cmd.Flags().StringVar(&scheme, "scheme", holdall.DefaultScheme.String(), "of the encode figure and of the put limit")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		sizes, err := parseSizes(size, "", true)
		if err != nil {
			return err
		}
		l.size = sizes.Fixed
		if l.scheme, err = holdall.ParseScheme(scheme); err != nil {
			return err
		}
		p := c.progress("bench limits", "figures", 8)
		r, err := l.measure(cmd.Context(), p)
		p.finish()
		if err != nil {
			return err
		}
		return c.emit(r, func(w io.Writer) { printLimits(w, r) })
	}
	return cmd
}

func printLimits(w io.Writer, r limits) {
	rate := func(v, cpu float64) string { return fmt.Sprintf("%.0f MB/s, %.2f cpu-s/GiB", v, cpu) }
	facts(w, "verified put", rate(r.VerifiedPut, r.VerifiedPutCPU), "verified get", rate(r.VerifiedGet, r.VerifiedGetCPU),
		"verified put 64 KiB", fmt.Sprintf("%.0f /s", r.VerifiedPut64), "hash, one core", fmt.Sprintf("%.0f MB/s", r.Hash),
		"encode, one core", fmt.Sprintf("%.0f MB/s", r.Encode), "synced key-value puts", fmt.Sprintf("%.0f /s", r.KVSync),
		"disk append", rate(r.DiskAppend, r.DiskAppendCPU), "disk read", rate(r.DiskRead, r.DiskReadCPU),
		"put limit", fmt.Sprintf("%.0f MB/s", r.PutLimit), "get limit", fmt.Sprintf("%.0f MB/s", r.GetLimit))
}

// measure takes one figure after another, so that none disturbs another.
func (l *limitsRun) measure(ctx context.Context, p *progress) (r limits, err error) {
	dir, err := os.MkdirTemp(l.dir, "holdall-bench-limits-")
	if err != nil {
		return r, withNext(fmt.Errorf("scratch directory: %w", err), "name a directory that can be written with --dir")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for i, step := range []func(context.Context, *limits, string) error{l.network, l.small, l.cores, l.keyValue, l.disks} {
		if err := step(ctx, &r, dir); err != nil {
			return r, err
		}
		p.set(int64(2*i), 8)
	}
	share := float64(l.scheme.K()) / float64(l.scheme.N())
	r.PutLimit, r.GetLimit = min(r.VerifiedPut, r.DiskAppend*share), min(r.VerifiedGet, r.DiskRead)
	return r, nil
}

func (l *limitsRun) network(ctx context.Context, r *limits, _ string) error {
	return withNetServer(ctx, l.size, func(endpoint string) error {
		n := bench.NetConfig{Endpoint: endpoint, Size: l.size, Concurrency: l.concurrency, Connections: l.connections, Duration: l.duration}
		put, err := n.MeasurePut(ctx)
		if err != nil {
			return err
		}
		get, err := n.MeasureGet(ctx)
		r.VerifiedPut, r.VerifiedPutCPU = put.MBPerSecond, put.ClientCPU+put.ServerCPU
		r.VerifiedGet, r.VerifiedGetCPU = get.MBPerSecond, get.ClientCPU+get.ServerCPU
		return err
	})
}

func (l *limitsRun) small(ctx context.Context, r *limits, _ string) error {
	const size = 64 << 10
	return withNetServer(ctx, size, func(endpoint string) error {
		put, err := bench.NetConfig{Endpoint: endpoint, Size: size, Concurrency: l.concurrency, Connections: l.connections, Duration: l.duration}.MeasurePut(ctx)
		r.VerifiedPut64 = put.OpsPerSecond
		return err
	})
}

func (l *limitsRun) cores(ctx context.Context, r *limits, _ string) error {
	cpu := bench.CPUConfig{Size: l.size, Scheme: l.scheme}
	hash, err := cpu.MeasureHash(ctx)
	if err != nil {
		return err
	}
	encode, err := cpu.MeasureEncode(ctx)
	r.Hash, r.Encode = hash.MBPerSecond, encode.MBPerSecond
	return err
}

func (l *limitsRun) keyValue(ctx context.Context, r *limits, dir string) error {
	kv, err := bench.KVConfig{Path: dir, Writers: l.concurrency, Duration: l.duration}.Measure(ctx)
	r.KVSync = kv.OpsPerSecond
	return err
}

func (l *limitsRun) disks(ctx context.Context, r *limits, dir string) error {
	var paths []string
	for i := range l.scheme.N() {
		path := filepath.Join(dir, fmt.Sprintf("disk-%02d", i))
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	d, err := bench.DiskConfig{Paths: paths, Size: l.size, Concurrency: l.concurrency, Duration: l.duration}.Measure(ctx)
	r.DiskAppend, r.DiskAppendCPU = d.Append.MBPerSecond, d.Append.CPU
	r.DiskRead, r.DiskReadCPU = d.Read.MBPerSecond, d.Read.CPU
	return err
}

// withNetServer runs f while a process of its own serves the network limits.
func withNetServer(ctx context.Context, size int, f func(endpoint string) error) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("the server of the network limits: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "bench", "serve-limits", "--size", config.FormatSize(int64(size)))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("the server of the network limits: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("the server of the network limits: %w", err)
	}
	endpoint, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = f(strings.TrimSpace(endpoint))
	} else {
		err = fmt.Errorf("the server of the network limits did not start: %w", err)
	}
	cancel()
	_ = cmd.Wait() // it was interrupted
	return err
}

// benchServeCommand is the other side of withNetServer.
func (c *cli) benchServeCommand() *cobra.Command {
	var size string
	cmd := &cobra.Command{Use: "serve-limits", Short: "Serve the network limits of `bench limits`", Hidden: true, Args: cobra.NoArgs,
		Example: "  holdall bench serve-limits --size 4MiB"}
	cmd.Flags().StringVar(&size, "size", "4MiB", "bytes of a block")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		sizes, err := parseSizes(size, "", true)
		if err != nil {
			return err
		}
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		fmt.Fprintln(c.out, lis.Addr())
		return bench.ServeNetLimits(cmd.Context(), lis, sizes.Fixed)
	}
	return cmd
}
