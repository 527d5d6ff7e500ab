package metadata

import (
	"fmt"
	"strings"

	"github.com/holdall/holdall"
)

// maxPriority bounds priorities; higher ones go first.
const maxPriority = 1 << 16

// addTask notes something that upkeep has to do. A subject (kind, volume,
// member) has one task: adding it again changes nothing.
type addTask struct{ Task Task }

func (*addTask) tag() commandTag { return tagAddTask }

func (c *addTask) check() error { return checkTask(&c.Task) }

func checkTask(k *Task) error {
	if k.Kind == "" || len(k.Kind) > maxKind || strings.Contains(k.Kind, "\x00") || len(k.Reason) > maxReason ||
		k.Member < -1 || k.Member >= holdall.MaxMembers || k.Priority < 0 || k.Priority > maxPriority {
		return fmt.Errorf("metadata: task %q for volume %v member %d, priority %d, %d bytes of reason: %w",
			k.Kind, k.Volume, k.Member, k.Priority, len(k.Reason), holdall.ErrInvalid)
	}
	return nil
}

func (c *addTask) encode(dst []byte) []byte { return appendTask(dst, &c.Task) }
func (c *addTask) decode(d *decoder)        { d.task(&c.Task) }

func (c *addTask) run(t *tx) (result, error) {
	id, err := t.addTask(c.Task)
	return &numberResult{id}, err
}

func (t *tx) addTask(k Task) (uint64, error) {
	t.key = appendTaskKey(t.key[:0], k.Kind, k.Volume, k.Member)
	old, found, err := t.task(k)
	if err != nil || found {
		return old.ID, err
	}
	t.sys.counters.task++
	k.ID, k.Created = t.sys.counters.task, t.now.time()
	t.val = appendTask(t.val[:0], &k)
	t.set(t.key, t.val)
	return k.ID, nil
}

// task returns the task with the subject of k, or false.
func (t *tx) task(k Task) (old Task, found bool, err error) {
	t.key = appendTaskKey(t.key[:0], k.Kind, k.Volume, k.Member)
	b, found, err := t.read(t.key)
	if err != nil || !found {
		return old, false, err
	}
	if err := decodeRow(t.key, b, func(d *decoder) { d.task(&old) }); err != nil {
		return old, false, &fault{err}
	}
	return old, true, nil
}

func (t *tx) dropTask(kind string, v holdall.VolumeID) {
	t.key = appendTaskKey(t.key[:0], kind, v, -1)
	t.unset(t.key)
}

// doneTask drops a task, unless it was dropped and added again since.
type doneTask struct{ Task Task }

func (*doneTask) tag() commandTag            { return tagDoneTask }
func (c *doneTask) check() error             { return checkTask(&c.Task) }
func (c *doneTask) encode(dst []byte) []byte { return appendTask(dst, &c.Task) }
func (c *doneTask) decode(d *decoder)        { d.task(&c.Task) }

func (c *doneTask) run(t *tx) (result, error) {
	old, found, err := t.task(c.Task)
	if err == nil && found && old.ID == c.Task.ID {
		t.unset(t.key)
	}
	return noResult{}, err
}

// flushChanges forgets the changes that are in the journal on disks.
type flushChanges struct{ UpTo uint64 }

func (*flushChanges) tag() commandTag            { return tagFlushChanges }
func (*flushChanges) check() error               { return nil }
func (c *flushChanges) encode(dst []byte) []byte { return putUvarint(dst, c.UpTo) }
func (c *flushChanges) decode(d *decoder)        { c.UpTo = d.uvarint() }

func (c *flushChanges) run(t *tx) (result, error) {
	if c.UpTo > t.sys.LastChange {
		return nil, fmt.Errorf("metadata: flush of changes up to %d, the last is %d: %w", c.UpTo, t.sys.LastChange, holdall.ErrInvalid)
	}
	if c.UpTo >= t.sys.FirstChange {
		t.unsetRange(appendChangeKey(nil, t.sys.FirstChange), appendChangeKey(nil, c.UpTo+1))
		t.sys.FirstChange = c.UpTo + 1
	}
	return noResult{}, nil
}
