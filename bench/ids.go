package bench

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/holdall/holdall"
)

// Stored is a block that a cell acknowledged.
type Stored struct {
	ID   holdall.BlockID
	Size int // bytes
}

// ledger keeps what was acknowledged: in memory, and in a file, a line each,
// that a later run or another program can read.
type ledger struct {
	mu     sync.Mutex // guards all below
	blocks []Stored
	file   *os.File // nil = none
	out    *bufio.Writer
	err    error // the first of writing the file
}

func newLedger(path string) (*ledger, error) {
	l := &ledger{}
	if path == "" {
		return l, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("bench: file of ids: %w: %w", err, holdall.ErrInvalid)
	}
	l.file, l.out = f, bufio.NewWriterSize(f, 64<<10)
	return l, nil
}

func (l *ledger) add(b Stored) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks = append(l.blocks, b)
	if l.out != nil && l.err == nil {
		_, l.err = fmt.Fprintf(l.out, "%v %d\n", b.ID, b.Size)
	}
}

func (l *ledger) all() []Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocks[:len(l.blocks):len(l.blocks)] // what is there is never changed
}

// close writes the file out and returns the first error of doing so.
func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	if err := l.out.Flush(); l.err == nil {
		l.err = err
	}
	if err := l.file.Close(); l.err == nil {
		l.err = err
	}
	if l.err != nil {
		return fmt.Errorf("bench: file of ids: %w: %w", l.err, holdall.ErrExhausted)
	}
	return nil
}

// maxLine is the most bytes of a line in a file of ids: 64 digits, a size, and
// more than enough.
const maxLine = 1024

// ReadIDs reads a file of ids, as Put and Mixed write it: on each line an id,
// and, where it is known, the block's size. Anything else is ErrInvalid.
func ReadIDs(path string) ([]Stored, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("bench: file of ids: %w: %w", err, holdall.ErrInvalid)
	}
	defer f.Close()
	var out []Stored
	in := bufio.NewScanner(f)
	in.Buffer(make([]byte, maxLine), maxLine)
	for n := 1; in.Scan(); n++ {
		words := strings.Fields(in.Text())
		if len(words) == 0 {
			continue
		}
		var b Stored
		if b.ID, err = holdall.ParseBlockID(words[0]); err == nil && len(words) > 1 {
			b.Size, err = strconv.Atoi(words[1])
		}
		if err != nil {
			return nil, fmt.Errorf("bench: file of ids %s, line %d: %w: %w", path, n, err, holdall.ErrInvalid)
		}
		out = append(out, b)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("bench: file of ids %s: %w: %w", path, err, holdall.ErrInvalid)
	}
	return out, nil
}
