package s3front_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A client that goes away in the middle of a body leaves nothing behind that can
// be seen, and its connection is given back.
func TestAbortedBodiesLeaveNothing(t *testing.T) {
	c := start(t)
	b := c.bucket("aborted")
	body := random(1, 20<<20)
	for _, sent := range []int{0, 1, 8 << 10, 5 << 20, len(body) - 1} {
		r, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+c.addr+"/aborted/k", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		c.sign(r, "UNSIGNED-PAYLOAD")
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		var head bytes.Buffer
		fmt.Fprintf(&head, "PUT /aborted/k HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", c.addr, len(body))
		r.Header.Write(&head)
		head.WriteString("\r\n")
		if _, err := conn.Write(append(head.Bytes(), body[:sent]...)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	c.eventually("connections are given back", func() bool { return c.metric("holdall_s3_requests_in_work") == "0" })
	keys, _ := c.listV2(&s3.ListObjectsV2Input{Bucket: b})
	if len(keys) != 0 {
		t.Errorf("listed: %q", keys)
	}
	c.put(b, "k", body)
	if !bytes.Equal(c.get(b, "k"), body) {
		t.Error("a put afterwards came back otherwise")
	}
}

// A get whose client goes away ends.
func TestAbortedGetsEnd(t *testing.T) {
	c := start(t)
	b := c.bucket("aborted")
	c.put(b, "k", random(1, 40<<20))
	for range 20 {
		out, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("k")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, out.Body, 1<<20); err != nil {
			t.Fatal(err)
		}
		out.Body.Close()
	}
	c.eventually("memory is given back", func() bool { return c.metric("holdall_gateway_get_bytes_in_flight") == "0" })
}

func TestIdleConnectionsDoNotStopOthers(t *testing.T) {
	c := start(t)
	b := c.bucket("idle")
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for i := range 1000 {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if i%2 == 0 { // half of them have begun to say something
			if _, err := conn.Write([]byte("GET /idle HTTP/1.1\r\nHost: x\r\nX-Slow")); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.eventually("all are open", func() bool { return len(c.metric("holdall_s3_connections")) >= 4 })
	c.put(b, "k", []byte("x"))
	if got := c.get(b, "k"); string(got) != "x" {
		t.Errorf("got %q", got)
	}
	begun := time.Now()
	c.down()
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("closing took %v", took)
	}
}

// Whoever asks for too much at once is told to come back, not cut off.
func TestRefusedBodiesGetAnAnswer(t *testing.T) {
	c := start(t)
	c.bucket("refused")
	big := bytes.Repeat([]byte("x"), 5<<20)
	for _, x := range []struct {
		name, method, path string
		length             int64
		want               string
	}{
		{"document too long", "POST", "/refused?delete", int64(len(big)), "MaxMessageLengthExceeded"},
		{"document of unknown length", "POST", "/refused?delete", -1, "MissingContentLength"},
		{"a bucket's configuration too long", "PUT", "/refused", int64(len(big)), "MaxMessageLengthExceeded"},
		{"the same, in disguise", "PUT", "/refused%2F", int64(len(big)), "MaxMessageLengthExceeded"},
		{"no such bucket", "PUT", "/nowhere/k", int64(len(big)), "NoSuchBucket"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), x.method, "http://"+c.addr+x.path, struct{ io.Reader }{bytes.NewReader(big)})
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = x.length
		c.sign(r, "UNSIGNED-PAYLOAD")
		out, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if answer := string(c.read(out.Body)); !strings.Contains(answer, "<Code>"+x.want+"</Code>") {
			t.Errorf("%s: %s %s, want %s", x.name, out.Status, answer, x.want)
		}
	}
}

// A put that is under way when the server stops is finished.
func TestStoppingFinishesWhatIsInWork(t *testing.T) {
	c := start(t)
	c.bucket("stopping")
	body := random(1, 6<<20)
	reader, writer := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+c.addr+"/stopping/k", reader)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(body))
	c.sign(r, "UNSIGNED-PAYLOAD")
	answered := make(chan error, 1)
	go func() {
		out, err := http.DefaultClient.Do(r)
		if err == nil {
			out.Body.Close()
			if out.StatusCode != 200 {
				err = fmt.Errorf("status %s", out.Status)
			}
		}
		answered <- err
	}()
	if _, err := writer.Write(body[:5<<20]); err != nil {
		t.Fatal(err)
	}
	var stopped sync.WaitGroup
	stopped.Go(c.down)
	c.eventually("the port is closed", func() bool {
		conn, err := net.Dial("tcp", c.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if _, err := writer.Write(body[5<<20:]); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the put: %v", err)
	}
	stopped.Wait()
	c.up()
	if got := c.get(aws.String("stopping"), "k"); !bytes.Equal(got, body) {
		t.Error("it came back otherwise")
	}
}

func TestMetricsNameOperations(t *testing.T) {
	c := start(t)
	b := c.bucket("metrics")
	c.put(b, "k", make([]byte, 1234))
	c.get(b, "k")
	_, err := c.aws().GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: aws.String("none")})
	c.wantCode("get", err, "NoSuchKey")
	for name, want := range map[string]string{
		`holdall_s3_requests_total{code="OK",operation="PutObject"}`:        "1",
		`holdall_s3_requests_total{code="OK",operation="GetObject"}`:        "1",
		`holdall_s3_requests_total{code="NoSuchKey",operation="GetObject"}`: "1",
		`holdall_s3_request_seconds_count{operation="GetObject"}`:           "2",
		"holdall_s3_received_bytes_total":                                   "1234",
		"holdall_s3_sent_bytes_total":                                       "1234",
	} {
		if got := c.metric(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if text := c.log.String(); !strings.Contains(text, "operation=PutObject code=OK method=PUT path=/metrics/k") {
		t.Error("the log does not tell of the put")
	}
}
