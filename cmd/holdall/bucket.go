package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

func (c *cli) bucketCommand() *cobra.Command {
	return noun("bucket", "Make, list and remove buckets", "  holdall bucket create photos", c.bucketCreate(), c.bucketList(), c.bucketRemove())
}

// namespacedVerb is a command that talks to a server about a namespace.
func (c *cli) namespacedVerb(cmd *cobra.Command, f func(context.Context, *client.Client, []string) error) *cobra.Command {
	c.namespaced(cmd.Flags())
	return c.remoteCommand(cmd, f)
}

func (c *cli) bucketCreate() *cobra.Command {
	return c.namespacedVerb(&cobra.Command{
		Use:     "create BUCKET",
		Short:   "Make a bucket",
		Long:    "A bucket's name has 3 to 63 letters a to z, digits, dots and hyphens.",
		Example: "  holdall bucket create photos",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		b, err := cl.CreateBucket(ctx, args[0])
		if errors.Is(err, holdall.ErrExists) {
			err = withNext(err, "use it as it is (`holdall bucket ls`), or choose another name")
		}
		if err != nil {
			return err
		}
		return c.emit(b, func(w io.Writer) { fmt.Fprintln(w, b.Name) })
	})
}

func (c *cli) bucketList() *cobra.Command {
	return c.namespacedVerb(&cobra.Command{
		Use:     "ls",
		Short:   "List buckets with what they hold",
		Example: "  holdall bucket ls",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		list := []client.BucketStatus{}
		if err := cl.Buckets(ctx, func(b client.BucketStatus) error { list = append(list, b); return nil }); err != nil {
			return err
		}
		return c.emit(list, func(w io.Writer) {
			t := newTable("BUCKET", ">OBJECTS", ">BYTES", ">VERSIONS", ">UPLOADS", "CREATED")
			for _, b := range list {
				t.row(b.Name, count(int64(b.Objects)), bytesText(int64(b.Bytes)), count(int64(b.Versions)), count(int64(b.Uploads)), when(b.Created))
			}
			t.print(w)
		})
	})
}

func (c *cli) bucketRemove() *cobra.Command {
	return c.namespacedVerb(&cobra.Command{
		Use:     "rm BUCKET",
		Short:   "Remove a bucket that has no objects any more",
		Long:    "What is in the bucket's trash goes with it: deleted objects cannot be brought back\nafter this.",
		Example: "  holdall bucket rm photos",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		err := cl.RemoveBucket(ctx, args[0])
		switch {
		case errors.Is(err, holdall.ErrRefused):
			return withNext(err, "`holdall object ls %s --recursive` shows what is in it, `holdall object rm %s/KEY` removes it", args[0], args[0])
		case errors.Is(err, holdall.ErrNotFound):
			return withNext(err, "`holdall bucket ls` lists the buckets of a namespace; check --namespace")
		}
		return err
	})
}
