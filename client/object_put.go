package client

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// putChunk is how many bytes of an object go into one message: enough that a
// message costs little beside its bytes, and little for a server to reserve.
const putChunk = 256 << 10

// PutObjectOptions say what goes with an object's bytes.
type PutObjectOptions struct {
	Attributes // without Checksums and Parts
	Tags       map[string]string
	If         Condition
	PutID      holdall.PutID // a repeat under the same one changes nothing; zero = one is chosen
}

// PutObject stores what body has as an object and returns it. A nil error is the
// acknowledgement: every byte and the name are durable. Until then nothing is
// visible; after an error nothing will be, unless it is ErrUnavailable: then
// PutObject under the same PutID finds out.
//
// A body that can be sought, or that is shorter than a message, is sent again
// where the connection breaks or the server is not ready. Other bodies are read
// once. How many bytes a body that can be sought has is known beforehand: when it
// turns out to have fewer, the put fails. Errors of body are returned as they are.
//
// Errors: ErrInvalid, ErrNotFound (no such bucket), ErrCondition, ErrExhausted
// (quota, no room), ErrUnavailable.
func (c *Client) PutObject(ctx context.Context, bucket, key string, body io.Reader, o PutObjectOptions) (*Object, error) {
	if o.PutID == (holdall.PutID{}) {
		o.PutID = newPutID()
	}
	if len(o.Checksums) > 0 || o.Parts != 0 {
		return nil, fmt.Errorf("put: checksums and parts are the server's to say: %w", holdall.ErrInvalid)
	}
	source, err := newSource(body)
	if err != nil {
		return nil, err
	}
	head := &holdallv1.PutObjectHead{
		Namespace: c.options.Namespace, Bucket: bucket, Key: []byte(key), PutId: o.PutID[:],
		Attributes: o.Attributes.message(), Tags: tagMessages(o.Tags), Condition: o.If.message(),
	}
	if source.size >= 0 {
		head.Size = new(uint64(source.size))
	}
	for p, attempt := c.patience(), 1; ; attempt++ {
		out, sent, err := c.putOnce(ctx, head, source)
		if err == nil {
			c.budget.earn()
			return out, nil
		}
		if !sent { // it cost the server nothing
			attempt--
		}
		if source.err != nil {
			return nil, source.err
		}
		if !mayRepeat(err) || attempt >= c.options.Attempts || !source.canRewind() || !p.again(ctx, err) {
			return nil, err
		}
		if err := source.rewind(); err != nil {
			return nil, err
		}
		if sent {
			p.headway()
		}
	}
}

// putOnce sends the object once. sent says that more than one message of it was.
func (c *Client) putOnce(ctx context.Context, head *holdallv1.PutObjectHead, source *source) (_ *Object, sent bool, err error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream, if it is left early
	defer cancel()
	conn := c.take()
	defer conn.release()
	most := int64(putChunk)
	if source.size >= 0 {
		most = max(1, min(most, source.size))
	}
	ctx = metadata.AppendToOutgoingContext(ctx, SizeHeader, strconv.FormatInt(most, 10))
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Put", ClientStreams: true}, holdallv1.ObjectService_Put_FullMethodName)
	if err != nil {
		return nil, false, FromStatus(err)
	}
	s := sending{stream: stream, pool: c.chunks, size: int(most)}
	err = s.all(head, source)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, s.messages > 1, FromStatus(err)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, s.messages > 1, FromStatus(err)
	}
	var out holdallv1.PutObjectResponse // after io.EOF: what the server said instead
	if err := stream.RecvMsg(&out); err != nil {
		return nil, s.messages > 1, FromStatus(err)
	}
	o, err := objectFacts(out.Object)
	return o, true, err
}

// sending is one stream of a put.
type sending struct {
	stream   grpc.ClientStream
	pool     mem.BufferPool
	size     int // bytes of a message
	messages int
	sent     int64 // bytes
	sum      uint32
}

// readFull fills p. Unlike io.ReadFull it returns io.EOF, and a reader's own
// io.ErrUnexpectedEOF is no end: that is how a body that broke off says so.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil; idle++ {
		var m int
		if m, err = r.Read(p[n:]); m > 0 {
			n, idle = n+m, 0
		}
		if err == nil && idle == maxIdleReads {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// maxIdleReads is how many reads in a row may give nothing.
const maxIdleReads = 100

// all sends head and source. io.EOF: the server has ended the stream and says why
// if it is asked.
func (s *sending) all(head *holdallv1.PutObjectHead, source *source) error {
	for last := false; !last; s.messages++ {
		buf := s.pool.Get(s.size)
		n, err := readFull(source, *buf)
		if err != nil && err != io.EOF {
			s.pool.Put(buf)
			return err
		}
		*buf = (*buf)[:n]
		s.sent += int64(n)
		last = err == io.EOF || s.sent == source.size
		s.sum = crc32.Update(s.sum, crc32.MakeTable(crc32.Castagnoli), *buf)
		m := PutObjectMessage{Head: holdallv1.PutObjectRequest{Head: head}}
		if n > 0 {
			m.Data = mem.BufferSlice{mem.NewBuffer(buf, s.pool)}
		}
		if head = nil; last {
			m.Head.Crc32C = &s.sum
		}
		err = s.stream.SendMsg(&m)
		m.Free() // gRPC may have failed before it looked
		if err != nil {
			return err
		}
		if !last && s.messages == 0 && source.seeker == nil {
			if err := s.accepted(); err != nil {
				return err
			}
		}
	}
	return nil
}

// accepted waits until the server has begun the put: what is read of the body from
// then on cannot be read again. io.EOF: it was refused.
func (s *sending) accepted() error {
	header, err := s.stream.Header()
	if err == nil && header == nil {
		err = io.EOF
	}
	return err
}

// source is a body that may be read again.
type source struct {
	body   io.Reader
	seeker io.Seeker // nil: it cannot be sought
	start  int64     // where body began
	size   int64     // bytes that it has; -1 = not known
	left   int64     // of them; -1 = not known

	first  []byte // what was read first of a body that cannot be sought
	at     int    // in first
	beyond bool   // more than first was read
	err    error  // of body
}

func newSource(body io.Reader) (*source, error) {
	s := &source{body: body, size: -1, left: -1}
	if seeker, ok := body.(io.Seeker); ok {
		start, err := seeker.Seek(0, io.SeekCurrent)
		if err == nil { // else it is a pipe, that only has the method
			end, err := seeker.Seek(0, io.SeekEnd)
			if err == nil {
				_, err = seeker.Seek(start, io.SeekStart)
			}
			if err != nil {
				return nil, err
			}
			s.seeker, s.start, s.size = seeker, start, max(0, end-start)
			s.left = s.size
			return s, nil
		}
	}
	s.first = make([]byte, putChunk)
	n, err := readFull(body, s.first)
	s.first = s.first[:n]
	switch {
	case err == io.EOF:
		s.body, s.size, s.left = eof{}, int64(n), int64(n) // all of it is here
	case err != nil:
		return nil, err
	}
	return s, nil
}

// eof is a reader at its end.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Read returns the next bytes, no more than were announced.
func (s *source) Read(p []byte) (n int, err error) {
	if s.at < len(s.first) {
		n = copy(p, s.first[s.at:])
		s.at += n
		return n, nil
	}
	if s.seeker != nil && s.left < int64(len(p)) {
		p = p[:s.left]
		if len(p) == 0 {
			return 0, io.EOF
		}
	}
	n, err = s.body.Read(p)
	s.beyond = s.beyond || n > 0
	if s.seeker != nil {
		s.left -= int64(n)
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// canRewind says whether everything that was read can be read again.
func (s *source) canRewind() bool { return s.seeker != nil || !s.beyond }

// rewind begins the body again.
func (s *source) rewind() error {
	s.at, s.left = 0, s.size
	if s.seeker == nil {
		return nil
	}
	_, err := s.seeker.Seek(s.start, io.SeekStart)
	return err
}
