package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// Limits on sessions.
const (
	maxSessions   = 10_000         // a session is a process
	sessionWindow = 4096           // answers a session may wait for at once
	sessionIdle   = 24 * time.Hour // after which a session may be dropped, when another opens
)

// errNoSession is the refusal of a command whose session is not open, or not any
// more. The command was not carried out and never will be.
var errNoSession = fmt.Errorf("the session is not open: %w", holdall.ErrStale)

// answer carries out c, once for its session and number: a repeat gets the first
// answer, and one below what the session still waits for is refused, since its
// answer is gone and it may have been applied.
func (t *tx) answer(h header, c command) ([]byte, error) {
	if h.Session == 0 {
		return t.run(c)
	}
	s, ok, err := t.session(h.Session)
	if err != nil {
		return nil, err
	}
	lowest := max(s.Lowest, h.Lowest)
	switch {
	case !ok:
		return encodeAnswer(nil, fmt.Errorf("metadata: session %d: %w", h.Session, errNoSession)), nil
	case h.Seq < s.Lowest:
		return encodeAnswer(nil, fmt.Errorf("metadata: session %d: command %d comes late, answers below %d are gone: %w", h.Session, h.Seq, s.Lowest, holdall.ErrStale)), nil
	case h.Seq-lowest >= sessionWindow:
		return encodeAnswer(nil, fmt.Errorf("metadata: session %d: command %d while %d still waits for its answer, at most %d may: %w", h.Session, h.Seq, lowest, sessionWindow, holdall.ErrInvalid)), nil
	}
	first, found, err := t.read(appendAnswerKey(nil, h.Session, h.Seq))
	if err != nil || found {
		return append([]byte(nil), first...), err
	}
	answer, err := t.run(c)
	if err != nil {
		return nil, err
	}
	// No answer at or above Lowest + sessionWindow was ever kept, so that is all
	// there can be to drop, however far a session jumps.
	for seq := s.Lowest; seq < min(lowest, s.Lowest+sessionWindow); seq++ {
		t.key = appendAnswerKey(t.key[:0], h.Session, seq)
		t.unset(t.key)
	}
	s.Lowest, s.Used = lowest, t.now
	t.key = appendSessionKey(t.key[:0], h.Session)
	t.val = appendSession(t.val[:0], &s)
	t.set(t.key, t.val)
	t.keepAnswer(h, answer)
	return answer, nil
}

// keepAnswer stores an answer. The text of a refusal is for people and may
// change between releases, so the checksum that voters compare leaves it out.
func (t *tx) keepAnswer(h header, answer []byte) {
	t.key = appendAnswerKey(t.key[:0], h.Session, h.Seq)
	if answer[0] == 0 {
		t.set(t.key, answer)
		return
	}
	t.sum(t.key, answer[:1])
	t.put(t.key, answer)
}

func (t *tx) session(id uint64) (s sessionRow, ok bool, err error) {
	t.key = appendSessionKey(t.key[:0], id)
	s.ID = id
	b, ok, err := t.read(t.key)
	if err != nil || !ok {
		return s, false, err
	}
	if err := decodeRow(t.key, b, func(d *decoder) { d.session(&s) }); err != nil {
		return s, false, &fault{err}
	}
	return s, true, nil
}

// openSession begins a session. It has no session of its own: if its answer is
// lost, the session it made is dropped when it has been idle long enough.
type openSession struct{ Name string }

func (*openSession) tag() commandTag { return tagOpenSession }

func (c *openSession) check() error {
	if len(c.Name) > maxGateway {
		return fmt.Errorf("metadata: session name of %d bytes, the most is %d: %w", len(c.Name), maxGateway, holdall.ErrInvalid)
	}
	return nil
}

func (c *openSession) encode(dst []byte) []byte { return putText(dst, c.Name) }
func (c *openSession) decode(d *decoder)        { c.Name = d.text(maxGateway) }

func (c *openSession) run(t *tx) (result, error) {
	if err := t.dropIdleSessions(); err != nil {
		return nil, err
	}
	if t.sys.counters.sessions >= maxSessions {
		return nil, fmt.Errorf("metadata: %d sessions are open, none idle for %v: %w", t.sys.counters.sessions, sessionIdle, holdall.ErrExhausted)
	}
	t.sys.counters.session++
	t.sys.counters.sessions++
	// The incarnation is part of the number, so that a session from before a
	// restore never meets one from after it.
	id := uint64(holdall.MakeEpoch(t.sys.Incarnation, t.sys.counters.session))
	t.key = appendSessionKey(t.key[:0], id)
	t.val = appendSession(t.val[:0], &sessionRow{ID: id, Name: c.Name, Lowest: 1, Used: t.now})
	t.set(t.key, t.val)
	return &numberResult{id}, nil
}

func (t *tx) dropIdleSessions() error {
	for s, err := range sessionRows(t.b) {
		if err != nil {
			return &fault{err}
		}
		if s.Used.after(sessionIdle) > t.now {
			continue
		}
		t.sys.counters.sessions--
		t.unset(appendSessionKey(nil, s.ID))
		t.unsetRange(appendAnswerKey(nil, s.ID, 0), appendAnswerKey(nil, s.ID+1, 0))
	}
	return nil
}
