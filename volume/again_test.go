package volume

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInterruptedCallsAreMadeAgain: a signal during a call on a disk is no
// error of the disk, and every call that a signal may interrupt is made so, but
// for syncs.
func TestInterruptedCallsAreMadeAgain(t *testing.T) {
	for _, want := range []error{nil, unix.EIO} {
		calls := 0
		err := again(func() error {
			if calls++; calls < 4 {
				return unix.EINTR
			}
			return want
		})
		if !errors.Is(err, want) || calls != 4 {
			t.Fatalf("%v after %d calls, want %v after 4", err, calls, want)
		}
	}
	files, err := filepath.Glob("*dev*.go")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	call := regexp.MustCompile(`(?m)^.*unix\.(Fallocate|Ftruncate|Openat|Fstat|Fstatat|Fstatfs|Stat|Flock|Faccessat)\(.*$`)
	sync := regexp.MustCompile(`again\(.*unix\.(Fsync|Fdatasync)`)
	looped := regexp.MustCompile(`again\(func|return unix\.|fd, err = unix\.Openat`)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if line := sync.FindString(string(b)); line != "" {
			t.Errorf("%s: a sync is made again: %s", name, line)
		}
		for _, line := range call.FindAllString(string(b), -1) {
			if !looped.MatchString(line) && !regexp.MustCompile(`_test\.go$`).MatchString(name) {
				t.Errorf("%s: not made again after a signal: %s", name, line)
			}
		}
	}
}
