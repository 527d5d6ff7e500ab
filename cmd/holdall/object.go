package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

func (c *cli) objectCommand() *cobra.Command {
	return noun("object", "Store and fetch objects of any size, by bucket and key",
		"  holdall object put film.mkv photos/film.mkv\n  holdall object get photos/film.mkv -o film.mkv",
		c.objectPut(), c.objectGet(), c.objectList(), c.objectStat(), c.objectRemove(), c.objectUndelete(), c.objectCopy())
}

// objectName reads BUCKET/KEY. A key may have slashes of its own.
func objectName(s string) (client.ObjectName, error) {
	bucket, key, _ := strings.Cut(s, "/")
	err := holdall.CheckBucketName(bucket)
	if err == nil {
		err = holdall.CheckKey(key)
	}
	return client.ObjectName{Bucket: bucket, Key: key}, withNext(err, "name an object as BUCKET/KEY, as in photos/2026/a.jpg")
}

// objectNext says what to do where an object is not as a command wants it.
func objectNext(err error, name client.ObjectName) error {
	full := name.Bucket + "/" + shown(name.Key)
	switch {
	case errors.Is(err, holdall.ErrNotFound):
		return withNext(err, "`holdall object ls %s --recursive` lists the keys, `holdall bucket ls` the buckets; check --namespace;\na deleted object comes back with `holdall object undelete %s` until retention ends", name.Bucket, full)
	case errors.Is(err, holdall.ErrCondition), errors.Is(err, holdall.ErrExists):
		return withNext(err, "`holdall object stat %s` shows what is there", full)
	}
	return err
}

// shown is a key as a terminal may see it.
func shown(key string) string {
	if utf8.ValidString(key) && strings.IndexFunc(key, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return key
	}
	return strconv.Quote(key)
}

// putFlags are the flags that say what goes with an object.
type putFlags struct {
	contentType string
	meta, tags  []string
	ifAbsent    bool
}

func (p *putFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&p.contentType, "content-type", "", "what Content-Type says, as in image/jpeg")
	flags.StringArrayVar(&p.meta, "meta", nil, "NAME=VALUE of user metadata; may be given again")
	flags.StringArrayVar(&p.tags, "tag", nil, "KEY=VALUE of a tag; may be given again, at most 10 times")
	flags.BoolVar(&p.ifAbsent, "if-absent", false, "only if there is no object of this key")
}

func (p *putFlags) options() (o client.PutObjectOptions, err error) {
	o.ContentType, o.If.Absent = p.contentType, p.ifAbsent
	if o.Metadata, err = pairs("--meta", p.meta); err == nil {
		o.Tags, err = pairs("--tag", p.tags)
	}
	return o, err
}

// pairs reads NAME=VALUE words.
func pairs(flag string, words []string) (map[string]string, error) {
	var m map[string]string
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s %q: want NAME=VALUE: %w", flag, w, holdall.ErrInvalid)
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%s %s: given twice: %w", flag, name, holdall.ErrInvalid)
		}
		if m == nil {
			m = map[string]string{}
		}
		m[name] = value
	}
	return m, nil
}

func (c *cli) objectPut() *cobra.Command {
	var p putFlags
	cmd := c.namespacedVerb(&cobra.Command{
		Use:   "put FILE|- BUCKET/KEY",
		Short: "Store a file (- is standard input) as an object",
		Long: "Prints the object's version, size and name once it is durable; until then nothing of\n" +
			"it is visible. An object of the same key goes to trash. A file is sent again where the\n" +
			"connection breaks; standard input can be read only once.",
		Example: "  holdall object put film.mkv photos/film.mkv --content-type video/x-matroska\n  tar c dir | holdall object put - backups/dir.tar",
		Args:    cobra.ExactArgs(2),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		name, err := objectName(args[1])
		if err != nil {
			return err
		}
		o, err := p.options()
		if err != nil {
			return err
		}
		body, err := c.openBody(args[0])
		if err != nil {
			return err
		}
		defer body.close()
		put, err := cl.PutObject(ctx, name.Bucket, name.Key, body, o)
		if err != nil {
			return objectNext(fmt.Errorf("%s: %w", args[0], err), name)
		}
		body.finish()
		return c.emit(put, func(w io.Writer) { fmt.Fprintf(w, "%d %d %s/%s\n", put.Version, put.Size, put.Bucket, shown(put.Key)) })
	})
	p.add(cmd.Flags())
	return cmd
}

// body is a file on its way, whose progress is shown.
type body struct {
	io.Reader
	*progress
	file *os.File // nil: standard input
	done bool
}

func (c *cli) openBody(name string) (*body, error) {
	if name == "-" {
		return &body{Reader: c.in, progress: c.progress("put", "B", 0)}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &body{Reader: f, file: f, progress: c.progress("put "+name, "B", info.Size())}, nil
}

// Read reads on.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.add(int64(n))
	return n, err
}

// Seek moves in a file, and fails where there is none.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	s, ok := b.Reader.(io.Seeker)
	if !ok {
		return 0, fmt.Errorf("standard input cannot be read again: %w", holdall.ErrInvalid)
	}
	at, err := s.Seek(offset, whence)
	b.set(at, 0)
	return at, err
}

func (b *body) finish() {
	if !b.done {
		b.done = true
		b.progress.finish()
	}
}

func (b *body) close() {
	b.finish()
	if b.file != nil {
		b.file.Close()
	}
}

func (c *cli) objectGet() *cobra.Command {
	var file, span string
	var version uint64
	cmd := c.namespacedVerb(&cobra.Command{
		Use:   "get BUCKET/KEY",
		Short: "Fetch an object, verified, to standard output or a file",
		Long: "Every block is checked against its hash, and a whole object against its checksum. A\n" +
			"connection that breaks is taken up again. With -o the file appears when it is whole.",
		Example: "  holdall object get photos/film.mkv -o film.mkv\n  holdall object get photos/film.mkv --range 0-99",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		name, err := objectName(args[0])
		if err != nil {
			return err
		}
		offset, length, err := parseRange(span)
		if err != nil {
			return err
		}
		r, err := cl.OpenObject(ctx, name.Bucket, name.Key, client.GetObjectOptions{Version: holdall.Version(version), Offset: int64(offset), Length: int64(length)})
		if err != nil {
			return objectNext(err, name)
		}
		defer r.Close()
		p := c.progress("get "+shown(name.Key), "B", r.Length)
		defer p.finish()
		if file == "" {
			_, err = counted{r, p}.WriteTo(c.out)
			return err
		}
		return writeFile(file, counted{r, p})
	})
	cmd.Flags().StringVarP(&file, "out", "o", "", "write to this file instead of standard output")
	cmd.Flags().StringVar(&span, "range", "", "only bytes A to B, both included, as in 0-99")
	cmd.Flags().Uint64Var(&version, "version", 0, "this version instead of the current one, as `object ls --versions` shows it")
	return cmd
}

// counted writes an object and shows how far it has come.
type counted struct {
	from io.WriterTo
	p    *progress
}

// WriteTo writes all to w.
func (c counted) WriteTo(w io.Writer) (int64, error) { return c.from.WriteTo(counter{w, c.p}) }

type counter struct {
	io.Writer
	p *progress
}

// Write writes p.
func (c counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.p.add(int64(n))
	return n, err
}
