package node

import (
	"context"
	"errors"
	"sort"
	"sync"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/metadata"
)

// How the rate of tasks is measured.
const (
	rateWindow = time.Minute      // over which a rate is taken: free and footer work comes in bursts of seconds
	rateLeast  = 10 * time.Second // of watching, before a rate is told: less is chance
	rateEvery  = 5 * time.Second  // between two looks of the node's own
	rateGap    = time.Second      // between two looks at least, however many ask for the status
)

// taskLeft is what a task still has to do.
type taskLeft struct {
	kind  string
	bytes int64 // of committed records, in the extents that the task has not done with
}

// progressSample is how much work of one kind was done up to a moment.
type progressSample struct {
	at   time.Time
	done int64 // bytes
}

// taskRates measures how fast the tasks of each kind get done, from how much
// they leave to do at one look and at the next.
type taskRates struct {
	mu      sync.Mutex // guards the fields below
	last    time.Time
	seen    map[uint64]taskLeft // by task, at the last look
	samples map[string][]progressSample
}

// observe notes what tasks have left to do at now.
func (r *taskRates) observe(now time.Time, left map[uint64]taskLeft) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) < rateGap {
		return
	}
	done := map[string]int64{}
	for id, old := range r.seen {
		if progress := old.bytes - left[id].bytes; progress > 0 { // a task that is gone has nothing left
			done[old.kind] += progress
		}
	}
	here := map[string]bool{}
	for _, l := range left {
		here[l.kind] = true
	}
	samples := make(map[string][]progressSample, len(here)) // a kind without tasks is forgotten: it does not slow down, it rests
	for kind := range here {
		list := r.samples[kind]
		var total int64
		if len(list) > 0 {
			total = list[len(list)-1].done + done[kind]
		}
		list = append(list, progressSample{now, total})
		for len(list) > 2 && now.Sub(list[1].at) >= rateWindow {
			list = list[1:]
		}
		samples[kind] = list
	}
	r.last, r.seen, r.samples = now, left, samples
}

// estimate returns the rate of a kind in bytes a second and the seconds that
// left bytes will take; nil is not known.
func (r *taskRates) estimate(kind string, left int64) (rate *uint64, eta *float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.samples[kind]
	if len(list) < 2 {
		return nil, nil
	}
	first, last := list[0], list[len(list)-1]
	span := last.at.Sub(first.at)
	if span < rateLeast {
		return nil, nil
	}
	perSecond := float64(last.done-first.done) / span.Seconds()
	whole := uint64(perSecond)
	if perSecond <= 0 {
		return &whole, nil
	}
	seconds := float64(left) / perSecond
	return &whole, &seconds
}

// watchTasks keeps rates current, whether or not anybody asks, until ctx ends.
func (n *Node) watchTasks(ctx context.Context) {
	tick := time.NewTicker(rateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := n.lookAtTasks(); err != nil {
			n.log.Debug("tasks could not be read, tried again soon", "err", err)
		}
	}
}

// lookAtTasks returns what every task has left to do, and measures by it.
func (n *Node) lookAtTasks() (map[uint64]taskLeft, error) {
	tasks, err := n.store.Tasks()
	if err != nil {
		return nil, err
	}
	left := make(map[uint64]taskLeft, len(tasks))
	for _, t := range tasks {
		v, err := n.store.Volume(t.Volume)
		if err != nil && !errors.Is(err, holdall.ErrNotFound) { // not found: done with since
			return nil, err
		}
		left[t.ID] = taskLeft{t.Kind, bytesLeft(&t, v.Members)}
	}
	n.rates.observe(time.Now(), left)
	return left, nil
}

// bytesLeft returns the bytes in the members that t has not done with.
func bytesLeft(t *metadata.Task, members []metadata.Member) int64 {
	var sum int64
	for i, m := range members {
		done := t.Kind == metadata.TaskFooter && m.Footer || t.Kind == metadata.TaskFree && m.Freed
		if !done && (t.Member < 0 || t.Member == i) {
			sum += m.End
		}
	}
	return sum
}

// taskStatus returns the tasks by kind, for `cell status`.
func (n *Node) taskStatus() ([]client.TaskStatus, error) {
	left, err := n.lookAtTasks()
	if err != nil {
		return nil, err
	}
	counts, bytes := map[string]uint64{}, map[string]int64{}
	for _, l := range left {
		counts[l.kind]++
		bytes[l.kind] += l.bytes
	}
	list := []client.TaskStatus{}
	for kind, count := range counts {
		s := client.TaskStatus{Kind: kind, Count: count}
		s.Rate, s.ETA = n.rates.estimate(kind, bytes[kind])
		list = append(list, s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Kind < list[j].Kind })
	return list, nil
}
