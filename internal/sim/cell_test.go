package sim

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/gateway"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestBlocksSurviveRestartKillAndCrash(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	stored := map[holdall.BlockID][]byte{}
	put := func(n int) {
		t.Helper()
		data := randomBytes(r, n)
		res, err := c.Gateway.PutBytes(t.Context(), holdall.DefaultNamespace, data)
		if err != nil {
			t.Fatal(err)
		}
		stored[res.ID] = data
	}
	check := func() {
		t.Helper()
		for id, want := range stored {
			res, err := c.Gateway.Get(t.Context(), holdall.DefaultNamespace, id, gateway.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(res.View.Data, want) {
				t.Fatalf("block %v: other bytes", id)
			}
			res.View.Release()
		}
	}
	steps := []func() error{c.Restart, c.Kill, func() error { _, err := c.Crash(r); return err }, c.Restart}
	for i, step := range steps {
		for _, n := range []int{1, 4095, 4096, 4097, 100_000, 1 << 20} {
			put(n + i)
		}
		check()
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		check()
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}
