package wire

import (
	"errors"
	"io"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/object"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// Get sends the engine's blocks in the buffers that they were read into, which
// count against the gateway's memory for gets until they are sent. The
// transport's flow control holds it back: gRPC queues one message of a stream,
// while the next one waits.
func (o *objectServer) Get(in *holdallv1.GetObjectRequest, stream holdallv1.ObjectService_GetServer) error {
	if o.server.cfg.Objects == nil {
		return absent("objects")
	}
	rg, err := span(in)
	if err != nil {
		return err
	}
	at, err := o.server.place(in)
	if err != nil {
		return err
	}
	opened, err := o.server.cfg.Objects.Open(stream.Context(), at, object.GetOptions{Version: holdall.Version(in.Version), Range: rg})
	if err != nil {
		return err
	}
	defer opened.Body.Close()
	m, err := encodeObject(at.Bucket, &opened.Object)
	if err != nil {
		return err
	}
	s := sender{server: o.server, stream: stream, call: callOf(stream.Context())}
	head := &holdallv1.GetObjectHead{Object: m, Offset: uint64(opened.Offset), Length: uint64(opened.Length)}
	if err := s.send(&client.GetObjectMessage{Head: holdallv1.GetObjectResponse{Head: head}}); err != nil {
		return err
	}
	return s.all(opened.Body)
}

// sender sends to a caller who may take his time, but not for ever.
type sender struct {
	server *Server
	stream holdallv1.ObjectService_GetServer
	call   *call
}

// all sends what is left of b.
func (s *sender) all(b Body) error {
	for {
		view, err := b.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.send(&client.GetObjectMessage{Data: s.server.lend(view)}); err != nil {
			return err
		}
	}
}

// send takes the references that m has. Where the caller's time is over, gRPC has
// answered DEADLINE_EXCEEDED when SendMsg returns; the message in its queue it
// keeps until the caller takes it or the connection ends.
func (s *sender) send(m *client.GetObjectMessage) error {
	defer m.Free() // where gRPC did not look at it
	s.call.slow.Reset(s.server.cfg.SendTimeout)
	err := s.stream.SendMsg(m)
	s.call.slow.Stop()
	return err
}
