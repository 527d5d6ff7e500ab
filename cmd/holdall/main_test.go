package main

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// TestMain lets the test binary be the program itself: a process of its own that
// can be killed, without a build.
func TestMain(m *testing.M) {
	if os.Getenv("HOLDALL_TEST_AS_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// result is what one command line gave.
type result struct {
	code     int
	out, err string
}

// command runs one command line inside the test.
func command(t *testing.T, stdin []byte, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(context.Background(), args, bytes.NewReader(stdin), &out, &err)
	return result{code, out.String(), err.String()}
}

// must runs a command line that has to succeed, and returns what it printed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := command(t, nil, args...)
	if r.code != exitDone {
		t.Fatalf("holdall %v: exit %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}
