package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/holdall/holdall/client"
)

func TestMissingShardsAreSaidToBeABound(t *testing.T) {
	if got, want := missingText(map[uint32]uint64{0: 10, 2: 3}), "10 whole, 3 with up to 2 shards missing"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCellStatusTellsRateAndETAOfTasks(t *testing.T) {
	s := client.CellStatus{Tasks: []client.TaskStatus{
		{Kind: "footer", Count: 2}, {Kind: "free", Count: 3, Rate: new(uint64(4 << 20)), ETA: new(90.4)}, {Kind: "slow", Rate: new(uint64(0)), ETA: new(1e30)},
	}}
	text, err := json.Marshal(s.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"kind":"footer","count":2,"rate":null,"eta":null},{"kind":"free","count":3,"rate":4194304,"eta":90.4},{"kind":"slow","count":0,"rate":0,"eta":1e+30}]`
	if string(text) != want {
		t.Errorf("JSON is %s, want %s", text, want)
	}
	var out bytes.Buffer
	printCell(&out, &s)
	for _, line := range []string{"footer 2 - -", "free 3 4.0 MiB/s 1m30s", "slow 0 0 B/s over 90 days"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), line) {
			t.Errorf("the table does not say %q:\n%s", line, out.String())
		}
	}
}
