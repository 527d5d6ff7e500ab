package source

import (
	"context"
	"errors"
	"sync"
)

// Found is what a walk hands over: entries, and how the ranges are after them. A
// receiver that keeps both together, or neither, can resume without a gap.
type Found struct {
	Entries []Entry // in no order over all of a walk
	Ranges  []Range // those that changed
	Done    int     // ranges that are done
	Begun   int     // ranges that are being listed
	All     int     // ranges
}

// answer is what a walker brings back.
type answer struct {
	task Task
	page Page
	err  error
}

// WalkOptions are how a bucket is walked.
type WalkOptions struct {
	Walkers  int     // 0 = 32
	Versions bool    // list versions and delete markers
	Ranges   []Range // of the walk that this one resumes
}

const (
	defaultWalkers = 32
	maxWalkers     = 64 // a listing's own limit at S3 is some hundred pages a second for a prefix
)

// Walk lists the whole bucket with many walkers and calls found, from one
// goroutine, as pages come in. It returns when all is listed, or with the first
// error of a page, after found got what came before. What found returns ends the
// walk too.
func (s *Source) Walk(ctx context.Context, o WalkOptions, found func(Found) error) error {
	if o.Walkers == 0 {
		o.Walkers = defaultWalkers
	}
	plan := NewPlan(s.cfg.Prefix, min(o.Walkers, maxWalkers), o.Versions)
	plan.Restore(o.Ranges)
	return walk(ctx, plan, s.List, found)
}

// walk runs a plan. list makes a request.
func walk(ctx context.Context, plan *Plan, list func(context.Context, ListRequest) (Page, error), found func(Found) error) error {
	ctx, cancel := context.WithCancel(ctx)
	tasks, answers := make(chan Task), make(chan answer)
	var walkers sync.WaitGroup
	for range plan.walkers {
		walkers.Go(func() {
			for t := range tasks {
				page, err := list(ctx, t.Request)
				answers <- answer{t, page, err}
			}
		})
	}
	var failed error
	for out := 0; ; {
		for failed == nil && out < plan.walkers {
			t, ok := plan.Next()
			if !ok {
				break
			}
			tasks <- t
			out++
		}
		if out == 0 {
			break
		}
		a := <-answers
		out--
		if err := plan.settle(a, found); err != nil && failed == nil {
			failed = err
			cancel() // the others give up, and are waited for
		}
	}
	close(tasks)
	walkers.Wait()
	cancel()
	return failed
}

// settle takes one answer into the plan and hands over what it brought.
func (p *Plan) settle(a answer, found func(Found) error) error {
	if a.err != nil {
		p.Failed(a.task)
		if errors.Is(a.err, context.Canceled) {
			return context.Canceled
		}
		return a.err
	}
	own := p.Take(a.task, a.page)
	done, begun, all := p.Shares()
	return found(Found{Entries: own, Ranges: p.Changed(), Done: done, Begun: begun, All: all})
}
