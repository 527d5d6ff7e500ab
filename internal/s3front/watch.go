package s3front

import (
	"errors"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// maxDocument is how long the body of a request may be that is read into memory
// whole: all but those that bring an object or a part. It is what a
// CompleteMultipartUpload of 10,000 parts with checksums takes.
const maxDocument = 4 << 20

// watch sees every request before versitygw does: it refuses what versitygw
// would read into memory without a bound, counts, and logs. Neither the query
// nor a header is logged: signatures lie in both.
func (f *Front) watch(ctx fiber.Ctx) error {
	f.metrics.inWork.Inc()
	defer f.metrics.inWork.Dec()
	if c, ok := ctx.RequestCtx().Conn().(*conn); ok {
		c.begin()
		defer c.end()
	}
	begun := time.Now()
	err := f.refuse(ctx)
	if err == nil {
		finish := f.chunked(ctx)
		err = ctx.Next()
		finish()
	}
	said, _ := ctx.Locals(operationKey).([2]string)
	if said[0] != "" {
		f.metrics.seconds.WithLabelValues(said[0]).Observe(time.Since(begun).Seconds())
	}
	if f.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
		f.cfg.Logger.Debug("s3 request", "operation", said[0], "code", said[1], "method", ctx.Method(), "path", ctx.Path(),
			"status", ctx.Response().StatusCode(), "client", ctx.IP(), "request", utils.RequestID(ctx), "took", time.Since(begun))
	}
	if done, ok := err.(answered); ok {
		return done.err
	}
	return err
}

// refuseHeader answers what is no request, or none that was read to its header's
// end: versitygw would write a line to stderr for each.
func (f *Front) refuseHeader(ctx *fasthttp.RequestCtx, err error) {
	known := s3err.S3Error(s3err.GetAPIError(s3err.ErrCannotParseHTTPRequest))
	if small := (*fasthttp.ErrSmallBuffer)(nil); errors.As(err, &small) {
		known = s3err.GetRequestHeaderSectionTooLargeErr(maxHeader)
	} else if isTimeout(err) {
		known = errTimeout()
	}
	f.metrics.requests.WithLabelValues("refused", known.BaseError().Code).Inc()
	ctx.Response.Reset()
	ctx.SetStatusCode(known.StatusCode())
	ctx.SetContentType(fiber.MIMEApplicationXML)
	ctx.SetBody(known.XMLBody("", ""))
}

// answered is a refusal whose answer is written; what remains is how writing it
// went.
type answered struct{ err error }

func (answered) Error() string { return "refused" }

// refuse answers requests that go no further.
func (f *Front) refuse(ctx fiber.Ctx) error {
	header := &ctx.Request().Header
	if isData(ctx) {
		return nil
	}
	switch length := header.ContentLength(); {
	case length == -1:
		ctx.Response().Header.SetConnectionClose()
		return f.answer(ctx, s3err.GetAPIError(s3err.ErrMissingContentLength))
	case length > maxDocument:
		return f.answer(ctx, s3err.GetMaxMessageLengthExceeded(maxDocument))
	case header.IsPost() && !hasObject(ctx) && !ctx.Request().URI().QueryArgs().Has("delete"):
		return f.answer(ctx, s3err.GetAPIError(s3err.ErrNotImplemented)) // a form of a browser
	}
	return nil
}

func (f *Front) answer(ctx fiber.Ctx, err s3err.S3Error) error {
	request, host := utils.EnsureRequestIDs(ctx)
	f.metrics.Send(ctx, err, "refused", 0, 0)
	ctx.Response().Header.SetContentType(fiber.MIMEApplicationXML)
	return answered{ctx.Status(err.StatusCode()).Send(err.XMLBody(request, host))}
}

// maxRest is how much of a body that was not read to its end is read for the sake
// of the connection.
const maxRest = 256 << 10

// chunked prepares the body of a request that came with Transfer-Encoding:
// chunked, and returns what must be called when the request is answered. The
// server does not read such a body to its end itself, and would take what is
// left of it for the next request.
func (f *Front) chunked(ctx fiber.Ctx) (finish func()) {
	if ctx.Request().Header.ContentLength() != -1 || ctx.Request().BodyStream() == nil {
		return func() {}
	}
	body := &toEnd{r: ctx.Request().BodyStream()}
	utils.ContextKeyBodyReader.Set(ctx, io.Reader(body))
	return func() {
		conn := ctx.RequestCtx().Conn()
		conn.SetReadDeadline(time.Now().Add(f.cfg.Linger))
		defer conn.SetReadDeadline(time.Time{})
		if n, _ := io.CopyN(io.Discard, body, maxRest); n == maxRest || body.err != io.EOF {
			ctx.Response().Header.SetConnectionClose()
		}
	}
}

// toEnd reads a body whose reader must not be asked again behind its end.
type toEnd struct {
	r   io.Reader
	err error // how it ended
}

// Read returns the next bytes.
func (b *toEnd) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.err = err
	return n, err
}

// isData says whether a request's body is an object or a part.
func isData(ctx fiber.Ctx) bool {
	if !ctx.Request().Header.IsPut() || !hasObject(ctx) || ctx.Request().Header.Peek("X-Amz-Copy-Source") != nil {
		return false
	}
	for _, name := range []string{"tagging", "retention", "legal-hold", "acl"} {
		if ctx.Request().URI().QueryArgs().Has(name) {
			return false
		}
	}
	return true
}

// hasObject says whether a path goes on behind the bucket's name, once it is
// decoded and stripped as versitygw's router does.
func hasObject(ctx fiber.Ctx) bool {
	path, err := url.PathUnescape(string(ctx.Request().URI().PathOriginal()))
	return err == nil && strings.LastIndexByte(strings.TrimRight(path, "/"), '/') > 0
}

// queryOf returns a parameter of the query of the request of ctx, which is
// versitygw's: some it does not hand on.
func queryOf(ctx interface{ Value(any) any }, name string) string {
	if r, ok := ctx.(*fasthttp.RequestCtx); ok {
		return string(r.QueryArgs().Peek(name))
	}
	return ""
}
