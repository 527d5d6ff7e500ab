package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// rawConn speaks HTTP/2 by hand: what no gRPC client would send.
type rawConn struct {
	t      testing.TB
	conn   net.Conn
	framer *http2.Framer
	head   bytes.Buffer
	over   map[uint32]bool // streams that ended
	enc    *hpack.Encoder
}

func (f *front) raw() *rawConn {
	f.t.Helper()
	conn, err := f.lis.Dial()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	r := &rawConn{t: f.t, conn: conn, framer: http2.NewFramer(conn, conn), over: map[uint32]bool{}}
	r.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.head)
	r.must(io.WriteString(conn, http2.ClientPreface))
	if err := r.framer.WriteSettings(); err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (r *rawConn) must(_ int, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// begin opens a stream with a call of method, and sends no message.
func (r *rawConn) begin(stream uint32, method string, extra ...string) {
	r.t.Helper()
	r.head.Reset()
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", method, ":authority", "cell", "content-type", "application/grpc", "te", "trailers"}, extra...)
	for i := 0; i < len(fields); i += 2 {
		if err := r.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: r.head.Bytes(), EndHeaders: true}); err != nil {
		r.t.Fatal(err)
	}
}

// message sends b as a whole gRPC message of a stream that ends with it.
func (r *rawConn) message(stream uint32, b []byte) {
	r.t.Helper()
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b)))
	if err := r.framer.WriteData(stream, true, append(frame, b...)); err != nil {
		r.t.Fatal(err)
	}
}

// outcome is how a stream ended.
type outcome struct {
	code    codes.Code
	message string
	reset   http2.ErrCode
	gone    bool // the connection ended first
}

// wait reads frames until n more streams have ended.
func (r *rawConn) wait(n int) map[uint32]outcome {
	r.t.Helper()
	ended := map[uint32]outcome{}
	for len(ended) < n {
		frame, err := r.framer.ReadFrame()
		if err != nil {
			ended[0] = outcome{gone: true, message: err.Error()}
			return ended
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				if err := r.framer.WriteSettingsAck(); err != nil {
					r.t.Fatal(err)
				}
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				if err := r.framer.WritePing(true, frame.Data); err != nil {
					r.t.Fatal(err)
				}
			}
		case *http2.RSTStreamFrame:
			if !r.over[frame.StreamID] {
				r.over[frame.StreamID] = true
				ended[frame.StreamID] = outcome{code: codes.Unknown, reset: frame.ErrCode}
			}
		case *http2.MetaHeadersFrame:
			if !frame.StreamEnded() {
				continue
			}
			o := outcome{code: codes.Unknown}
			for _, f := range frame.Fields {
				switch f.Name {
				case "grpc-status":
					n, err := strconv.Atoi(f.Value)
					if err != nil {
						r.t.Fatal(err)
					}
					o.code = codes.Code(n)
				case "grpc-message":
					o.message = f.Value
				}
			}
			r.over[frame.StreamID] = true
			ended[frame.StreamID] = o
		}
	}
	return ended
}
