package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// What is done to objects by name alone.

// prefixFacts is what `object ls` prints for keys that have a prefix in common.
type prefixFacts struct {
	Prefix      string `json:"prefix"`
	PrefixBytes []byte `json:"prefix_base64,omitempty"` // where it is not UTF-8
}

func (c *cli) objectList() *cobra.Command {
	var recursive, versions bool
	cmd := c.namespacedVerb(&cobra.Command{
		Use:   "ls BUCKET[/PREFIX]",
		Short: "List the objects of a bucket",
		Long: "Keys that have a slash after the prefix are shown as one line up to that slash, unless\n" +
			"--recursive says otherwise. With --output json each line is one object.",
		Example: "  holdall object ls photos/2026/\n  holdall object ls photos --versions --output json",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		bucket, prefix, _ := strings.Cut(args[0], "/")
		if err := holdall.CheckBucketName(bucket); err != nil {
			return withNext(err, "name a bucket, or BUCKET/PREFIX; `holdall bucket ls` lists them")
		}
		o := client.ListOptions{Prefix: prefix, Versions: versions, Delimiter: "/"}
		if recursive || versions {
			o.Delimiter = ""
		}
		head := !c.json()
		for l, err := range cl.ListObjects(ctx, bucket, o) {
			if err == nil && head {
				printListHead(c.out, versions)
				head = false
			}
			if err == nil {
				err = c.emitListed(&l, versions)
			}
			if err != nil {
				return objectNext(err, client.ObjectName{Bucket: bucket, Key: prefix})
			}
		}
		if head {
			printListHead(c.out, versions)
		}
		return nil
	})
	cmd.Flags().BoolVar(&recursive, "recursive", false, "every key, slashes or not")
	cmd.Flags().BoolVar(&versions, "versions", false, "every version, newest first, and delete markers")
	return cmd
}

// A listing may be long: its lines are printed as they come, in columns of a
// fixed width.
func printListHead(w io.Writer, versions bool) {
	state := ""
	if versions {
		state = fmt.Sprintf("%-8s  ", "STATE")
	}
	fmt.Fprintf(w, "%10s  %-19s  %-16s  %sKEY\n", "SIZE", "MODIFIED", "VERSION", state)
}

func (c *cli) emitListed(l *client.Listed, versions bool) error {
	if l.Object == nil {
		f := prefixFacts{Prefix: l.Prefix}
		if !utf8.ValidString(l.Prefix) {
			f.PrefixBytes = []byte(l.Prefix)
		}
		return c.emit(f, func(w io.Writer) { fmt.Fprintf(w, "%10s  %-19s  %-16s  %s\n", "-", "-", "-", shown(l.Prefix)) })
	}
	o, state := l.Object, ""
	if versions {
		state = fmt.Sprintf("%-8s  ", stateOf(o))
	}
	size, at := bytesText(o.Size), o.Modified
	if o.Marker {
		size, at = "-", o.Committed
	}
	return c.emit(o, func(w io.Writer) {
		fmt.Fprintf(w, "%10s  %-19s  %-16d  %s%s\n", size, when(at), o.Version, state, shown(o.Key))
	})
}

// stateOf is the word for what a version is.
func stateOf(o *client.Object) string {
	switch {
	case o.Marker:
		return "deleted"
	case o.TrashedAt != nil:
		return "trash"
	}
	return "current"
}

func (c *cli) objectStat() *cobra.Command {
	var version uint64
	cmd := c.namespacedVerb(&cobra.Command{
		Use:     "stat BUCKET/KEY",
		Short:   "Show what is known of an object",
		Example: "  holdall object stat photos/film.mkv --output json",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		name, err := objectName(args[0])
		if err != nil {
			return err
		}
		o, err := cl.HeadObject(ctx, name.Bucket, name.Key, holdall.Version(version))
		if err != nil {
			return objectNext(err, name)
		}
		return c.emit(o, func(w io.Writer) { printObject(w, o) })
	})
	cmd.Flags().Uint64Var(&version, "version", 0, "this version instead of the current one")
	return cmd
}

func printObject(w io.Writer, o *client.Object) {
	trashed, parts := "", ""
	if o.TrashedAt != nil {
		trashed = when(*o.TrashedAt)
	}
	if o.Parts > 0 {
		parts = count(int64(o.Parts))
	}
	facts(w, "bucket", o.Bucket, "key", shown(o.Key), "version", fmt.Sprint(o.Version), "size", fmt.Sprintf("%s (%s bytes)", bytesText(o.Size), count(o.Size)),
		"modified", when(o.Modified), "etag", shown(o.ETag), "trashed", trashed, "root", o.Root.String(),
		"content type", shown(o.ContentType), "content encoding", shown(o.ContentEncoding), "content disposition", shown(o.ContentDisposition),
		"content language", shown(o.ContentLanguage), "cache control", shown(o.CacheControl), "expires", shown(o.Expires),
		"storage class", shown(o.StorageClass), "parts", parts)
	for _, sum := range o.Checksums {
		kind := ""
		if sum.Composite {
			kind = " of its parts"
		}
		fmt.Fprintf(w, "checksum  %s %x%s\n", shown(sum.Algorithm), sum.Value, kind)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Metadata)) {
		fmt.Fprintf(w, "meta  %s=%s\n", shown(name), shown(o.Metadata[name]))
	}
	for _, key := range slices.Sorted(maps.Keys(o.Tags)) {
		fmt.Fprintf(w, "tag  %s=%s\n", shown(key), shown(o.Tags[key]))
	}
}

func (c *cli) objectRemove() *cobra.Command {
	return c.namespacedVerb(&cobra.Command{
		Use:     "rm BUCKET/KEY...",
		Short:   "Delete objects: they wait in trash, from where undelete brings them back until retention ends",
		Example: "  holdall object rm photos/film.mkv",
		Args:    cobra.MinimumNArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		for _, arg := range args {
			name, err := objectName(arg)
			if err != nil {
				return err
			}
			marker, err := cl.DeleteObject(ctx, name.Bucket, name.Key, client.Condition{})
			if err == nil && marker == nil {
				err = fmt.Errorf("object %s/%s: %w", name.Bucket, shown(name.Key), holdall.ErrNotFound)
			}
			if err == nil {
				err = c.emit(marker, func(io.Writer) {})
			}
			if err != nil {
				return objectNext(err, name)
			}
		}
		return nil
	})
}

func (c *cli) objectUndelete() *cobra.Command {
	return c.namespacedVerb(&cobra.Command{
		Use:     "undelete BUCKET/KEY...",
		Short:   "Bring deleted objects back from trash",
		Example: "  holdall object undelete photos/film.mkv",
		Args:    cobra.MinimumNArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		for _, arg := range args {
			name, err := objectName(arg)
			if err != nil {
				return err
			}
			o, err := cl.UndeleteObject(ctx, name.Bucket, name.Key)
			if err == nil {
				err = c.emit(o, func(io.Writer) {})
			}
			if err != nil {
				return objectNext(err, name)
			}
		}
		return nil
	})
}

func (c *cli) objectCopy() *cobra.Command {
	var ifAbsent bool
	cmd := c.namespacedVerb(&cobra.Command{
		Use:     "cp BUCKET/KEY BUCKET/KEY",
		Short:   "Copy an object within a namespace, without moving its bytes",
		Example: "  holdall object cp photos/film.mkv archive/film.mkv",
		Args:    cobra.ExactArgs(2),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		from, err := objectName(args[0])
		if err != nil {
			return err
		}
		to, err := objectName(args[1])
		if err != nil {
			return err
		}
		o, err := cl.CopyObject(ctx, from, to, client.CopyOptions{If: client.Condition{Absent: ifAbsent}})
		if err != nil {
			if ifAbsent {
				return objectNext(err, to)
			}
			return objectNext(err, from)
		}
		return c.emit(o, func(w io.Writer) { fmt.Fprintf(w, "%d %d %s/%s\n", o.Version, o.Size, o.Bucket, shown(o.Key)) })
	})
	cmd.Flags().BoolVar(&ifAbsent, "if-absent", false, "only if there is no object of the second name")
	return cmd
}

// days is a time that may be long, for people.
func days(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}
